//! devctl brings up a whole development stack from one command, knows when each part is really ready, and leaves
//! nothing behind. The rooms, from words to faces; a room uses those above it, never one below.

// Words: plain data.
pub mod advice;
pub mod env_vars;
pub mod event;
pub mod name;

// Hands: the outside world, each behind one door.
pub mod driver;
pub mod logs;
pub mod os;
pub mod probe;
pub mod state;
pub mod watch;

// Decisions: pure functions over values.
pub mod engine;
pub mod manifest;
pub mod plan;
pub mod stack;

// Faces: people and other programs.
mod cli;
pub mod control;
pub mod data;
pub mod error;
pub mod report;
pub mod scaffold;

/// Runs the command line and answers with its exit code.
pub fn main() -> std::process::ExitCode {
    cli::main(std::env::args_os())
}
