//! `devctl up`.

use std::time::{Duration, Instant};

mod attached;
mod detached;
mod existing;
mod joined;
mod outlet;
mod prepare;
mod session;
mod supervisor;
mod watching;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use self::attached::Terminal;
use self::existing::Existing;
use self::prepare::Prepared;
pub(super) use self::prepare::{refuse_elsewhere, take_lock_to_tidy_up};
use self::session::Session;
pub(super) use self::session::{StopRequests, shape};
use super::{Context, duration, output};
use crate::error::Error;
use crate::manifest::{DriverChoice, Manifest};
use crate::name::{RunId, ServiceName};
use crate::os::clock;
use crate::os::launcher::Link;
use crate::plan::Policy;
use crate::report;
use crate::stack::Selection;
use crate::state::StateDir;

/// Bring the stack up and keep it up until Ctrl+C
///
/// Every part starts the moment what it needs is ready, and is ready when it answers its own protocol. Then the table
/// of what runs where, and the merged logs of all services. Ctrl+C stops everything that this command started, in
/// reverse order; a second Ctrl+C kills it. At a terminal, `d` leaves it all running and gives the prompt back.
///
/// What was running already is left running. Volumes and data live on.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl up                         everything
  devctl up api                     the API and what it needs
  devctl up --api-only              the group `api` and the containers it needs
  devctl up --driver embedded       PostgreSQL and Redis without Docker
  devctl up -d                      in the background; come back when all is ready
  devctl up --skip-docker           start programs only; databases run elsewhere
  devctl up --dry-run               say what would be done and why
  devctl up --format json           one JSON object a line, for programs")]
pub(super) struct Args {
    /// Services to bring up, with what they need; all of them where none is named
    #[arg(value_name = "SERVICES")]
    services: Vec<ServiceName>,

    /// Bring up only the group `api` and the containers it needs
    #[arg(long, conflicts_with_all = ["ws_only", "services"])]
    api_only: bool,

    /// Bring up only the group `ws` and the containers it needs
    #[arg(long, conflicts_with = "services")]
    ws_only: bool,

    /// Start no databases: they run elsewhere, and are only looked for
    #[arg(long, conflicts_with = "driver")]
    skip_docker: bool,

    /// What runs the services of the Compose files
    #[arg(long, value_name = "DRIVER")]
    driver: Option<Driver>,

    /// Do not bring up what the named services need
    #[arg(long, requires = "services")]
    no_deps: bool,

    /// Say what would be done and why, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// How to show what happens
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    format: Format,

    /// How long each service may take to be ready, instead of what the manifest says: `30s`, `2m`
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    timeout: Option<Duration>,

    /// Leave containers behind, stopped, for a faster next start
    #[arg(long)]
    keep: bool,

    /// Run in the background, and come back when everything is ready
    ///
    /// The exit code is 0 when everything is ready, 1 when something failed (then everything is stopped again), 4 when
    /// something was not ready in time.
    #[arg(short, long)]
    detach: bool,

    /// With `--detach`: come back at once
    #[arg(long, requires = "detach", conflicts_with = "wait")]
    no_wait: bool,

    /// The same as `--detach`, which waits by itself
    #[arg(long)]
    wait: bool,

    /// How many seconds each service may take to be ready
    #[arg(long, value_name = "SECONDS", conflicts_with = "timeout")]
    wait_timeout: Option<u64>,

    #[command(flatten)]
    existing: Existing,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Driver {
    /// Docker where it works, embedded otherwise
    Auto,
    /// Containers on a Docker Engine
    Docker,
    /// The same services as processes, without Docker
    Embedded,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// Pretty on a terminal, plain elsewhere
    Auto,
    /// Live progress and coloured logs
    Pretty,
    /// One line per event
    Plain,
    /// One JSON object per line
    Json,
}

/// What `devctl up` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Invocation {
    /// What is to run, and how.
    pub(super) settings: Settings,
    /// `--dry-run`.
    pub(super) dry_run: bool,
    /// `--format`.
    pub(super) format: report::Format,
    /// `--detach`.
    pub(super) detach: bool,
    /// Not `--no-wait`.
    pub(super) wait: bool,
}

/// What is to run, and how: all that a supervisor has to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// Which part of the stack.
    pub(super) selection: Selection,
    /// `--driver`; what the manifest says where it is not given.
    pub(super) driver: Option<DriverChoice>,
    /// `--skip-docker`.
    pub(super) skip_docker: bool,
    /// `--timeout`.
    pub(super) timeout: Option<Duration>,
    /// `--keep`.
    pub(super) keep: bool,
    /// What is wanted of containers that are there already.
    pub(super) policy: Policy,
}

impl Args {
    /// Whether the stack is to run at this terminal.
    pub(super) fn in_foreground(&self) -> bool {
        !self.dry_run && !self.detach && !self.wait
    }

    pub(super) fn invocation(self) -> Invocation {
        let Self {
            services,
            api_only,
            ws_only,
            skip_docker,
            driver,
            no_deps,
            dry_run,
            format,
            timeout,
            keep,
            detach,
            no_wait,
            wait,
            wait_timeout,
            existing,
        } = self;
        let groups = [(api_only, "api"), (ws_only, "ws")];
        let groups = groups.into_iter().filter(|(asked, _)| *asked).map(|(_, group)| group.to_owned()).collect();
        let (policy, scale) = existing.policy(&services);
        let settings = Settings {
            selection: Selection { services, groups, no_deps, scale, ..Selection::default() },
            driver: driver.map(|driver| match driver {
                Driver::Auto => DriverChoice::Auto,
                Driver::Docker => DriverChoice::Docker,
                Driver::Embedded => DriverChoice::Embedded,
            }),
            skip_docker,
            timeout: timeout.or(wait_timeout.map(Duration::from_secs)),
            keep,
            policy,
        };
        Invocation { settings, dry_run, format: format.into(), detach: detach || wait, wait: !no_wait }
    }
}

impl From<Format> for report::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Auto => Self::Auto,
            Format::Pretty => Self::Pretty,
            Format::Plain => Self::Plain,
            Format::Json => Self::Json,
        }
    }
}

/// Brings the stack up. `link` leads to the launcher, where there is one.
pub(super) async fn run(invocation: Invocation, context: Context, link: Option<Link>) -> Result<u8, Error> {
    let Invocation { mut settings, dry_run, format, detach, wait } = invocation;
    // A run that is under way hears of them in the selection.
    settings.selection.profiles.clone_from(&context.request.profiles);
    let began = clock::now();
    let manifest = context.manifest()?;
    let state = StateDir::of(&manifest.root);
    if dry_run {
        let text = match joined::reach(&state).await? {
            Some(there) => joined::rehearse(&manifest, &settings, there, &context).await?,
            None => prepare::rehearsal(&manifest, &settings, &context.env).await?,
        };
        output::print(&text, context.color)?;
        return Ok(0);
    }
    if manifest.services.is_empty() && manifest.compose.services.is_empty() {
        // Said before anything of this run is written into the project.
        return Err(prepare::nothing_to_run(&manifest));
    }
    if let Some(there) = joined::reach(&state).await? {
        return joined::run(&manifest, &settings, there, joined::How { format, stay: !detach, wait }, &context).await;
    }
    if detach {
        return detached::run(&manifest, &settings, format, wait, &context).await;
    }
    let (terminal, passed) = Terminal::behind(link, format)?;
    let stop = StopRequests::install(passed)?;
    Box::pin(supervise(manifest, settings, state, Some(terminal), stop, &context, began)).await
}

/// Runs the stack of the project for whoever started this in the background, and who wrote the settings to standard
/// input.
pub(super) async fn run_in_background(context: Context) -> Result<u8, Error> {
    let began = clock::now();
    let settings = detached::read_settings()?;
    let manifest = context.manifest()?;
    let state = StateDir::of(&manifest.root);
    let stop = StopRequests::install_in_background()?;
    Box::pin(supervise(manifest, settings, state, None, stop, &context, began)).await
}

/// Holds the project, prepares the run, and runs it to its end.
async fn supervise(
    mut manifest: Manifest,
    settings: Settings,
    state: StateDir,
    terminal: Option<Terminal>,
    mut stop: StopRequests,
    context: &Context,
    began: Instant,
) -> Result<u8, Error> {
    let run = RunId::from_random(rand::random());
    // Held until the run is over.
    let lock = tokio::select! {
        biased;
        Some(signal) = stop.asked.recv() => return Ok(signal.exit_code()),
        lock = prepare::take_lock(&state, &run) => lock?,
    };
    let notes = prepare::first_run(&mut manifest, context)?;
    let colours = terminal.as_ref().is_some_and(|terminal| report::shows_colours(terminal.format, context.color));
    let prepared = tokio::select! {
        biased;
        // Nothing is started yet, so there is nothing to take down.
        Some(signal) = stop.asked.recv() => return Ok(signal.exit_code()),
        prepared = prepare::prepare(&manifest, &settings, &run, &state, &context.env, colours) => prepared?,
    };
    let prepared = Prepared { notes: notes.into_iter().chain(prepared.notes).collect(), ..prepared };
    let files = manifest.files.clone();
    let session = Session { run, state, lock: &lock, settings, files, terminal, context, began };
    session::run(prepared, session, &mut stop).await
}
