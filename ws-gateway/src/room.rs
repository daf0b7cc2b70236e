//! Names of rooms: parsed once, harmless ever after in Redis channels, log lines and JSON.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The name of a room: 1 to 64 lower-case letters, digits and dashes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RoomName(Arc<str>);

impl RoomName {
    /// Where a client goes that names no room.
    pub(crate) fn lobby() -> Self {
        Self(Arc::from("lobby"))
    }

    /// Reads a name.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let fits = (1..=64).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits {
            Ok(Self(Arc::from(name)))
        } else {
            Err("has to be 1 to 64 lower-case letters, digits and dashes".to_owned())
        }
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for RoomName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["lobby", "a", "table-7", &"x".repeat(64)] {
            assert!(RoomName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "Lobby", "a b", "a*", "a:b", "ä", "a\n", &"x".repeat(65)] {
            assert!(RoomName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
