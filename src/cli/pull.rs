//! `devctl pull`, and why there is no `devctl push`.

use std::collections::BTreeSet;
use std::sync::Arc;

use clap::ValueEnum;
use futures_util::future::join_all;

use super::containers::Here;
use super::{Context, output};
use crate::advice::Blame;
use crate::driver::docker::PullPolicy;
use crate::driver::{StartContext, Work};
use crate::error::Error;
use crate::event::Action;
use crate::logs::Hub;
use crate::name::{NodeId, RunId, ServiceName};
use crate::stack::{self, Infra, Selection};

/// Pull the images of services, all at once
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl pull
  devctl pull --policy missing db     only what the engine does not have")]
pub(super) struct Args {
    /// As with Compose: images that are built are never pulled
    #[arg(long, hide = true)]
    ignore_buildable: bool,

    /// Say what could not be pulled, and end well all the same
    #[arg(long)]
    ignore_pull_failures: bool,

    /// Also the images of what the services need
    #[arg(long)]
    include_deps: bool,

    /// Which images to pull
    #[arg(long, value_name = "POLICY", default_value = "always")]
    policy: Policy,

    /// Say nothing of what went well
    #[arg(short, long)]
    quiet: bool,

    /// Services whose images to pull; all of them where none is named
    #[arg(value_name = "SERVICES")]
    services: Vec<ServiceName>,
}

/// Which images are pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Policy {
    /// All: there may be newer ones
    Always,
    /// Those that the engine does not have
    Missing,
}

/// What `devctl pull` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    ignore_failures: bool,
    include_deps: bool,
    policy: Policy,
    quiet: bool,
    services: Vec<ServiceName>,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { ignore_buildable: _, ignore_pull_failures, include_deps, policy, quiet, services } = self;
        Settings { ignore_failures: ignore_pull_failures, include_deps, policy, quiet, services }
    }
}

/// Pulls.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let Settings { ignore_failures, include_deps, policy, quiet, services } = settings;
    let here = Here::find(&context).await?;
    for service in &services {
        here.check(service.as_str()).await?;
    }
    let Some(manifest) = &here.project.manifest else {
        return Err(Error::new(Blame::Configuration, "there is no Compose file that names images"));
    };
    let no_deps = !include_deps && !services.is_empty();
    let selection = Selection { services, no_deps, ..Selection::default() };
    let stack = stack::resolve(manifest, &selection, Infra::Docker, &context.env)?;
    let mut seen = BTreeSet::new();
    let specs = stack.nodes().filter_map(|node| match &node.work {
        Work::Image(spec) if seen.insert(spec.reference.clone()) => {
            let pull = match policy {
                Policy::Always => PullPolicy::Always,
                Policy::Missing => PullPolicy::Missing,
            };
            Some(crate::driver::docker::ImageSpec { pull, ..spec.clone() })
        }
        _ => None,
    });
    let specs: Vec<_> = specs.collect();
    let (logs, run) = (Hub::new(None), RunId::from_random(rand::random()));
    let pulls = specs.iter().map(async |spec| {
        let cx = StartContext {
            node: NodeId::Image(spec.reference.as_str().into()),
            run: run.clone(),
            action: Action::Create,
            existing: None,
            logs: logs.null(),
            progress: Arc::new(|_| {}),
            takeover: None,
        };
        (here.engine.ensure_image(spec, &cx).await, spec)
    });
    let mut code = 0;
    for (pulled, spec) in join_all(pulls).await {
        match pulled {
            Ok(()) if quiet => {}
            Ok(()) => output::note(&format!("{} is there\n", spec.reference), context.color)?,
            Err(error) => {
                let error = Error::from(error);
                error.print(context.color);
                if !ignore_failures {
                    code = code.max(error.exit_code());
                }
            }
        }
    }
    Ok(code)
}

/// Push images to a registry, which devctl does not do
#[derive(Clone, Debug, clap::Args)]
pub(super) struct PushArgs {
    /// Whatever is asked for.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, num_args = 0..)]
    _anything: Vec<String>,
}

/// Says that there is no such thing, and what there is.
pub(super) fn refuse_to_push() -> Error {
    Error::new(Blame::Configuration, "devctl does not push images: that is no part of a development environment")
        .hint("`docker push IMAGE`, or `docker compose push`")
}
