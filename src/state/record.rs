//! The record of a run: what it started and how that is doing, for `ps` and for the next `up`.
//!
//! The supervisor writes it anew at every change, in one step, so a reader never sees half of one. A record whose run
//! no longer holds the lock was left by a run that died: what it names may still be there.

use std::io;
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::StateDir;
use crate::event::{Action, Event, EventKind, Exit, Failure, Handle};
use crate::name::{NodeId, RunId};
use crate::os::process::{self, Identity, Kill};
use crate::os::{boot, files};

/// How much of a line of evidence is kept: a program may print a megabyte without a newline.
const LINE: usize = 500;
/// How many lines of a log and how many hints are kept.
const LINES: usize = 20;

/// What a run started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The run.
    pub run: String,
    /// The process id of its supervisor.
    pub pid: u32,
    /// The start of the machine that all process ids in here belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// The project.
    pub project: String,
    /// What runs the containers: `docker`, `embedded`, `none`.
    pub driver: String,
    /// The address of the Docker Engine, where it used one: whoever looks for its containers may look elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// When it began, RFC 3339.
    pub began: String,
    /// Runs that died before this one and whose leftovers it took over: should it die too, they are still to be found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adopted: Vec<String>,
    /// What failed besides services, and why: an image that cannot be pulled, a server that cannot be installed.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub failures: IndexMap<String, Failure>,
    /// The services, in the order of the manifest.
    pub services: IndexMap<String, ServiceRecord>,
}

/// One service of a run: what `ps`, `why` and the status of the control API show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceRecord {
    /// Its phase: `waiting`, `starting`, `probing`, `ready`, `late`, `restarting`, `failed`, `done`, `stopping`, `stopped`.
    pub phase: String,
    /// The process id, where it is a process: the leader's, which is the id of its group and session too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// When that process started, in the kernel's own unit: an id alone may be another's by now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<u64>,
    /// What asks its processes to stop, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopBy>,
    /// The container's name, where it is a container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The ports of this machine that it listens on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// Whether it is this run's own, started or taken over by it; what ran before it is not.
    pub ours: bool,
    /// When it was started, RFC 3339; `None` where it does not run, or ran before this run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Milliseconds from its start to its readiness.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_ms: Option<u64>,
    /// How often it was started again.
    pub restarts: u32,
    /// When it will be started again, RFC 3339, where it waits for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_start: Option<String>,
    /// How it ended the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<Exit>,
    /// Where people reach it, secrets masked.
    pub addresses: Vec<String>,
    /// What it waits for before it may start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting_on: Vec<String>,
    /// What the last probe said that did not find it ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_probe: Option<String>,
    /// Why it failed, with the evidence: gone once it is started anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What it waits for, or why it failed, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// How the processes of a service are asked to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopBy {
    /// The signal.
    pub signal: Kill,
    /// Whether it is for the leader alone, which tells its own children.
    pub leader_only: bool,
}

impl ServiceRecord {
    /// Who its leader is, where that is known for sure.
    pub fn leader(&self) -> Option<Identity> {
        Some(Identity { pid: self.pid?, start: self.start? })
    }

    /// Forgets what belongs to a life that is over.
    fn ended(&mut self) {
        (self.pid, self.start, self.since) = (None, None, None);
    }
}

impl Record {
    /// Takes an event in; tells whether it changed anything.
    pub fn apply(&mut self, event: &Event) -> bool {
        match &event.kind {
            EventKind::Failed { node, failure } if node.service().is_none() => {
                self.failures.insert(node.to_string(), bounded(failure));
                return true;
            }
            EventKind::Starting { node, .. } if node.service().is_none() => {
                return self.failures.shift_remove(&node.to_string()).is_some();
            }
            // Another plan has it no more: nobody is to wait for it, or be told of it.
            EventKind::Removed { node: NodeId::Service(name) } => {
                return self.services.shift_remove(name.as_str()).is_some();
            }
            _ => {}
        }
        let (NodeId::Service(name), phase, detail) = (match &event.kind {
            EventKind::Waiting { node, on } => {
                let on = on.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                (node, "waiting", Some(format!("for {on}")))
            }
            EventKind::Starting { node, .. } => (node, "starting", None),
            EventKind::Started { node, .. } => (node, "probing", None),
            EventKind::Probing { node, answer } => (node, "probing", Some(answer.clone())),
            EventKind::Ready { node, .. } | EventKind::Healthy { node } => (node, "ready", None),
            EventKind::Completed { node, .. } => (node, "done", None),
            EventKind::Warning { node: Some(node), message, .. } => (node, "late", Some(message.clone())),
            // What is built or made for one service only fails with it.
            EventKind::Failed { node: NodeId::Build(name) | NodeId::Create(name), failure } => {
                (&NodeId::Service(name.clone()), "failed", Some(failure.message.clone()))
            }
            EventKind::Failed { node, failure } => (node, "failed", Some(failure.message.clone())),
            EventKind::Restarting { node, exit, .. } => (node, "restarting", Some(exit.to_string())),
            EventKind::Renewing { node, cause } => (node, "restarting", Some(cause.clone())),
            EventKind::Unhealthy { node, answer, .. } => (node, "unhealthy", Some(answer.clone())),
            EventKind::Stopping { node, .. } => (node, "stopping", None),
            EventKind::Killing { node } => (node, "killing", None),
            EventKind::Stopped { node, exit } => (node, "stopped", Some(exit.to_string())),
            EventKind::Warning { node: None, .. }
            | EventKind::RunStarted { .. }
            | EventKind::Note { .. }
            | EventKind::Progress { .. }
            | EventKind::BuildFailed { .. }
            | EventKind::Applied { .. }
            | EventKind::StackReady { .. }
            | EventKind::StackStopping { .. }
            | EventKind::Removed { .. }
            | EventKind::Receipt(_)
            | EventKind::Finished { .. } => return false,
        }) else {
            return false;
        };
        let at = self.at(event.at_ms);
        let next_start = match &event.kind {
            EventKind::Restarting { delay_ms, .. } => self.at(event.at_ms.saturating_add(*delay_ms)),
            _ => None,
        };
        let Some(service) = self.services.get_mut(name.as_str()) else { return false };
        if phase == "late" && !matches!(service.phase.as_str(), "probing" | "late") {
            // A warning about something else: that it would not stop, that its files cannot be watched.
            return false;
        }
        phase.clone_into(&mut service.phase);
        service.detail = detail.map(|detail| clipped(&detail));
        service.waiting_on.clear();
        service.next_start = None;
        match &event.kind {
            EventKind::Waiting { on, .. } => service.waiting_on = on.iter().map(ToString::to_string).collect(),
            EventKind::Starting { action, .. } => {
                service.ours = !matches!(action, Action::Keep | Action::Expect);
                service.since = at.filter(|_| !matches!(action, Action::Keep | Action::Expect | Action::Adopt));
                (service.last_probe, service.failure) = (None, None);
            }
            EventKind::Started { handle, .. } => {
                service.pid = if let Handle::Process { pid } = handle { Some(*pid) } else { None };
                service.start = service.pid.and_then(start_of);
                service.container = if let Handle::Container { name, .. } = handle { Some(name.clone()) } else { None };
            }
            EventKind::Probing { answer, .. } => service.last_probe = Some(clipped(answer)),
            EventKind::Ready { elapsed_ms, .. } => service.ready_ms = Some(*elapsed_ms),
            EventKind::Restarting { attempt, exit, .. } => {
                service.restarts = *attempt;
                service.next_start = next_start;
                service.last_exit = Some(exit.clone());
                service.ended();
            }
            EventKind::Completed { .. } => service.ended(),
            EventKind::Stopped { exit, .. } => {
                service.last_exit = Some(exit.clone());
                service.ended();
                // It was stopped because it had failed.
                if let Some(failure) = &service.failure {
                    "failed".clone_into(&mut service.phase);
                    service.detail = Some(failure.message.clone());
                }
            }
            EventKind::Failed { failure, .. } => {
                if let Some(exit) = &failure.exit {
                    service.last_exit = Some(exit.clone());
                }
                service.failure = Some(bounded(failure));
                service.ended();
            }
            _ => {}
        }
        true
    }

    /// Whether its process ids are of this start of the machine. After another they are strangers'.
    pub fn is_of_this_boot(&self) -> bool {
        boot::is_this_one(self.boot.as_deref())
    }

    /// The services' leaders as they were written down; nobody where the machine was started anew since.
    pub fn leaders(&self) -> impl Iterator<Item = (&str, Identity, StopBy)> {
        let services = self.services.iter().filter(|_| self.is_of_this_boot());
        services
            .filter_map(|(name, service)| Some((name.as_str(), service.leader()?, service.stop.unwrap_or_default())))
    }

    /// The moment of an event, RFC 3339.
    fn at(&self, at_ms: u64) -> Option<String> {
        let began: jiff::Timestamp = self.began.parse().ok()?;
        Some(began.checked_add(Duration::from_millis(at_ms)).ok()?.to_string())
    }

    /// The runs whose leftovers the record tells of: its own, and those it had taken over.
    pub fn runs(&self) -> Vec<RunId> {
        std::iter::once(&self.run).chain(&self.adopted).filter_map(|run| run.parse().ok()).collect()
    }

    /// Reads the record of the last run; `None` where there was none, or where the file is not one of ours.
    pub fn read(state: &StateDir) -> Option<Self> {
        serde_json::from_str(&files::read(&state.file("run.json")).ok()?).ok()
    }

    /// Writes the record in one step.
    pub fn write(&self, state: &StateDir) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self).expect("a record is plain data");
        files::write_atomic(&state.file("run.json"), &text, true)
    }

    /// Forgets the last run: it ended and left nothing.
    pub fn clear(state: &StateDir) -> io::Result<()> {
        match std::fs::remove_file(state.file("run.json")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// When a process started that was made a moment ago. devctl makes each the leader of a session, which a stranger that
/// has its id by now is most likely not.
fn start_of(pid: u32) -> Option<u64> {
    process::look(pid).filter(|process| process.session == pid || cfg!(windows)).map(|process| process.id.start)
}

/// A line of bounded length.
fn clipped(line: &str) -> String {
    match line.char_indices().nth(LINE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// A failure with evidence of bounded length: the last lines of the log, the first hints.
fn bounded(failure: &Failure) -> Failure {
    let from = failure.log_tail.len().saturating_sub(LINES);
    Failure {
        message: clipped(&failure.message),
        last_probe: failure.last_probe.as_deref().map(clipped),
        first_error: failure.first_error.as_deref().map(clipped),
        log_tail: failure.log_tail[from..].iter().map(|line| clipped(line)).collect(),
        hints: failure.hints.iter().take(LINES).map(|hint| clipped(hint)).collect(),
        ..failure.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Exit, Failure};

    fn record() -> Record {
        let services = ["db", "api"].map(|name| (name.to_owned(), ServiceRecord::default()));
        Record { run: "00000000000a".to_owned(), pid: 7, services: services.into(), ..Record::default() }
    }

    fn apply(record: &mut Record, kind: EventKind) -> bool {
        record.apply(&Event { at_ms: 0, kind })
    }

    #[test]
    fn a_service_is_followed_from_waiting_to_its_end() {
        let node = NodeId::Service("api".parse().unwrap());
        let db = NodeId::Service("db".parse().unwrap());
        let exit = Exit { code: Some(3), ..Exit::default() };
        let mut record = record();
        for (event, phase, pid, detail) in [
            (EventKind::Waiting { node: node.clone(), on: vec![db] }, "waiting", None, Some("for db")),
            (EventKind::Started { node: node.clone(), handle: Handle::Process { pid: 42 } }, "probing", Some(42), None),
            (
                EventKind::Probing { node: node.clone(), answer: "refused".to_owned() },
                "probing",
                Some(42),
                Some("refused"),
            ),
            (EventKind::Ready { node: node.clone(), elapsed_ms: 5, probe: "http" }, "ready", Some(42), None),
            (
                EventKind::Restarting { node: node.clone(), attempt: 2, delay_ms: 500, exit: exit.clone() },
                "restarting",
                None,
                Some("exit code 3"),
            ),
            (
                EventKind::Failed { node, failure: Failure { message: "gone".to_owned(), ..Failure::default() } },
                "failed",
                None,
                Some("gone"),
            ),
        ] {
            assert!(apply(&mut record, event));
            let api = &record.services["api"];
            assert_eq!((api.phase.as_str(), api.pid, api.detail.as_deref()), (phase, pid, detail));
        }
        let api = &record.services["api"];
        assert_eq!((api.restarts, api.ready_ms, api.last_exit.as_ref()), (2, Some(5), Some(&exit)));
        assert_eq!(api.failure.as_ref().map(|failure| failure.message.as_str()), Some("gone"));
        assert_eq!((api.waiting_on.len(), api.last_probe.as_deref()), (0, Some("refused")));
        assert_eq!(record.services["db"], ServiceRecord::default());
    }

    #[test]
    fn what_stands_behind_a_service_fails_with_it_or_by_itself() {
        let mut record = Record { began: "2026-11-20T09:00:00Z".to_owned(), ..record() };
        let api: crate::name::ServiceName = "api".parse().unwrap();
        let failure = |message: &str| Failure { message: message.to_owned(), ..Failure::default() };
        let failed = |node: NodeId| EventKind::Failed { node, failure: failure("no") };
        assert!(apply(&mut record, failed(NodeId::Build(api.clone()))));
        assert_eq!(record.services["api"].phase, "failed");
        assert_eq!(record.services["api"].failure, Some(failure("no")));
        let image = NodeId::Image("redis:7".into());
        assert!(apply(&mut record, failed(image.clone())));
        assert_eq!(record.failures.get("image redis:7"), Some(&failure("no")));
        assert!(apply(&mut record, EventKind::Starting { node: image, action: Action::Create }));
        assert!(record.failures.is_empty());
        let restarting = EventKind::Restarting {
            node: NodeId::Service(api.clone()),
            attempt: 1,
            delay_ms: 1500,
            exit: Exit { code: Some(1), ..Exit::default() },
        };
        assert!(apply(&mut record, restarting));
        assert_eq!(record.services["api"].next_start.as_deref(), Some("2026-11-20T09:00:01.5Z"));
        let starting = EventKind::Starting { node: NodeId::Service(api), action: Action::Create };
        assert!(apply(&mut record, starting));
        assert_eq!(record.services["api"].next_start, None);
    }

    #[test]
    fn the_time_of_the_start_is_kept_while_it_runs() {
        let node = NodeId::Service("db".parse().unwrap());
        let starting = |action| EventKind::Starting { node: node.clone(), action };
        let mut record = Record { began: "2026-11-20T09:00:00Z".to_owned(), ..record() };
        for (kind, since) in [
            (starting(Action::Create), Some("2026-11-20T09:00:01.5Z")),
            (EventKind::Ready { node: node.clone(), elapsed_ms: 5, probe: "http" }, Some("2026-11-20T09:00:01.5Z")),
            (EventKind::Stopped { node: node.clone(), exit: Exit::default() }, None),
            // It began before devctl came, nobody knows when.
            (starting(Action::Keep), None),
            (starting(Action::Adopt), None),
        ] {
            let at_ms = if matches!(kind, EventKind::Starting { .. }) { 1500 } else { 9000 };
            assert!(record.apply(&Event { at_ms, kind }));
            assert_eq!(record.services["db"].since.as_deref(), since);
        }
    }

    #[test]
    fn a_service_that_left_the_stack_is_forgotten() {
        let mut record = record();
        assert!(apply(&mut record, EventKind::Removed { node: NodeId::Service("api".parse().unwrap()) }));
        assert_eq!(record.services.keys().collect::<Vec<_>>(), ["db"]);
    }

    #[test]
    fn a_warning_makes_a_service_late_only_while_it_is_waited_for() {
        let node = NodeId::Service("api".parse().unwrap());
        let warning = EventKind::Warning { node: Some(node.clone()), message: "slow".to_owned(), hints: Vec::new() };
        let mut record = record();
        apply(&mut record, EventKind::Started { node: node.clone(), handle: Handle::Process { pid: 42 } });
        assert!(apply(&mut record, warning.clone()));
        assert_eq!(record.services["api"].phase, "late");
        apply(&mut record, EventKind::Ready { node, elapsed_ms: 5, probe: "http" });
        // Its files cannot be watched, say.
        assert!(!apply(&mut record, warning));
        assert_eq!(record.services["api"].phase, "ready");
    }

    #[test]
    fn what_is_done_has_no_process_any_more() {
        let node = NodeId::Service("api".parse().unwrap());
        let mut record = record();
        assert!(apply(&mut record, EventKind::Started { node: node.clone(), handle: Handle::Process { pid: 42 } }));
        assert!(apply(&mut record, EventKind::Completed { node, elapsed_ms: 5 }));
        let api = &record.services["api"];
        assert_eq!((api.phase.as_str(), api.pid, api.start), ("done", None, None));
    }

    #[test]
    fn what_concerns_no_service_changes_nothing() {
        let mut record = record();
        assert!(!apply(&mut record, EventKind::Note { message: "x".to_owned() }));
        assert!(!apply(&mut record, EventKind::Removed { node: NodeId::Network("n".into()) }));
        let stranger = NodeId::Service("stranger".parse().unwrap());
        assert!(!apply(&mut record, EventKind::Killing { node: stranger }));
        assert_eq!(record, self::record());
    }

    #[test]
    fn what_is_written_is_read_until_it_is_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::of(folder.path());
        assert_eq!(Record::read(&state), None);
        record().write(&state).unwrap();
        assert_eq!(Record::read(&state), Some(record()));
        Record::clear(&state).unwrap();
        Record::clear(&state).unwrap();
        assert_eq!(Record::read(&state), None);
    }

    #[test]
    fn evidence_is_bounded() {
        let node = NodeId::Service("api".parse().unwrap());
        let failure = Failure { message: "x".repeat(9000), log_tail: vec!["y".repeat(9000); 99], ..Failure::default() };
        let mut record = record();
        assert!(apply(&mut record, EventKind::Failed { node, failure }));
        assert!(serde_json::to_string(&record).unwrap().len() < 2 * LINE * LINES);
    }

    #[test]
    fn leaders_of_another_start_of_the_machine_are_nobody() {
        let mut record = record();
        record.services["api"].pid = Some(42);
        assert_eq!(record.leaders().count(), 0, "an id alone may be another's");
        record.services["api"].start = Some(7);
        let (name, leader, stop) = record.leaders().next().unwrap();
        assert_eq!((name, leader, stop), ("api", Identity { pid: 42, start: 7 }, StopBy::default()));
        record.boot = Some("another".to_owned());
        assert_eq!(record.leaders().count(), usize::from(boot::id().is_none()));
    }

    #[test]
    fn a_half_written_record_and_one_of_an_older_devctl_are_read_as_far_as_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::of(folder.path());
        record().write(&state).unwrap();
        let whole = files::read(&state.file("run.json")).unwrap();
        assert_eq!(Record::read(&state), Some(record()));
        for text in ["", "{", &whole[..whole.len() / 2], "[]", "\0\0\0"] {
            std::fs::write(state.file("run.json"), text).unwrap();
            assert_eq!(Record::read(&state), None, "{text}");
        }
        let old = r#"{"run":"00000000000a","pid":7,"project":"p","driver":"none","began":"","services":
            {"api":{"phase":"ready","pid":42,"ready_ms":null,"restarts":0,"addresses":[],"detail":null}}}"#;
        std::fs::write(state.file("run.json"), old).unwrap();
        assert_eq!(Record::read(&state).unwrap().services["api"].pid, Some(42));
    }
}
