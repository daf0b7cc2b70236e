//! Building an image: what it is built from, and by which builder.
//!
//! `docker buildx` builds where it is installed, as Docker's own tools have it. Else the engine does: with its classic
//! builder, which pulls what the image builds on by itself, or with the BuildKit that it contains where the Dockerfile
//! needs that. What only a whole BuildKit can do is then refused by name. `DOCKER_BUILDKIT=0` asks for the classic one.

mod buildx;
mod context;
mod dockerfile;
mod dockerignore;
mod engine;
mod output;
mod trace;

use std::path::Path;

use self::context::Context;
use self::engine::{Builder, Failed, Source};
use self::output::Output;
use super::spec::{ImageBuild, ImageSpec, PullPolicy};
use super::{Docker, Error, image};
use crate::driver::StartContext;
use crate::os::env;

/// Builds the image and gives it its names. What it prints is the service's output.
pub(super) async fn build(
    docker: &Docker,
    spec: &ImageSpec,
    build: &ImageBuild,
    cx: &StartContext,
) -> Result<(), Error> {
    let mut output = Output::new(cx);
    let env = env::all();
    let classic_wanted = env.get("DOCKER_BUILDKIT").is_some_and(|value| matches!(value.as_str(), "0" | "false"));
    let done = match buildx::installed(&env).filter(|_| !classic_wanted) {
        Some(program) => buildx::build(docker, &program, env, build, &mut output).await,
        None => by_engine(docker, build, classic_wanted, cx, &mut output).await,
    };
    match done {
        Ok(()) => Ok(()),
        Err(Failure::Told(error)) => Err(error),
        Err(Failure::Build(message)) => {
            let step = output.step.clone();
            Err(Error::BuildFailed { image: spec.reference.clone(), step, message, output: output.end() })
        }
    }
}

/// Why there is no image.
enum Failure {
    /// The build itself failed, in the builder's words.
    Build(String),
    /// Something else, which says it all.
    Told(Error),
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        Self::Build(failed.0)
    }
}

async fn by_engine(
    docker: &Docker,
    spec: &ImageBuild,
    classic_wanted: bool,
    cx: &StartContext,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    if let Some(what) = needs_buildx(spec) {
        return Err(Failure::Told(Error::NeedsBuildx { what }));
    }
    if is_remote(&spec.context) {
        let source = Source::Remote(spec.context.clone(), spec.dockerfile.clone());
        return Ok(engine::build(docker, spec, source, Builder::Classic, output).await?);
    }
    let context = Context::open(Path::new(&spec.context), &spec.dockerfile, spec.inline.as_deref())
        .map_err(|error| Failure::Told(Error::BadBuildContext { problem: error.to_string() }))?;
    let buildkit = !classic_wanted && docker.inner.plain.is_some() && dockerfile::needs_buildkit(&context.text);
    if !buildkit {
        let source = Source::Folder(context, None);
        return Ok(engine::build(docker, spec, source, Builder::Classic, output).await?);
    }
    // Without a session the engine's BuildKit finds what is there and pulls nothing.
    for base in dockerfile::bases(&context.text, &spec.args) {
        let pull = if spec.pull { PullPolicy::Always } else { PullPolicy::Missing };
        let base = ImageSpec { reference: base, platform: spec.platforms.first().cloned(), pull, build: None };
        Box::pin(image::ensure_base(docker, &base, cx)).await.map_err(Failure::Told)?;
    }
    let replaced = dockerfile::for_own_reader(&context.text);
    let source = Source::Folder(context, replaced);
    Ok(engine::build(docker, spec, source, Builder::BuildKit, output).await?)
}

/// What the engine cannot do by itself, by its key.
fn needs_buildx(spec: &ImageBuild) -> Option<&'static str> {
    [
        ("build.additional_contexts", !spec.contexts.is_empty()),
        ("build.ssh", !spec.ssh.is_empty()),
        ("build.secrets", !spec.secrets.is_empty()),
        ("build.cache_to", !spec.cache_to.is_empty()),
        ("build.entitlements", !spec.entitlements.is_empty()),
        ("build.platforms of more than one platform", spec.platforms.len() > 1),
    ]
    .into_iter()
    .find_map(|(what, wanted)| wanted.then_some(what))
}

/// Whether the context is fetched by the builder: an address of Git or of an archive.
fn is_remote(context: &str) -> bool {
    ["http://", "https://", "git://", "ssh://", "git@", "github.com/"].iter().any(|start| context.starts_with(start))
}
