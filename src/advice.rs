//! How an error says who must act and what to type next.
//!
//! Every room writes its errors beside the code that fails and implements [`Advice`]; `error.rs` prints them all
//! alike and picks the exit code.

/// Who has to act for the error to go away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The command line or a file of the project is wrong (exit code 2).
    Configuration,
    /// The machine is not fit: engine unreachable, port taken, tool missing (exit code 3).
    Environment,
    /// A service or a command failed (exit code 1).
    Service,
    /// A service was not ready in time (exit code 4).
    Timeout,
    /// devctl itself is wrong (exit code 1, with a request to report it).
    Bug,
}

/// An error that knows who must act and can suggest how.
pub trait Advice: std::error::Error {
    /// Tells who has to act.
    fn blame(&self) -> Blame;

    /// Suggestions that the user can follow, most useful first. Each is one sentence or one command.
    fn hints(&self) -> Vec<String> {
        Vec::new()
    }
}
