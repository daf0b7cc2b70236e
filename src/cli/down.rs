//! `devctl down`.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc::unbounded_channel;

use super::{Context, last_run, output};
use crate::advice::Blame;
use crate::control::client::Client;
use crate::control::{socket, wire};
use crate::driver::DriverError;
use crate::driver::docker::{self, Docker, ImageRemoval, ObservedContainer};
use crate::driver::embedded::Embedded;
use crate::driver::process::{self as host, Patience, Swept};
use crate::error::Error;
use crate::manifest::{DriverChoice, Manifest};
use crate::name::{ProjectName, RunId};
use crate::os::clock;
use crate::os::process::{self, Kill};
use crate::state::StateDir;
use crate::state::guardian_log::Deed;
use crate::state::lock::Lock;
use crate::state::record::Record;

/// Stop and remove what is left of the stack
///
/// Stops the project's containers and processes, whoever started them, and removes its containers and networks. Volumes
/// and data live on unless `--volumes` is given.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  devctl down                stop everything, keep the data
  devctl down --volumes      delete the data too, after asking
  devctl down -v --yes       the same without asking")]
pub(super) struct Args {
    /// Delete volumes and embedded data too: databases start empty the next time
    #[arg(short, long)]
    volumes: bool,

    /// Do not ask before deleting
    #[arg(short, long)]
    yes: bool,

    /// Remove images too: those that were built for the project and have no name of their own, or all that it uses
    #[arg(long, value_name = "WHICH")]
    rmi: Option<Rmi>,

    /// Remove containers of single commands too (`run`)
    #[arg(long)]
    remove_orphans: bool,

    /// How many seconds containers have to stop, instead of what each says itself
    #[arg(short = 't', long, value_name = "SECONDS")]
    timeout: Option<u32>,
}

/// Which images `--rmi` removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Rmi {
    /// Those that were built and have no name of their own
    Local,
    /// All that services use
    All,
}

/// What `devctl down` was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// `--volumes`.
    pub(super) volumes: bool,
    /// `--yes`.
    pub(super) yes: bool,
    /// `--rmi`.
    pub(super) rmi: Option<Rmi>,
    /// `--remove-orphans`.
    pub(super) remove_orphans: bool,
    /// `--timeout`.
    pub(super) timeout: Option<u32>,
}

impl Args {
    pub(super) fn settings(self) -> Settings {
        let Self { volumes, yes, rmi, remove_orphans, timeout } = self;
        Settings { volumes, yes, rmi, remove_orphans, timeout }
    }
}

/// Takes the stack down.
pub(super) async fn run(settings: Settings, context: Context) -> Result<u8, Error> {
    let root = super::project_folder(&context)?;
    let state = StateDir::of(&root);
    let record = Record::read(&state);
    let manifest = match context.request.load(&context.env) {
        Ok(manifest) => manifest,
        // Who edits a file must still be able to stop what runs. Data are not deleted by half the knowledge.
        Err(problems) => match record.as_ref().filter(|_| !settings.volumes).and_then(|record| known(root, record)) {
            Some(manifest) => {
                output::note(
                    "the project's files have mistakes; what runs is taken down all the same\n",
                    context.color,
                )?;
                manifest
            }
            None => return Err(Error::problems(problems)),
        },
    };
    let engine = reach_engine(&manifest, record.as_ref(), &context).await;
    if let Ok(engine) = &engine {
        let containers = engine.list_all(&manifest.project, true).await?;
        super::up::refuse_elsewhere(&manifest, engine, containers.iter())?;
    }
    if settings.volumes {
        if let Some(away) = away(&engine, &manifest, record.as_ref()) {
            return Err(away);
        }
        if !settings.yes {
            confirm(&doomed(&manifest, &state, engine.as_ref().ok()).await?)?;
        }
    }
    let supervisor = stop_supervisor(&state).await?;
    // Nobody may bring the stack up while it is taken down.
    let run = RunId::from_random(rand::random());
    let lock = super::up::take_lock_to_tidy_up(&state, &run).await?;
    socket::clear(&manifest.root, &lock);
    // What a guardian did is told once.
    let mut done = Done { supervisor, guardian: Deed::read(&state), ..Done::default() };
    Deed::clear(&state);
    let Swept { stopped: ended, left } = end_processes(&state).await;
    done.processes += ended.len();
    done.left.extend(left);
    let record = what_is_left_of(record, &state);
    if let Some(away) = away(&engine, &manifest, record.as_ref()) {
        if !done.is_nothing() {
            output::print(&done.what().to_string(), context.color)?;
        }
        return Err(away);
    }
    let engine = engine.ok();
    if let Some(engine) = &engine {
        let images = match settings.rmi {
            Some(which) => doomed_images(engine, &manifest, which).await?,
            None => Vec::new(),
        };
        remove_containers(engine, &manifest.project, settings, &mut done).await?;
        remove_images(engine, images, &mut done).await;
        remove_networks(engine, &manifest.project, &mut done).await?;
        if let Some(record) = &record {
            let found = done.containers.iter().chain(&done.kept).map(String::as_str).collect();
            if let Err(elsewhere) = last_run::on_another_engine(record, engine, &found, COMMAND) {
                output::print(&done.what().to_string(), context.color)?;
                return Err(elsewhere);
            }
        }
    }
    if settings.volumes {
        remove_data(&manifest, &state, engine.as_ref(), &mut done).await?;
    }
    if done.left.is_empty() {
        Record::clear(&state).map_err(|error| Error::io("cannot remove the record of the last run", error))?;
    }
    output::print(&done.to_string(), context.color)?;
    Ok(u8::from(!done.left.is_empty()))
}

/// What a run tells of its project.
fn known(root: PathBuf, record: &Record) -> Option<Manifest> {
    let driver = if last_run::used_docker(record) { DriverChoice::Docker } else { DriverChoice::Embedded };
    Some(Manifest::unread(root, record.project.parse().ok()?, driver))
}

/// How many containers are removed at once.
const AT_ONCE: usize = 64;

/// What to type to run this again.
const COMMAND: &str = "devctl down";

/// What the record says now that the run is over. One that ended well has taken its own containers down and its record
/// along, and left those that were there before it.
fn what_is_left_of(before: Option<Record>, state: &StateDir) -> Option<Record> {
    Record::read(state).or_else(|| {
        let mut record = before?;
        record.services.retain(|_, service| !service.ours && service.container.is_some());
        (!record.services.is_empty()).then_some(record)
    })
}

/// The error that there is where containers of this project may run on an engine that is away.
fn away(engine: &Result<Docker, Missing>, manifest: &Manifest, record: Option<&Record>) -> Option<Error> {
    match engine {
        Err(Missing::Away(error)) if last_run::may_have_containers(manifest, record) => {
            Some(last_run::engine_away(error, manifest, record, COMMAND))
        }
        Ok(_) | Err(Missing::Away(_) | Missing::NotAsked) => None,
    }
}

/// What was taken down.
#[derive(Debug, Default)]
struct Done {
    /// The devctl that ran the stack and took down all that it had started.
    supervisor: Option<u32>,
    /// What the guardian of a run that was killed has done before.
    guardian: Option<Deed>,
    processes: usize,
    containers: Vec<String>,
    networks: Vec<String>,
    images: Vec<String>,
    /// Images that stay because a container uses them.
    images_in_use: Vec<String>,
    data: Vec<String>,
    /// What could not be removed, and why.
    left: Vec<String>,
    /// The containers among it.
    kept: Vec<String>,
}

impl Done {
    fn is_nothing(&self) -> bool {
        // What stays is no work done.
        let Self { supervisor, processes, containers, networks, images, data, .. } = self;
        let removed = [containers, networks, images, data];
        supervisor.is_none() && *processes == 0 && removed.iter().all(|names| names.is_empty())
    }

    /// What was taken down, without a word about what is left.
    fn what(&self) -> impl std::fmt::Display {
        std::fmt::from_fn(|f| {
            if let Some(pid) = self.supervisor {
                writeln!(f, "stopped devctl (pid {pid}) with everything it ran")?;
            }
            if let Some(deed) = &self.guardian {
                writeln!(f, "{deed}")?;
            }
            if self.processes > 0 {
                let processes = count(self.processes, "process", "processes");
                writeln!(f, "stopped {processes} of a run that was killed")?;
            }
            for name in &self.containers {
                writeln!(f, "removed container {name}")?;
            }
            for name in &self.networks {
                writeln!(f, "removed network {name}")?;
            }
            for name in &self.images {
                writeln!(f, "removed image {name}")?;
            }
            for name in &self.images_in_use {
                writeln!(f, "kept image {name}: a container uses it")?;
            }
            for name in &self.data {
                writeln!(f, "deleted {name}")?;
            }
            Ok(())
        })
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.what())?;
        for what in &self.left {
            writeln!(f, "left {what}")?;
        }
        if self.is_nothing() && self.left.is_empty() {
            return writeln!(f, "nothing of this project runs; 0 left");
        }
        writeln!(f, "{} left", self.left.len())
    }
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Why there is no engine to look at.
enum Missing {
    /// Nothing of this project is on one.
    NotAsked,
    /// It does not answer.
    Away(docker::Error),
}

/// The engine, where this project may have something there.
async fn reach_engine(manifest: &Manifest, record: Option<&Record>, context: &Context) -> Result<Docker, Missing> {
    if manifest.driver == DriverChoice::Embedded && !record.is_some_and(last_run::used_docker) {
        return Err(Missing::NotAsked);
    }
    Docker::connect(&context.env).await.map_err(Missing::Away)
}

/// What `--volumes` will delete.
async fn doomed(manifest: &Manifest, state: &StateDir, engine: Option<&Docker>) -> Result<Vec<String>, Error> {
    let mut doomed = Vec::new();
    if let Some(engine) = engine {
        let volumes = engine.project_volumes(&manifest.project).await?;
        doomed.extend(volumes.into_iter().map(|name| format!("volume {name}")));
    }
    doomed.extend(Embedded::data_folders(&state.data()).into_iter().map(|path| format!("folder {}", path.display())));
    Ok(doomed)
}

/// Asks whether to delete. Without somebody to ask, nothing is deleted.
fn confirm(doomed: &[String]) -> Result<(), Error> {
    if doomed.is_empty() {
        return Ok(());
    }
    let refused = |why: &str| {
        Error::new(Blame::Configuration, format!("nothing was deleted: {why}"))
            .hint("`devctl down --volumes --yes` deletes without asking")
    };
    let mut stderr = io::stderr();
    if !io::stdin().is_terminal() {
        return Err(refused("there is nobody to ask"));
    }
    let question = format!("This deletes all data in:\n  {}\nType `yes` to go on: ", doomed.join("\n  "));
    let failed = |error| Error::io("cannot ask on the terminal", error);
    stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush()).map_err(failed)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(failed)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(refused("the answer was not `yes`")) }
}

/// How long the system may take to give back the lock of a supervisor that has died.
const DEAD: Duration = Duration::from_secs(10);

/// Ends a devctl that runs the stack, the way Ctrl+C would, and waits until it is gone; answers who it was.
async fn stop_supervisor(state: &StateDir) -> Result<Option<u32>, Error> {
    let cannot_look = |error| Error::io("cannot look at the project's lock", error);
    let began = clock::now();
    loop {
        let Some(holder) = Lock::holder(state).map_err(cannot_look)? else { return Ok(None) };
        if holder.guardian {
            // It is taking down what a killed run left, and is about to finish.
            Lock::wait_until_free(state).await.map_err(cannot_look)?;
            return Ok(None);
        }
        // In its own words first: whoever sees the run is told why it ends.
        let told = match Client::connect(state.root()).await {
            Ok((client, status)) if status.pid == holder.pid => client.down(&wire::Down::default()).await.is_ok(),
            Ok(_) | Err(_) => false,
        };
        let devctl = holder.process();
        if told || devctl.is_some_and(|devctl| process::signal(devctl, Kill::Term)) {
            Lock::wait_until_free(state).await.map_err(cannot_look)?;
            return Ok(Some(holder.pid));
        }
        if devctl.is_some_and(process::lives) {
            let message = format!("cannot stop devctl (pid {}): it is another user's", holder.pid);
            return Err(Error::new(Blame::Environment, message));
        }
        // It has just died, and the system is about to give its lock back or its guardian about to say that it has it.
        if clock::now().duration_since(began) > DEAD {
            let message =
                format!("somebody has this project, and it is not devctl (pid {}), which is dead", holder.pid);
            let hint = format!("find out who with `lsof {}`", state.path().join("lock").display());
            return Err(Error::new(Blame::Environment, message).hint(hint));
        }
        Lock::look_again(state).await;
    }
}

/// Ends what runs that died left of their processes.
async fn end_processes(state: &StateDir) -> Swept {
    let Some(record) = Record::read(state) else { return Swept::default() };
    last_run::remember(state, &record);
    host::sweep(&last_run::lost(&record), Patience::LATER).await
}

/// Stops and removes the project's containers. Those that need others are stopped before these, as their labels tell;
/// nobody waits for a removal.
async fn remove_containers(
    engine: &Docker,
    project: &ProjectName,
    settings: Settings,
    done: &mut Done,
) -> Result<(), Error> {
    let levels = docker::stop_levels(engine.list_all(project, settings.remove_orphans).await?);
    let (stopped, to_remove) = unbounded_channel();
    let stopping = async move {
        for level in levels {
            let stops = level.into_iter().map(async |found| {
                let ended = engine.stop_within(&found.id, settings.timeout).await;
                // Taken by the other half until this one is over.
                let _ = stopped.send((found, ended));
            });
            join_all(stops).await;
        }
    };
    let removing = stream::unfold(to_remove, async |mut next| Some((next.recv().await?, next)))
        .map(async |(found, ended): (ObservedContainer, Result<(), DriverError>)| {
            let removed = match ended {
                Ok(()) => engine.remove_container(&found.id).await,
                Err(error) => Err(error),
            };
            (removed, found.name)
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>();
    let ((), mut removals) = tokio::join!(stopping, removing);
    removals.sort_by(|(_, a), (_, b)| a.cmp(b));
    for (removed, name) in removals {
        match removed {
            Ok(()) => done.containers.push(name),
            Err(error) => {
                done.left.push(format!("container {name}: {error}"));
                done.kept.push(name);
            }
        }
    }
    Ok(())
}

/// The images that `--rmi` removes, asked for while their containers are still there to say which they are.
async fn doomed_images(engine: &Docker, manifest: &Manifest, which: Rmi) -> Result<Vec<String>, Error> {
    let built = engine.project_images(&manifest.project).await?;
    let named = manifest.compose.services.values().map(|container| container.image.clone());
    let mut images: Vec<String> = match which {
        Rmi::All => built.into_iter().chain(named).collect(),
        Rmi::Local => {
            let default = |image: &String| {
                image.split(':').next().is_some_and(|name| {
                    manifest.compose.services.keys().any(|service| name == format!("{}-{service}", manifest.project))
                })
            };
            built.into_iter().filter(default).collect()
        }
    };
    images.retain(|image| !image.is_empty());
    images.sort();
    images.dedup();
    Ok(images)
}

async fn remove_images(engine: &Docker, images: Vec<String>, done: &mut Done) {
    let removals = images.into_iter().map(async |name| (engine.remove_image(&name).await, name));
    for (removed, name) in join_all(removals).await {
        match removed {
            Ok(ImageRemoval::Removed) => done.images.push(name),
            Ok(ImageRemoval::Absent) => {}
            Ok(ImageRemoval::InUse) => done.images_in_use.push(name),
            Err(error) => done.left.push(format!("image {name}: {error}")),
        }
    }
}

async fn remove_networks(engine: &Docker, project: &ProjectName, done: &mut Done) -> Result<(), Error> {
    let networks = engine.project_networks(project).await?;
    let removals = networks.into_iter().map(async |name| (engine.remove_network(&name).await, name));
    for (removed, name) in join_all(removals).await {
        match removed {
            Ok(()) => done.networks.push(name),
            Err(error) => done.left.push(format!("network {name}: {error}")),
        }
    }
    Ok(())
}

async fn remove_data(
    manifest: &Manifest,
    state: &StateDir,
    engine: Option<&Docker>,
    done: &mut Done,
) -> Result<(), Error> {
    if let Some(engine) = engine {
        for name in engine.project_volumes(&manifest.project).await? {
            match engine.remove_volume(&name).await {
                Ok(()) => done.data.push(format!("volume {name}")),
                Err(error) => done.left.push(format!("volume {name}: {error}")),
            }
        }
    }
    for path in Embedded::data_folders(&state.data()) {
        match Embedded::remove_data(&path) {
            Ok(()) => done.data.push(format!("folder {}", path.display())),
            Err(error) => done.left.push(format!("folder {}: {error}", path.display())),
        }
    }
    Ok(())
}
