//! The events of a run: the only thing the engine says to the outside.
//!
//! Events are typed, lossless and serialisable; `up --format json` prints one a line and the field `event` names it.
//! How they look to a person is decided in `report/`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::name::{NodeId, ProjectName, RunId, ServiceName};

/// A word of devctl's own: the name of a driver, a probe or a unit.
pub type Word = &'static str;

/// The words that events are known to carry.
const WORDS: [Word; 16] = [
    "docker",
    "embedded",
    "none",
    "postgres",
    "redis",
    "http",
    "tcp",
    "exec",
    "log",
    "container",
    "started",
    "process",
    "bytes",
    "crates",
    "lines",
    "steps",
];

/// Reads a word. One that is not known here stays in memory for as long as the program runs: only a client of the
/// control socket meets one, of a devctl that knows more, and there are few.
fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Word, D::Error> {
    let text = String::deserialize(deserializer)?;
    let known = WORDS.into_iter().find(|known| *known == text);
    Ok(known.unwrap_or_else(|| Box::leak(text.into_boxed_str())))
}

/// What happened, and when, counted from the moment the command began.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Milliseconds since the command began.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// The kinds of events, in the order a run meets them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// The stack is resolved and the run begins.
    RunStarted {
        /// The project's name.
        project: ProjectName,
        /// The identity of this run.
        run: RunId,
        /// What runs the containers: `docker`, `embedded` or `none`.
        #[serde(deserialize_with = "word")]
        driver: Word,
        /// Why that driver was chosen, one line.
        why: String,
        /// The services of this run, in the order of the manifest.
        services: Vec<ServiceName>,
    },
    /// Something worth knowing that stops nothing.
    Note {
        /// One line.
        message: String,
    },
    /// Something that should be mended and stops nothing now.
    Warning {
        /// The node it concerns, where it concerns one.
        node: Option<NodeId>,
        /// One line.
        message: String,
        /// What to do about it.
        hints: Vec<String>,
    },
    /// A node cannot start yet; `on` is what it needs, in the order of the manifest.
    Waiting {
        /// The node that waits.
        node: NodeId,
        /// What it waits for.
        on: Vec<NodeId>,
    },
    /// A node begins to be brought about.
    Starting {
        /// The node.
        node: NodeId,
        /// What the plan says to do with it.
        action: Action,
    },
    /// A pull, a download or a build advanced.
    Progress {
        /// The node that advances.
        node: NodeId,
        /// How far it is.
        progress: Progress,
    },
    /// A workload runs; its readiness is not known yet.
    Started {
        /// The node.
        node: NodeId,
        /// What runs.
        handle: Handle,
    },
    /// A probe's answer changed while the node is not ready.
    Probing {
        /// The node.
        node: NodeId,
        /// What the last probe said.
        answer: String,
    },
    /// A workload does what it is for.
    Ready {
        /// The node.
        node: NodeId,
        /// Milliseconds from the node's start to its readiness.
        elapsed_ms: u64,
        /// The probe that decided it, `started` where there is none.
        #[serde(deserialize_with = "word")]
        probe: Word,
    },
    /// A task is done.
    Completed {
        /// The node.
        node: NodeId,
        /// Milliseconds the task took.
        elapsed_ms: u64,
    },
    /// A node failed and will not be tried again in this run.
    Failed {
        /// The node.
        node: NodeId,
        /// Everything known about it.
        failure: Failure,
    },
    /// A workload ended and will be started again.
    Restarting {
        /// The node.
        node: NodeId,
        /// Which restart this is, counted from 1.
        attempt: u32,
        /// Milliseconds until it is started.
        delay_ms: u64,
        /// How it ended.
        exit: Exit,
    },
    /// A workload that runs is about to be stopped and started again.
    Renewing {
        /// The node.
        node: NodeId,
        /// Why, in a few words.
        cause: String,
    },
    /// A build that was done before failed; what runs was built before and runs on.
    BuildFailed {
        /// The node.
        node: NodeId,
        /// Everything known about it.
        failure: Failure,
    },
    /// A ready workload failed the checks of its health, too often in a row.
    Unhealthy {
        /// The node.
        node: NodeId,
        /// What the last check said.
        answer: String,
        /// How many checks failed in a row.
        failures: u32,
    },
    /// An unhealthy workload passed a check again.
    Healthy {
        /// The node.
        node: NodeId,
    },
    /// The run goes over to another plan. What was not named here is left alone.
    Applied {
        /// Services that are new.
        added: Vec<ServiceName>,
        /// Services that are made anew.
        changed: Vec<ServiceName>,
        /// Services that are no more.
        removed: Vec<ServiceName>,
    },
    /// Every node of the run is ready or done: at the end of the start-up, and each time another plan was applied.
    StackReady {
        /// Milliseconds since the command began, or since the plan was applied.
        elapsed_ms: u64,
        /// The services that went on with a warning.
        unready: Vec<ServiceName>,
    },
    /// The run ends; nothing pending starts any more.
    StackStopping {
        /// Why.
        cause: StopCause,
    },
    /// A workload was asked to stop.
    Stopping {
        /// The node.
        node: NodeId,
        /// Milliseconds it has before it is killed.
        grace_ms: u64,
    },
    /// A workload did not stop in time, or the user would not wait, and it was killed.
    Killing {
        /// The node.
        node: NodeId,
    },
    /// A workload ended.
    Stopped {
        /// The node.
        node: NodeId,
        /// How it ended.
        exit: Exit,
    },
    /// A container or network of the run was removed, or a service is no longer part of the stack.
    Removed {
        /// The node.
        node: NodeId,
    },
    /// What the run stopped and what is left, as found by looking and not by believing.
    Receipt(Receipt),
    /// The last event of a run.
    Finished {
        /// How the run ended.
        outcome: Outcome,
        /// The exit code that goes with it.
        exit_code: u8,
    },
}

/// What the plan does with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It does not exist: bring it about.
    Create,
    /// It exists and does not run: start it.
    Start,
    /// It exists and differs from what the manifest says: make it anew.
    Replace,
    /// It is already as it should be: leave it alone, now and at the end.
    Keep,
    /// A run that died left it behind: take it over, and away at the end.
    Adopt,
    /// It is not ours to start: only look whether it is there.
    Expect,
}

/// How far a pull, a download or a build is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// What is being done now: `downloading`, `extracting`, `compiling serde`.
    pub what: String,
    /// The layer or part this is about, where there are several.
    pub part: Option<String>,
    /// Units done.
    pub done: u64,
    /// Units in all; 0 when not known.
    pub total: u64,
    /// The unit: `bytes` or `crates`.
    #[serde(deserialize_with = "word")]
    pub unit: Word,
}

/// What a running workload is known by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Handle {
    /// A container.
    Container {
        /// The full id.
        id: String,
        /// The name.
        name: String,
    },
    /// A process.
    Process {
        /// The leader's process id, which is the id of its group and session too.
        pid: u32,
    },
    /// Something that devctl did not start.
    External,
}

/// How a workload ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exit {
    /// The exit code, where it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it, where one did.
    pub signal: Option<i32>,
    /// Whether the kernel ended it for want of memory.
    pub out_of_memory: bool,
    /// Why nobody can tell how it ended, or whether it did: whoever ran it went away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<String>,
}

impl Exit {
    /// Whether the workload ended well: exit code 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit code {code}")?,
            (None, Some(signal)) => write!(f, "killed by signal {signal}")?,
            (None, None) => f.write_str(self.lost.as_deref().unwrap_or("ended, nobody knows how"))?,
        }
        if self.out_of_memory {
            f.write_str(" (out of memory)")?;
        }
        Ok(())
    }
}

/// Everything known about a node that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// One line: what failed and the value it failed on.
    pub message: String,
    /// How the workload ended, where it did.
    pub exit: Option<Exit>,
    /// What the last probe said, where one was made.
    pub last_probe: Option<String>,
    /// The first line of the log that looks like an error.
    pub first_error: Option<String>,
    /// The last lines of the log.
    pub log_tail: Vec<String>,
    /// What to do about it, most useful first.
    pub hints: Vec<String>,
    /// Whether the node was not ready in time, which has an exit code of its own.
    pub timed_out: bool,
    /// Whether the machine is at fault rather than the service, which has an exit code of its own.
    pub environment: bool,
}

/// Why a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// A signal: the user or the system asked for it.
    Signal(Signal),
    /// `devctl down`, or another client of the control socket.
    Command,
    /// A node failed during start-up.
    Failure,
    /// Every workload has ended by itself.
    AllExited,
}

/// The signals that end a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    /// Ctrl+C.
    Int,
    /// `kill`.
    Term,
    /// The terminal is gone.
    Hup,
}

impl Signal {
    /// The exit code of a run that this signal interrupted: 128 + the signal's number.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Hup => 129,
            Self::Int => 130,
            Self::Term => 143,
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything was ready and everything is stopped.
    Done,
    /// A signal came before everything was ready.
    Interrupted(Signal),
    /// A service failed.
    Failed,
    /// The machine was not fit.
    Environment,
    /// A service was not ready in time.
    NotReady,
}

impl Outcome {
    /// Whether something failed.
    pub fn is_failure(self) -> bool {
        match self {
            Self::Failed | Self::Environment | Self::NotReady => true,
            Self::Done | Self::Interrupted(_) => false,
        }
    }

    /// The exit code of `devctl up` that goes with the outcome.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Environment => 3,
            Self::NotReady => 4,
            Self::Interrupted(signal) => signal.exit_code(),
        }
    }
}

/// What a run stopped, kept and left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    /// Containers that were stopped and removed.
    pub containers: u32,
    /// Processes (embedded servers among them) that were stopped.
    pub processes: u32,
    /// Networks that were removed.
    pub networks: u32,
    /// What was running before and is left running, by name.
    pub kept: Vec<String>,
    /// Volumes and data folders that live on.
    pub data: Vec<String>,
    /// What should be gone and is not: a container, a process with its pid, a network.
    pub left: Vec<String>,
    /// Milliseconds from the first signal to the last check.
    pub elapsed_ms: u64,
}

/// Milliseconds of a duration, as events count them.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
