//! `devctl rm`.

use std::io::{self, IsTerminal as _, Write as _};

use futures_util::future::join_all;

use super::by_hand::{self, Runner};
use super::containers::Here;
use super::{Context, change, output};
use crate::advice::Blame;
use crate::driver::docker::{Condition, ProjectContainer};
use crate::error::Error;
use crate::name::ServiceName;

/// Remove containers that do not run
///
/// Volumes without a name stay unless `--volumes` is given; those with a name always do (`devctl down -v` deletes them).
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl rm              remove what has stopped, after asking
  devctl rm -fs web      stop a service and remove its containers, without asking")]
pub(super) struct Args {
    /// Do not ask
    #[arg(short, long)]
    force: bool,

    /// Stop the containers first
    #[arg(short, long)]
    stop: bool,

    /// Remove their volumes without a name, too
    #[arg(short, long)]
    volumes: bool,

    /// As with Compose: it means nothing
    #[arg(short, long, hide = true)]
    all: bool,

    /// Services to remove; all of them where none is named
    #[arg(value_name = "SERVICES")]
    services: Vec<ServiceName>,
}

/// What `devctl rm` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) force: bool,
    pub(super) stop: bool,
    pub(super) volumes: bool,
    pub(super) services: Vec<ServiceName>,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { force, stop, volumes, all: _, services } = self;
        Settings { force, stop, volumes, services }
    }
}

/// Removes the containers.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let Settings { force, stop, volumes, services } = settings;
    let services = by_hand::names(&services);
    let here = Here::find(&context).await?;
    if here.supervisor().await?.is_some() {
        return Err(Error::new(Blame::Configuration, "a devctl runs this stack and takes care of its containers")
            .hint("`devctl stop` stops services, `devctl down` ends the stack and removes its containers"));
    }
    let mut containers = here.picked_among(&services).await?;
    containers.retain(|container| services.is_empty() || services.contains(&container.service));
    // As with Compose: what the files do not name is left alone.
    containers.retain(|container| here.project.declares(&container.service));
    if stop
        && containers.iter().any(ProjectContainer::is_up)
        && let Runner::Hand(hand) = by_hand::runner(&context, change::Format::Text).await?
    {
        let code = hand.stop(&services, None).await?;
        if code != 0 {
            return Ok(code);
        }
    }
    // What a list says may be a moment old.
    let mut stopped: Vec<ProjectContainer> = Vec::new();
    for container in containers {
        if let Some(Condition { running: false, .. }) = here.engine.condition(&container.id).await? {
            stopped.push(container);
        }
    }
    if stopped.is_empty() {
        output::note("no stopped containers\n", context.color)?;
        return Ok(0);
    }
    let names: Vec<&str> = stopped.iter().map(|container| container.name.as_str()).collect();
    let question = format!("Going to remove {}", names.join(", "));
    if force {
        output::print(&format!("{question}\n"), context.color)?;
    } else if !confirmed(&question)? {
        return Ok(0);
    }
    let removals =
        stopped.iter().map(async |container| (here.engine.remove_existing(container, volumes).await, container));
    let mut code = 0;
    for (removed, container) in join_all(removals).await {
        match removed {
            Ok(()) => output::note(&format!("removed {}\n", container.name), context.color)?,
            Err(error) => {
                let error = Error::from(error);
                error.print(context.color);
                code = code.max(error.exit_code());
            }
        }
    }
    Ok(code)
}

/// Asks whether to go on. Without somebody to ask, nothing is removed.
fn confirmed(question: &str) -> Result<bool, Error> {
    if !io::stdin().is_terminal() {
        return Err(Error::new(Blame::Configuration, "nothing was removed: there is nobody to ask")
            .hint("`devctl rm --force` removes without asking"));
    }
    let failed = |error| Error::io("cannot ask on the terminal", error);
    let mut stderr = io::stderr();
    stderr.write_all(format!("{question}? [y/N] ").as_bytes()).and_then(|()| stderr.flush()).map_err(failed)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
