//! What the guardian of a killed run did, for whoever types the next command.

use std::io;

use serde::{Deserialize, Serialize};

use super::StateDir;
use crate::os::files;

const FILE: &str = "guardian.log";

/// What a guardian did, and what it could not do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deed {
    /// The run that was killed.
    pub run: String,
    /// When, RFC 3339.
    pub at: String,
    /// The processes it stopped, in words.
    pub processes: Vec<String>,
    /// The containers it stopped, by name.
    pub containers: Vec<String>,
    /// The networks it removed, by name.
    pub networks: Vec<String>,
    /// Whether containers were left running, as that run was told to.
    pub spared: bool,
    /// What is left and should not be.
    pub left: Vec<String>,
    /// Milliseconds from the end of the supervisor to the last check.
    pub elapsed_ms: u64,
}

impl Deed {
    /// Reads what the last guardian did; `None` where none had to do anything since the last `up`.
    pub fn read(state: &StateDir) -> Option<Self> {
        serde_json::from_str(&files::read(&state.file(FILE)).ok()?).ok()
    }

    /// Writes it down in one step, in the place of what an earlier one did.
    pub fn write(&self, state: &StateDir) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(self).expect("a deed is plain data");
        text.push('\n');
        files::write_atomic(&state.file(FILE), &text, true)
    }

    /// Forgets it: it was told.
    pub fn clear(state: &StateDir) {
        // Told twice is better than a command that fails for it.
        let _ = std::fs::remove_file(state.file(FILE));
    }
}

/// One line: `the last run was killed; its guardian stopped 2 processes and 2 containers`.
impl std::fmt::Display for Deed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the last run was killed; its guardian ")?;
        let counted = |n: usize, one: &str, many: &str| match n {
            0 => None,
            1 => Some(format!("1 {one}")),
            n => Some(format!("{n} {many}")),
        };
        let processes = counted(self.processes.len(), "process", "processes");
        let containers = counted(self.containers.len(), "container", "containers");
        match (processes, containers) {
            (Some(one), Some(other)) => write!(f, "stopped {one} and {other}")?,
            (Some(one), None) | (None, Some(one)) => write!(f, "stopped {one}")?,
            (None, None) => f.write_str("found nothing to stop")?,
        }
        if self.spared {
            f.write_str(" and left its containers running")?;
        }
        if !self.left.is_empty() {
            write!(f, "; left: {}", self.left.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deed_is_told_in_one_line() {
        let named = |n: usize| vec!["x".to_owned(); n];
        for (processes, containers, spared, left, told) in [
            (2, 2, false, 0, "stopped 2 processes and 2 containers"),
            (1, 0, false, 0, "stopped 1 process"),
            (0, 1, false, 1, "stopped 1 container; left: x"),
            (3, 0, true, 0, "stopped 3 processes and left its containers running"),
            (0, 0, false, 0, "found nothing to stop"),
        ] {
            let (processes, containers, left) = (named(processes), named(containers), named(left));
            let deed = Deed { processes, containers, spared, left, ..Deed::default() };
            assert_eq!(deed.to_string(), format!("the last run was killed; its guardian {told}"));
        }
    }

    #[test]
    fn it_is_there_until_it_was_told() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::of(folder.path());
        assert_eq!(Deed::read(&state), None);
        let deed = Deed { run: "0123456789ab".to_owned(), ..Deed::default() };
        deed.write(&state).unwrap();
        assert_eq!(Deed::read(&state), Some(deed));
        Deed::clear(&state);
        assert_eq!(Deed::read(&state), None);
        Deed::clear(&state);
    }
}
