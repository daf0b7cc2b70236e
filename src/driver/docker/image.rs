//! Having an image: whether the engine has it, pulling it with progress per layer, whether a registry would give it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bollard::models::CreateImageInfo;
use bollard::query_parameters::{CreateImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptions};
use futures_util::StreamExt;

use super::error::{self, Error};
use super::observe::{PROJECT, found};
use super::spec::{ImageSpec, PullPolicy};
use super::{Docker, build};
use crate::driver::StartContext;
use crate::event::{Action, Progress};
use crate::name::ProjectName;
use crate::os::clock;

/// How long [`can_pull`] waits for the registry before it is taken for out of reach.
const REGISTRY: Duration = Duration::from_secs(8);

/// The id of an image that the engine has.
pub(super) async fn id(docker: &Docker, reference: &str) -> Result<Option<String>, Error> {
    let image = found(docker.client().inspect_image(reference).await)
        .map_err(|e| Error::from_call(format!("look at the image `{reference}`"), e))?;
    Ok(image.and_then(|image| image.id))
}

/// The images that were built for a project, by their tags.
pub(super) async fn of_project(docker: &Docker, project: &ProjectName) -> Result<Vec<String>, Error> {
    let filters = HashMap::from([("label".to_owned(), vec![format!("{PROJECT}={project}")])]);
    let options = ListImagesOptionsBuilder::default().filters(&filters).build();
    let images = docker.client().list_images(Some(options)).await;
    let images = images.map_err(|e| Error::from_call("list the project's images", e))?;
    Ok(images.into_iter().flat_map(|image| image.repo_tags).filter(|tag| tag != "<none>:<none>").collect())
}

/// What became of an image that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageRemoval {
    /// It was removed.
    Removed,
    /// It was gone already.
    Absent,
    /// A container uses it, which is no failure: it is somebody else's too.
    InUse,
}

/// Removes an image.
pub(super) async fn remove(docker: &Docker, reference: &str) -> Result<ImageRemoval, Error> {
    match docker.client().remove_image(reference, None::<RemoveImageOptions>, None).await {
        Ok(_) => Ok(ImageRemoval::Removed),
        Err(error) if error::is_absent(&error) => Ok(ImageRemoval::Absent),
        Err(error) if error::status(&error) == Some(409) => Ok(ImageRemoval::InUse),
        Err(error) => Err(Error::from_call(format!("remove the image `{reference}`"), error)),
    }
}

/// The paths that an image wants volumes at.
pub(super) async fn volumes(docker: &Docker, reference: &str) -> Result<HashSet<String>, Error> {
    let image = found(docker.client().inspect_image(reference).await)
        .map_err(|e| Error::from_call(format!("look at the image `{reference}`"), e))?;
    let volumes = image.and_then(|image| image.config).and_then(|config| config.volumes);
    Ok(volumes.unwrap_or_default().into_iter().collect())
}

/// Has an image: what the engine has, what a registry gives, or what is built.
pub(super) async fn ensure(docker: &Docker, spec: &ImageSpec, cx: &StartContext) -> Result<(), Error> {
    let always = matches!(spec.pull, PullPolicy::Always | PullPolicy::Build);
    if cx.action == Action::Keep && !always {
        return Ok(());
    }
    let Some(build) = &spec.build else { return ensure_base(docker, spec, cx).await };
    if spec.pull == PullPolicy::Build {
        return build::build(docker, spec, build, cx).await;
    }
    // What has no name of its own is in no registry.
    if build.named && wants_pull(docker, spec).await? {
        match pull(docker, spec, cx).await {
            Ok(()) => return Ok(()),
            Err(error) => say_why(cx, &error).await,
        }
    }
    if id(docker, &spec.reference).await?.is_some() {
        return Ok(());
    }
    build::build(docker, spec, build, cx).await
}

/// Says why there was no pull, where a build takes its place.
async fn say_why(cx: &StartContext, error: &Error) {
    cx.logs.write(crate::logs::Stream::Stdout, format!("devctl: {error}; building it instead\n").as_bytes()).await;
}

/// Has an image that is not built.
pub(super) async fn ensure_base(docker: &Docker, spec: &ImageSpec, cx: &StartContext) -> Result<(), Error> {
    if wants_pull(docker, spec).await? {
        return pull(docker, spec, cx).await;
    }
    match id(docker, &spec.reference).await? {
        Some(_) => Ok(()),
        None => Err(Error::ImageMissing { image: spec.reference.clone(), may_pull: false }),
    }
}

async fn wants_pull(docker: &Docker, spec: &ImageSpec) -> Result<bool, Error> {
    Ok(match spec.pull {
        PullPolicy::Always => true,
        PullPolicy::Never | PullPolicy::Build => false,
        PullPolicy::Missing => id(docker, &spec.reference).await?.is_none(),
        PullPolicy::Refresh(after) => match tagged(docker, &spec.reference).await? {
            Some(at) => clock::timestamp().duration_since(at) > after.try_into().unwrap_or(jiff::SignedDuration::MAX),
            None => true,
        },
    })
}

/// When the engine got an image, where it has it and knows.
async fn tagged(docker: &Docker, reference: &str) -> Result<Option<jiff::Timestamp>, Error> {
    let image = found(docker.client().inspect_image(reference).await)
        .map_err(|e| Error::from_call(format!("look at the image `{reference}`"), e))?;
    let at = image.and_then(|image| image.metadata).and_then(|metadata| metadata.last_tag_time);
    Ok(at.and_then(|at| at.parse().ok()))
}

/// Pulls; dropping the future closes the connection, which ends the pull on the engine as well.
async fn pull(docker: &Docker, spec: &ImageSpec, cx: &StartContext) -> Result<(), Error> {
    let options = CreateImageOptionsBuilder::default()
        .from_image(&with_tag(&spec.reference))
        .platform(spec.platform.as_deref().unwrap_or_default())
        .build();
    let mut steps = docker.client().create_image(Some(options), None, None);
    let mut layers = Layers::default();
    while let Some(step) = steps.next().await {
        let step = step.map_err(|error| error::pull(&spec.reference, error))?;
        if let Some(progress) = layers.advance(step) {
            (cx.progress)(progress);
        }
    }
    match id(docker, &spec.reference).await? {
        Some(_) => Ok(()),
        None => Err(Error::PullFailed {
            image: spec.reference.clone(),
            message: "the pull ended early and the image is not there".to_owned(),
        }),
    }
}

/// Names the tag that is meant when none is written; without one the engine would pull every tag there is.
fn with_tag(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains([':', '@']) { reference.to_owned() } else { format!("{reference}:latest") }
}

/// What is known of the layers of a pull: the size in bytes of each, as far as the engine has told.
#[derive(Default)]
struct Layers {
    sizes: HashMap<String, u64>,
}

impl Layers {
    /// Makes progress of one step of the engine; `None` for steps that move no bytes.
    fn advance(&mut self, step: CreateImageInfo) -> Option<Progress> {
        let layer = step.id?;
        let detail = step.progress_detail.unwrap_or_default();
        let bytes = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok());
        let (what, done) = match step.status?.as_str() {
            "Downloading" => ("downloading", bytes(detail.current)?),
            // The ends carry no numbers; they are the whole of what was announced.
            "Verifying Checksum" | "Download complete" => ("downloading", *self.sizes.get(&layer)?),
            "Extracting" => ("extracting", bytes(detail.current)?),
            "Pull complete" => ("extracting", *self.sizes.get(&layer)?),
            _ => return None,
        };
        // Engines with a containerd store count an extraction in seconds and announce no total.
        let total = match bytes(detail.total) {
            Some(total) => {
                self.sizes.insert(layer.clone(), total);
                total
            }
            None => self.sizes.get(&layer).copied().unwrap_or(0),
        };
        let done = if total > 0 { done.min(total) } else { done };
        Some(Progress { what: what.to_owned(), part: Some(layer), done, total, unit: "bytes" })
    }
}

/// See [`Docker::can_pull`].
pub(super) async fn can_pull(docker: &Docker, reference: &str) -> bool {
    let asked = docker.client().inspect_registry_image(reference, None);
    matches!(tokio::time::timeout(REGISTRY, asked).await, Ok(Ok(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_without_a_tag_means_latest() {
        for (reference, expected) in [
            ("redis", "redis:latest"),
            ("redis:7", "redis:7"),
            ("registry.test:5000/redis", "registry.test:5000/redis:latest"),
            ("registry.test:5000/redis:7", "registry.test:5000/redis:7"),
            ("redis@sha256:0123", "redis@sha256:0123"),
        ] {
            assert_eq!(with_tag(reference), expected);
        }
    }

    #[test]
    fn each_layer_advances_by_itself() {
        // A recorded pull of two layers, as the engine words it.
        let steps = r#"{"status":"Pulling from app","id":"1"}
            {"status":"Pulling fs layer","progressDetail":{},"id":"aa"}
            {"status":"Already exists","progressDetail":{},"id":"bb"}
            {"status":"Downloading","progressDetail":{"current":10,"total":100},"progress":"[=>  ]","id":"aa"}
            {"status":"Verifying Checksum","progressDetail":{},"id":"aa"}
            {"status":"Extracting","progressDetail":{"current":40,"total":100},"progress":"[==> ]","id":"aa"}
            {"status":"Pull complete","progressDetail":{},"id":"aa"}
            {"status":"Digest: sha256:0123"}"#;
        let mut layers = Layers::default();
        let seen: Vec<_> = steps
            .lines()
            .filter_map(|line| layers.advance(serde_json::from_str(line.trim()).unwrap()))
            .map(|p| (p.what, p.part.unwrap(), p.done, p.total))
            .collect();
        let aa = || "aa".to_owned();
        assert_eq!(
            seen,
            [
                ("downloading".to_owned(), aa(), 10, 100),
                ("downloading".to_owned(), aa(), 100, 100),
                ("extracting".to_owned(), aa(), 40, 100),
                ("extracting".to_owned(), aa(), 100, 100),
            ]
        );
    }
}
