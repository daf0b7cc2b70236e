//! What travels over the control socket: plain data that server and client agree on, and of which docs/control-api.json
//! is made. A change that an old client would misread needs another [`API`] version.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{Event, Exit, Failure};
use crate::logs::Stream;
use crate::name::ServiceName;
use crate::plan::Policy;
use crate::state::record::{Record, ServiceRecord};

/// The version of everything in this file. Clients and server say theirs in the header [`API_HEADER`].
pub const API: u32 = 1;

/// The header that tells the version of the API, in requests and in answers.
pub const API_HEADER: &str = "devctl-api";

/// What the supervisor and its services are doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The version of the API.
    pub api: u32,
    /// The version of the devctl that runs the stack.
    pub version: String,
    /// The project's name.
    pub project: String,
    /// The project's folder.
    pub root: String,
    /// The id of the run.
    pub run: String,
    /// The process id of the supervisor.
    pub pid: u32,
    /// When the run began, RFC 3339.
    pub began: String,
    /// What runs the containers: `docker`, `embedded` or `none`.
    pub driver: String,
    /// Whether a terminal is attached to it.
    pub mode: Mode,
    /// How far the run is.
    pub phase: Phase,
    /// Milliseconds until everything was ready, from the beginning of the run or from the last change of its plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_ms: Option<u64>,
    /// The number that the next event will have: `GET /v1/events?from=` it tells what comes after this status.
    pub next_event: u64,
    /// The folder of the log files, which have more than `GET /v1/logs` can tell.
    pub logs: String,
    /// The services, in the order of the manifest.
    pub services: Vec<ServiceStatus>,
}

/// Whether a terminal is attached to the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// `devctl up`: it ends with its terminal.
    Foreground,
    /// `devctl up -d`, or detached later: it ends when it is told to.
    Detached,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not everything is ready yet.
    Starting,
    /// Everything was ready.
    Up,
    /// It is being taken down.
    Stopping,
}

/// What one service is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceStatus {
    /// Its name. The second replica of `api` is `api#2`.
    pub service: String,
    /// What it is doing.
    pub state: State,
    /// When it was started, RFC 3339; absent where it does not run, or ran before this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// How often it was started again.
    pub restarts: u32,
    /// The process id, where it is a process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The container's name, where it is a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The ports of this machine that it listens on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// Where people reach it, secrets masked.
    pub addresses: Vec<String>,
    /// When it will be started again, RFC 3339, where it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_start: Option<String>,
    /// How it ended the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<Exit>,
    /// What it waits for before it may start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_on: Vec<String>,
    /// What the last probe said that did not find it ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_probe: Option<String>,
    /// Why it failed, with the evidence: gone once it is started anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Milliseconds from its start to its readiness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_ms: Option<u64>,
    /// What there is to say of its state: what it waits for, what the last probe said, how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What a service is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits for what it needs.
    Waiting,
    /// It is being started.
    Starting,
    /// It runs and is not ready yet.
    Probing,
    /// It does what it is for.
    Ready,
    /// It was ready, and fails the checks of its health.
    Unhealthy,
    /// It was not ready in time; the run went on without it.
    Late,
    /// It ended and will be started again.
    Restarting,
    /// It failed and will not be tried again by itself.
    Failed,
    /// It did its work and ended well.
    Done,
    /// It was asked to stop.
    Stopping,
    /// It did not stop when asked.
    Killing,
    /// It does not run.
    Stopped,
}

impl State {
    /// All states, in the order of a service's life.
    pub const ALL: [Self; 12] = [
        Self::Waiting,
        Self::Starting,
        Self::Probing,
        Self::Ready,
        Self::Unhealthy,
        Self::Late,
        Self::Restarting,
        Self::Failed,
        Self::Done,
        Self::Stopping,
        Self::Killing,
        Self::Stopped,
    ];

    /// The word for it, in JSON and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Probing => "probing",
            Self::Ready => "ready",
            Self::Unhealthy => "unhealthy",
            Self::Late => "late",
            Self::Restarting => "restarting",
            Self::Failed => "failed",
            Self::Done => "done",
            Self::Stopping => "stopping",
            Self::Killing => "killing",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl ServiceStatus {
    fn into_record(self) -> (String, ServiceRecord) {
        let Self {
            service,
            state,
            since,
            restarts,
            next_start,
            pid,
            container,
            ports,
            addresses,
            last_exit,
            waiting_on,
            last_probe,
            failure,
            ready_ms,
            detail,
        } = self;
        let record = ServiceRecord {
            phase: state.to_string(),
            pid,
            container,
            ports,
            since,
            ready_ms,
            restarts,
            next_start,
            last_exit,
            addresses,
            waiting_on,
            last_probe,
            failure,
            detail,
            ..ServiceRecord::default()
        };
        (service, record)
    }

    /// What the record of a run tells of a service.
    pub fn of_record(service: &str, record: &ServiceRecord) -> Self {
        let ServiceRecord {
            phase,
            pid,
            start: _,
            stop: _,
            container,
            ports,
            ours: _,
            since,
            ready_ms,
            restarts,
            next_start,
            last_exit,
            addresses,
            waiting_on,
            last_probe,
            failure,
            detail,
        } = record;
        Self {
            service: service.to_owned(),
            // The record's words are the same; one that is not known is of a service that nothing was heard of yet.
            state: State::ALL.into_iter().find(|state| state.as_str() == phase).unwrap_or(State::Waiting),
            since: since.clone(),
            restarts: *restarts,
            pid: *pid,
            container: container.clone(),
            ports: ports.clone(),
            addresses: addresses.clone(),
            next_start: next_start.clone(),
            last_exit: last_exit.clone(),
            waiting_on: waiting_on.clone(),
            last_probe: last_probe.clone(),
            failure: failure.clone(),
            ready_ms: *ready_ms,
            detail: detail.clone(),
        }
    }
}

/// What a status tells that no record does.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// The project's folder.
    pub root: std::path::PathBuf,
    /// The folder of the log files.
    pub logs: std::path::PathBuf,
    /// Whether a terminal is attached.
    pub mode: Mode,
    /// How far the run is.
    pub phase: Phase,
    /// Milliseconds until everything was ready.
    pub ready_ms: Option<u64>,
    /// [`super::EventLog::next_seq`], read **before** the record: what is told twice does no harm, what is left out
    /// does.
    pub next_event: u64,
}

impl Status {
    /// What a record tells, under the given circumstances.
    pub fn of_record(record: &Record, circumstances: Circumstances) -> Self {
        let Circumstances { root, logs, mode, phase, ready_ms, next_event } = circumstances;
        Self {
            api: API,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            project: record.project.clone(),
            root: root.display().to_string(),
            run: record.run.clone(),
            pid: record.pid,
            began: record.began.clone(),
            driver: record.driver.clone(),
            mode,
            phase,
            ready_ms,
            next_event,
            logs: logs.display().to_string(),
            services: record.services.iter().map(|(name, service)| ServiceStatus::of_record(name, service)).collect(),
        }
    }

    /// The same as a record, for those who can read one: what no status tells is left out.
    pub fn into_record(self) -> Record {
        let Self { project, run, pid, began, driver, services, .. } = self;
        let services = services.into_iter().map(ServiceStatus::into_record).collect();
        Record { run, pid, project, driver, began, services, ..Record::default() }
    }

    /// The service of that name.
    pub fn service(&self, name: &str) -> Option<&ServiceStatus> {
        self.services.iter().find(|service| service.service == name)
    }
}

/// What the supervisor is told to do. An empty list of services means all of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Start services that do not run, and what they need.
    Start {
        /// Which.
        services: Vec<ServiceName>,
    },
    /// Stop services, those that need them first, and leave them stopped.
    Stop {
        /// Which.
        services: Vec<ServiceName>,
    },
    /// Stop services and start them again.
    Restart {
        /// Which.
        services: Vec<ServiceName>,
        /// Whether to build them first; what does not build is left running.
        build: bool,
    },
    /// Send a signal to all processes of services. What becomes of them is up to them and to their restart policy.
    Kill {
        /// Which; never empty.
        services: Vec<ServiceName>,
        /// The signal.
        signal: SignalName,
    },
    /// Run so many replicas of a service.
    Scale {
        /// Which.
        service: ServiceName,
        /// How many.
        replicas: u32,
    },
    /// Bring the stack to what the manifest says now.
    Apply(Apply),
    /// The same for the services that run, with the settings of the run.
    Reload,
    /// Take everything down and end.
    Down(Down),
}

/// What `devctl up` tells a supervisor that runs already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Apply {
    /// The services to run besides those that run; with `groups` empty too, everything the manifest starts by default.
    pub services: Vec<ServiceName>,
    /// The groups to run.
    pub groups: Vec<String>,
    /// Compose profiles.
    pub profiles: Vec<String>,
    /// Leave out what they need.
    pub no_deps: bool,
    /// The environment of the caller: files are interpolated with it.
    pub env: BTreeMap<String, String>,
    /// Build again what is built.
    pub build: bool,
    /// Only say what would change.
    pub dry_run: bool,
    /// What is wanted of containers that are there already.
    pub policy: Policy,
    /// How many of a service are to run, where that is not what the files say.
    pub scale: BTreeMap<ServiceName, u32>,
}

/// How to take a stack down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Down {
    /// Do not ask services to stop: kill them.
    pub kill: bool,
    /// Leave the containers running.
    pub keep: bool,
}

/// The body of `POST /v1/services/{names}/restart`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Restart {
    /// Build first; what does not build is left running.
    pub build: bool,
}

/// The body of `POST /v1/services/{names}/kill`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Kill {
    /// The signal.
    pub signal: SignalName,
}

/// The body of `POST /v1/services/{name}/scale`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// How many replicas to run.
    #[schemars(range(min = 1, max = 100))]
    pub replicas: u32,
}

/// How many replicas one service may have: more is a slip of the finger.
pub const MAX_REPLICAS: u32 = 100;

/// What came of a command, as far as it is known at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reply {
    /// The number of the first event that came after the command: from there on events tell what became of it.
    pub seq: u64,
    /// What is going to happen, service by service. What the command concerns and what is left as it is, too.
    pub changes: Vec<Change>,
    /// What else there is to say, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What is going to happen to a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The service.
    pub service: ServiceName,
    /// What.
    pub what: What,
    /// Why, where it is not what was asked for: `db needs it`, `its command changed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What a command does to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It is started.
    Start,
    /// It is stopped.
    Stop,
    /// It is stopped and started again.
    Restart,
    /// It is stopped and taken out of the run.
    Remove,
    /// It gets a signal.
    Signal,
    /// It is already as it should be.
    Nothing,
}

/// The name of a signal, as `kill -l` writes it, with `SIG` in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalName(&'static str);

/// The signals that can be sent, with the numbers that people type: those that are the same everywhere.
const SIGNALS: [(&str, Option<u8>); 17] = [
    ("SIGHUP", Some(1)),
    ("SIGINT", Some(2)),
    ("SIGQUIT", Some(3)),
    ("SIGABRT", Some(6)),
    ("SIGKILL", Some(9)),
    ("SIGALRM", Some(14)),
    ("SIGTERM", Some(15)),
    ("SIGUSR1", None),
    ("SIGUSR2", None),
    ("SIGSTOP", None),
    ("SIGTSTP", None),
    ("SIGCONT", None),
    ("SIGWINCH", None),
    ("SIGTTIN", None),
    ("SIGTTOU", None),
    ("SIGPIPE", None),
    ("SIGURG", None),
];

/// A signal that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no signal `{0}`")]
pub struct NoSignal(String);

impl SignalName {
    /// SIGKILL.
    pub const KILL: Self = Self("SIGKILL");

    /// The name, with `SIG` in front.
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = &'static str> {
        SIGNALS.into_iter().map(|(name, _)| name)
    }

    /// Whether a program that does nothing about it is ended by it.
    pub fn ends(self) -> bool {
        !matches!(self.0, "SIGSTOP" | "SIGTSTP" | "SIGTTIN" | "SIGTTOU" | "SIGCONT" | "SIGWINCH" | "SIGURG")
    }
}

impl Default for SignalName {
    fn default() -> Self {
        Self::KILL
    }
}

impl fmt::Display for SignalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl FromStr for SignalName {
    type Err = NoSignal;

    /// `SIGUSR1`, `USR1`, `usr1` and, where it means the same everywhere, a number.
    fn from_str(text: &str) -> Result<Self, NoSignal> {
        let upper = text.to_ascii_uppercase();
        let short = upper.strip_prefix("SIG").unwrap_or(&upper);
        let found = SIGNALS
            .into_iter()
            .find(|(name, number)| &name[3..] == short || number.is_some_and(|number| number.to_string() == text));
        found.map(|(name, _)| Self(name)).ok_or_else(|| NoSignal(text.to_owned()))
    }
}

impl Serialize for SignalName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for SignalName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for SignalName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Signal".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names: Vec<&str> = Self::all().collect();
        schemars::json_schema!({ "type": "string", "enum": names, "default": Self::KILL.0 })
    }
}

/// One line of `GET /v1/events`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum EventLine {
    /// Events were let go of before this reader came to them; what they led to is in the status.
    Gap {
        /// Which.
        gap: Gap,
        /// How everything is now.
        status: Box<Status>,
    },
    /// Something happened.
    Event(Numbered),
}

/// Events that are not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// The number of the event that was asked for.
    pub from: u64,
    /// The number of the first that can still be had.
    pub to: u64,
}

/// An event with its number. Numbers grow; not every number is used.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Numbered {
    /// The number.
    pub seq: u64,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

/// One line of `GET /v1/logs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum LogEntry {
    /// The reader was too slow for so many lines; the files have them.
    Dropped {
        /// How many.
        dropped: u64,
    },
    /// A line that a service printed.
    Line {
        /// Who.
        service: ServiceName,
        /// Where.
        stream: Stream,
        /// When, RFC 3339.
        #[schemars(with = "String")]
        at: jiff::Timestamp,
        /// The line, without its end.
        line: String,
    },
}

/// What went wrong, as RFC 9457 has it (`application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// What kind of problem it is: `urn:devctl:no-such-service`. The one field for programs to look at.
    pub r#type: String,
    /// The same in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong this time.
    pub detail: String,
    /// What to do about it, most useful first.
    #[serde(default)]
    pub hints: Vec<String>,
}

/// Why the supervisor does not carry a command out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such service.
    #[error("there is no service `{name}`")]
    NoService {
        /// The name that was given.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// It does not go together with what is going on.
    #[error("{message}")]
    Conflict {
        /// One line.
        message: String,
        /// What to do about it.
        hints: Vec<String>,
    },
    /// What was asked for makes no sense, or the project's files do not.
    #[error("{message}")]
    Invalid {
        /// One line, or a block of lines.
        message: String,
        /// What to do about it.
        hints: Vec<String>,
    },
    /// It was tried and failed.
    #[error("{message}")]
    Failed {
        /// One line.
        message: String,
        /// What to do about it.
        hints: Vec<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_name_and_number() {
        for (text, name) in [
            ("SIGUSR1", Some("SIGUSR1")),
            ("usr2", Some("SIGUSR2")),
            ("SigTerm", Some("SIGTERM")),
            ("9", Some("SIGKILL")),
            ("KILL", Some("SIGKILL")),
            ("10", None),
            ("SIG", None),
            ("", None),
            ("9; reboot", None),
        ] {
            assert_eq!(text.parse::<SignalName>().ok().map(SignalName::as_str), name, "{text}");
        }
    }

    #[test]
    fn the_states_are_the_words_of_the_record() {
        for state in State::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
            let record = ServiceRecord { phase: state.to_string(), restarts: 2, ..ServiceRecord::default() };
            let status = ServiceStatus::of_record("api", &record);
            assert_eq!((status.service.as_str(), status.state, status.restarts), ("api", state, 2));
        }
    }

    #[test]
    fn lines_of_a_stream_are_told_apart() {
        let line: LogEntry = serde_json::from_str(r#"{"dropped":7}"#).unwrap();
        assert_eq!(line, LogEntry::Dropped { dropped: 7 });
        let line: EventLine = serde_json::from_str(
            r#"{"seq":3,"at_ms":12,"event":"ready","node":"api","elapsed_ms":5,"probe":"telepathy"}"#,
        )
        .unwrap();
        let EventLine::Event(Numbered { seq: 3, event }) = line else { panic!("{line:?}") };
        let node = "api".parse().unwrap();
        assert_eq!(event.kind, crate::event::EventKind::Ready { node, elapsed_ms: 5, probe: "telepathy" });
    }
}
