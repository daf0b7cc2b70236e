//! The run before: how its services were and how they ended, for `ps` and `why` once nothing runs any more.

use std::io;

use serde::{Deserialize, Serialize};

use super::StateDir;
use super::record::Record;
use crate::os::{clock, files};

const FILE: &str = "last-run.json";

/// A run that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// When it ended, RFC 3339; where it was killed, when that was noticed.
    pub ended: String,
    /// How.
    pub end: End,
    /// What it was, and how each of its services was at the end.
    #[serde(flatten)]
    pub record: Record,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It was stopped after everything had been ready.
    Done,
    /// A signal came before everything was ready.
    Interrupted,
    /// A service failed, or was not ready in time, or the machine was not fit.
    Failed,
    /// Its supervisor was killed.
    Killed,
    /// The machine went off, or was restarted.
    PowerOff,
}

impl LastRun {
    /// A run that ends now.
    pub fn of(record: Record, end: End) -> Self {
        Self { ended: clock::timestamp().to_string(), end, record }
    }

    /// A run that died without a word, as its record tells.
    pub fn of_dead(record: Record) -> Self {
        let end = if record.is_of_this_boot() { End::Killed } else { End::PowerOff };
        Self::of(record, end)
    }

    /// Reads the run before; `None` where there was none, or where the file is not one of ours.
    pub fn read(state: &StateDir) -> Option<Self> {
        serde_json::from_str(&files::read(&state.file(FILE)).ok()?).ok()
    }

    /// Writes it in one step.
    pub fn write(&self, state: &StateDir) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self).expect("a run is plain data");
        files::write_atomic(&state.file(FILE), &text, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::record::ServiceRecord;

    #[test]
    fn what_is_written_is_read_and_garbage_is_no_run() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::of(folder.path());
        assert_eq!(LastRun::read(&state), None);
        let services = [("api".to_owned(), ServiceRecord { phase: "failed".to_owned(), ..ServiceRecord::default() })];
        let record = Record { run: "0123456789ab".to_owned(), services: services.into(), ..Record::default() };
        let last = LastRun::of(record, End::Failed);
        last.write(&state).unwrap();
        assert_eq!(LastRun::read(&state), Some(last));
        for text in ["", "{", "{}", "[]"] {
            std::fs::write(state.file(FILE), text).unwrap();
            assert_eq!(LastRun::read(&state), None, "{text}");
        }
    }

    #[test]
    fn a_dead_run_was_killed_or_lost_its_machine() {
        let dead =
            |boot: Option<&str>| LastRun::of_dead(Record { boot: boot.map(str::to_owned), ..Record::default() }).end;
        assert_eq!(dead(crate::os::boot::id().as_deref()), End::Killed);
        if crate::os::boot::id().is_some() {
            assert_eq!(dead(Some("another")), End::PowerOff);
        }
    }
}
