//! A host program as `devctl.toml` describes it, and the words it shares with the stack: conditions, restart, time limits.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;

use super::source::Place;
use crate::driver::process::{Runtime, StopSignal};
use crate::name::ServiceName;

/// A host program.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Where it is described.
    pub place: Place,
    /// The folder it lives in, absolute.
    pub dir: PathBuf,
    /// What knows how to prepare and run it.
    pub runtime: Runtime,
    /// What the runtime `exec` runs.
    pub command: Option<Vec<String>>,
    /// Arguments after those of the command, or for the program that was built.
    pub args: Vec<String>,
    /// Which binary, where the folder builds several.
    pub bin: Option<String>,
    /// The port it listens on.
    pub port: Option<u16>,
    /// The groups it belongs to.
    pub groups: Vec<String>,
    /// What it needs.
    pub depends_on: Vec<Dependency>,
    /// How its readiness is decided, where that is said.
    pub ready: Option<Ready>,
    /// How it is seen that it still works once it was ready, where that is said.
    pub health: Option<Liveness>,
    /// What happens when it ends by itself.
    pub restart: Restart,
    /// The signal that asks it to stop.
    pub stop_signal: StopSignal,
    /// How long it has to stop before it is killed.
    pub stop_grace: Duration,
    /// Whether it runs in a terminal of its own.
    pub pty: bool,
    /// How many of it run at once.
    pub scale: u32,
    /// Where further replicas get their ports from; the ports after `port` where nothing is said.
    pub port_range: Option<RangeInclusive<u16>>,
    /// Whether devctl listens on the port and hands the socket over.
    pub listen: bool,
    /// What is watched for changes, where something is.
    pub watch: Option<Watch>,
    /// Environment.
    pub env: IndexMap<String, String>,
}

/// A service that is needed.
#[derive(Clone, Debug, PartialEq)]
pub struct Dependency {
    /// Its name.
    pub on: ServiceName,
    /// What must be true of it.
    pub until: Until,
    /// Whether this one restarts with it.
    pub restart: bool,
    /// Where that is said.
    pub place: Place,
}

/// How a host program's readiness is decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Ready {
    /// What is asked.
    pub probe: ReadyProbe,
    /// How long it may take.
    pub timeout: Duration,
    /// What happens then.
    pub on_timeout: OnTimeout,
}

/// What a readiness check asks.
#[derive(Clone, Debug, PartialEq)]
pub enum ReadyProbe {
    /// A request of this path that must be answered with 2xx.
    Http {
        /// The port.
        port: u16,
        /// The path, with its leading `/`.
        path: String,
    },
    /// A connection to this port.
    Tcp {
        /// The port.
        port: u16,
    },
    /// A command that must succeed.
    Exec {
        /// The program and its arguments.
        argv: Vec<String>,
    },
    /// A line of output that must match.
    Log {
        /// A regular expression.
        pattern: String,
    },
}

/// How it is seen that a host program still works.
#[derive(Clone, Debug, PartialEq)]
pub struct Liveness {
    /// What is asked: never a line of output, which is there once and says nothing of later.
    pub probe: ReadyProbe,
    /// The time between two questions.
    pub interval: Duration,
    /// How long one answer may take.
    pub timeout: Duration,
    /// How many bad answers in a row it takes.
    pub retries: u32,
    /// What happens then.
    pub action: HealthAction,
}

impl Liveness {
    /// The check that asks `probe` and leaves everything else as it is where nothing is said.
    pub fn asking(probe: ReadyProbe) -> Self {
        Self {
            probe,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            retries: 3,
            action: HealthAction::default(),
        }
    }
}

/// What happens to a service that was ready and no longer works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HealthAction {
    /// It is stopped and started again, which counts as one of its restarts.
    #[default]
    Restart,
    /// It is told, and nothing else happens.
    Warn,
}

/// What is watched for changes, and what a change does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Files and folders, absolute. Folders are watched with all that is in them.
    pub paths: Vec<PathBuf>,
    /// Changes that do not count: patterns of `.gitignore`, relative to the service's folder.
    pub ignore: Vec<String>,
    /// How long no further change must come before anything happens.
    pub debounce: Duration,
    /// Whether there is something to build before the restart.
    pub build: bool,
}

/// How many of one program may run at once: far beyond any use, and few enough for a slip of the finger.
pub const MAX_SCALE: u32 = 100;

/// How long no further change must come where nothing is said.
pub const DEFAULT_DEBOUNCE: Duration = Duration::from_millis(300);

/// How long a service may take to be ready where nothing is said.
pub const DEFAULT_READY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a service has to stop where nothing is said.
pub const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(10);

/// The condition on a need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// It was started.
    Started,
    /// It is ready.
    Ready,
    /// It ended well.
    Completed,
}

/// What happens when a node is not ready in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTimeout {
    /// Go on with a warning: whatever needs it starts as if it were ready.
    #[default]
    Warn,
    /// Stop what this run started and say why.
    Fail,
}

/// When a workload that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// After which ends.
    pub policy: RestartPolicy,
    /// How many restarts within `within` before it is given up.
    pub max: u32,
    /// The span of time in which restarts are counted.
    pub within: Duration,
}

impl Default for Restart {
    fn default() -> Self {
        Self { policy: RestartPolicy::No, max: 5, within: Duration::from_mins(1) }
    }
}

/// After which ends a workload is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// After any end but exit code 0.
    OnFailure,
    /// After every end.
    Always,
}
