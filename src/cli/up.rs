//! `devctl up`.

use std::time::Duration;

mod attached;
mod outlet;
mod prepare;
mod session;
mod supervisor;
mod watching;

use clap::ValueEnum;

use self::attached::Terminal;
use self::prepare::Prepared;
pub(super) use self::prepare::take_lock;
use self::session::{Session, StopRequests};
use super::{Context, duration, output};
use crate::error::Error;
use crate::manifest::{self, DriverChoice};
use crate::name::{RunId, ServiceName};
use crate::os::clock;
use crate::os::launcher::Link;
use crate::report;
use crate::stack::Selection;
use crate::state::StateDir;

/// Bring the stack up and keep it up until Ctrl+C
///
/// Every part starts the moment what it needs is ready, and is ready when it answers its own protocol. Then the table
/// of what runs where, and the merged logs of all services. Ctrl+C stops everything that this command started, in
/// reverse order; a second Ctrl+C kills it.
///
/// What was running already is left running. Volumes and data live on.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl up                         everything
  devctl up api                     the API and what it needs
  devctl up --api-only              the group `api` and the containers it needs
  devctl up --driver embedded       PostgreSQL and Redis without Docker
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

    /// Bring up the services of this Compose profile too; can be repeated
    #[arg(long = "profile", value_name = "NAME")]
    profiles: Vec<String>,

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
enum Format {
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
pub(super) struct Settings {
    /// Which part of the stack.
    pub(super) selection: Selection,
    /// `--driver`; what the manifest says where it is not given.
    pub(super) driver: Option<DriverChoice>,
    /// `--skip-docker`.
    pub(super) skip_docker: bool,
    /// `--dry-run`.
    pub(super) dry_run: bool,
    /// `--format`.
    pub(super) format: report::Format,
    /// `--timeout`.
    pub(super) timeout: Option<Duration>,
    /// `--keep`.
    pub(super) keep: bool,
}

impl Args {
    /// Whether the stack is to run at this terminal.
    pub(super) fn in_foreground(&self) -> bool {
        !self.dry_run
    }

    pub(super) fn settings(self) -> Settings {
        let Self {
            services,
            api_only,
            ws_only,
            skip_docker,
            driver,
            profiles,
            no_deps,
            dry_run,
            format,
            timeout,
            keep,
        } = self;
        let groups = [(api_only, "api"), (ws_only, "ws")];
        let groups = groups.into_iter().filter(|(asked, _)| *asked).map(|(_, group)| group.to_owned()).collect();
        Settings {
            selection: Selection { services, groups, no_deps, profiles },
            driver: driver.map(|driver| match driver {
                Driver::Auto => DriverChoice::Auto,
                Driver::Docker => DriverChoice::Docker,
                Driver::Embedded => DriverChoice::Embedded,
            }),
            skip_docker,
            dry_run,
            format: match format {
                Format::Auto => report::Format::Auto,
                Format::Pretty => report::Format::Pretty,
                Format::Plain => report::Format::Plain,
                Format::Json => report::Format::Json,
            },
            timeout,
            keep,
        }
    }
}

/// Brings the stack up. `link` leads to the launcher, where there is one.
pub(super) async fn run(settings: Settings, context: Context, link: Option<Link>) -> Result<u8, Error> {
    let began = clock::now();
    let mut manifest = manifest::load(&context.start, &context.env).map_err(Error::problems)?;
    if settings.dry_run {
        output::print(&prepare::rehearsal(&manifest, &settings, &context.env).await?, context.color)?;
        return Ok(0);
    }
    if manifest.services.is_empty() && manifest.compose.services.is_empty() {
        // Said before anything of this run is written into the project.
        return Err(prepare::nothing_to_run(&manifest));
    }
    let (terminal, passed) = Terminal::behind(link, settings.format)?;
    let mut stop = StopRequests::install(passed)?;
    let state = StateDir::of(&manifest.root);
    let run = RunId::from_random(rand::random());
    // Held until the run is over.
    let lock = prepare::take_lock(&state, &run)?;
    let notes = prepare::first_run(&mut manifest, &context)?;
    let prepared = tokio::select! {
        biased;
        // Nothing is started yet, so there is nothing to take down.
        Some(signal) = stop.asked.recv() => return Ok(signal.exit_code()),
        prepared = prepare::prepare(&manifest, &settings, &run, &state, &context.env) => prepared?,
    };
    let prepared = Prepared { notes: notes.into_iter().chain(prepared.notes).collect(), ..prepared };
    let (terminal, files) = (Some(terminal), manifest.files.clone());
    let session = Session { run, state, lock: &lock, settings, files, terminal, context: &context, began };
    session::run(prepared, session, &mut stop).await
}
