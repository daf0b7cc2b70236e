//! The record of a run: what it started and how that is doing, for `ps` and for the next `up`.
//!
//! The supervisor writes it anew at every change, in one step, so a reader never sees half of one. A record whose run
//! no longer holds the lock was left by a run that died: what it names may still be there.

use std::io;
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::StateDir;
use crate::event::{Action, Event, EventKind, Handle};
use crate::name::{NodeId, RunId};
use crate::os::files;

/// What a run started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The run.
    pub run: String,
    /// The process id of its supervisor.
    pub pid: u32,
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
    /// The services, in the order of the manifest.
    pub services: IndexMap<String, ServiceRecord>,
}

/// One service of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// Its phase: `waiting`, `starting`, `probing`, `ready`, `late`, `restarting`, `failed`, `done`, `stopping`, `stopped`.
    pub phase: String,
    /// The process id, where it is a process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The container's name, where it is a container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Whether it is this run's own, started or taken over by it; what ran before it is not.
    #[serde(default)]
    pub ours: bool,
    /// When it was started, RFC 3339; `None` where it does not run, or ran before this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Milliseconds from its start to its readiness.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_ms: Option<u64>,
    /// How often it was started again.
    pub restarts: u32,
    /// Where people reach it, secrets masked.
    pub addresses: Vec<String>,
    /// What it waits for, or why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Record {
    /// Takes an event in; tells whether it changed anything.
    pub fn apply(&mut self, event: &Event) -> bool {
        let (NodeId::Service(name), phase, detail) = (match &event.kind {
            EventKind::Waiting { node, on } => {
                let on = on.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                (node, "waiting", Some(format!("for {on}")))
            }
            EventKind::Starting { node, .. } => (node, "starting", None),
            EventKind::Started { node, .. } => (node, "probing", None),
            EventKind::Probing { node, answer } => (node, "probing", Some(answer.clone())),
            EventKind::Ready { node, .. } => (node, "ready", None),
            EventKind::Completed { node, .. } => (node, "done", None),
            EventKind::Warning { node: Some(node), message, .. } => (node, "late", Some(message.clone())),
            EventKind::Failed { node, failure } => (node, "failed", Some(failure.message.clone())),
            EventKind::Restarting { node, exit, .. } => (node, "restarting", Some(exit.to_string())),
            EventKind::Stopping { node, .. } => (node, "stopping", None),
            EventKind::Killing { node } => (node, "killing", None),
            EventKind::Stopped { node, exit } => (node, "stopped", Some(exit.to_string())),
            EventKind::Warning { node: None, .. }
            | EventKind::RunStarted { .. }
            | EventKind::Note { .. }
            | EventKind::Progress { .. }
            | EventKind::StackReady { .. }
            | EventKind::StackStopping { .. }
            | EventKind::Removed { .. }
            | EventKind::Receipt(_)
            | EventKind::Finished { .. } => return false,
        }) else {
            return false;
        };
        let at = self.at(event.at_ms);
        let Some(service) = self.services.get_mut(name.as_str()) else { return false };
        phase.clone_into(&mut service.phase);
        service.detail = detail;
        match &event.kind {
            EventKind::Starting { action, .. } => {
                service.ours = !matches!(action, Action::Keep | Action::Expect);
                service.since = at.filter(|_| !matches!(action, Action::Keep | Action::Expect | Action::Adopt));
            }
            EventKind::Started { handle, .. } => {
                service.pid = if let Handle::Process { pid } = handle { Some(*pid) } else { None };
                service.container = if let Handle::Container { name, .. } = handle { Some(name.clone()) } else { None };
            }
            EventKind::Ready { elapsed_ms, .. } => service.ready_ms = Some(*elapsed_ms),
            EventKind::Restarting { attempt, .. } => {
                service.restarts = *attempt;
                (service.pid, service.since) = (None, None);
            }
            EventKind::Completed { .. } => service.since = None,
            EventKind::Stopped { .. } | EventKind::Failed { .. } => (service.pid, service.since) = (None, None),
            _ => {}
        }
        true
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
            (EventKind::Ready { node: node.clone(), elapsed_ms: 5, probe: "http" }, "ready", Some(42), None),
            (
                EventKind::Restarting { node: node.clone(), attempt: 2, delay_ms: 500, exit },
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
        assert_eq!((record.services["api"].restarts, record.services["api"].ready_ms), (2, Some(5)));
        assert_eq!(record.services["db"], ServiceRecord::default());
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
}
