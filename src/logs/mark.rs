//! Marks of devctl's own among the lines of a file: where a life of the service begins. A line of its own with the
//! letter `S`, so that whoever reads lines passes over it.

use std::fmt;

use jiff::Timestamp;

use crate::name::ServiceName;

/// The letter of a mark, where lines have that of their stream.
pub(super) const LETTER: u8 = b'S';

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A build for the next life begins; what it prints belongs to that life.
    Build,
    /// A life begins; they are counted from 1 in each run.
    Start(u32),
    /// The process that is this life.
    Pid(u32),
}

/// A mark on its way into a file.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) service: ServiceName,
    pub(super) at: Timestamp,
    pub(super) kind: Kind,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build => f.write_str("build"),
            Self::Start(life) => write!(f, "start {life}"),
            Self::Pid(pid) => write!(f, "pid {pid}"),
        }
    }
}

impl Kind {
    /// Reads what stands behind the letter.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        match text.split_once(' ') {
            None if text == "build" => Some(Self::Build),
            Some(("start", life)) => life.parse().ok().map(Self::Start),
            Some(("pid", pid)) => pid.parse().ok().map(Self::Pid),
            Some(_) | None => None,
        }
    }
}

/// Whether a life begins at a mark. `before` is the mark before it, pids left out: a start right behind a build goes on
/// with what the build began.
pub(super) fn begins(kind: Kind, before: Option<Kind>) -> bool {
    match kind {
        Kind::Build => true,
        Kind::Start(_) => before != Some(Kind::Build),
        Kind::Pid(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_as_they_are_written() {
        for kind in [Kind::Build, Kind::Start(3), Kind::Pid(4242)] {
            assert_eq!(Kind::parse(kind.to_string().as_bytes()), Some(kind));
        }
        for bad in ["", "start", "start x", "pid -1", "builds", "stop 1"] {
            assert_eq!(Kind::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_build_and_its_start_are_one_life() {
        assert!(begins(Kind::Build, None) && begins(Kind::Start(1), None));
        assert!(!begins(Kind::Start(2), Some(Kind::Build)));
        assert!(begins(Kind::Start(2), Some(Kind::Start(1))) && begins(Kind::Build, Some(Kind::Build)));
        assert!(!begins(Kind::Pid(1), Some(Kind::Start(1))));
    }
}
