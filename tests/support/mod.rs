//! The harness of the tests that run the real binary: projects of their own, the events it prints, the engine and the
//! processes looked at from outside.
//!
//! A test file that uses it begins with `#![cfg(unix)]` and `mod support;`. Every wait has a deadline and ends at the
//! event it waits for; on failure all that was seen is printed.

#![allow(dead_code, unused_imports, reason = "each test file uses a part of the harness, and which part differs")]

mod client;
mod devctl;
mod engine;
mod events;
mod ports;
mod processes;
mod project;
mod terminal;

use std::time::Duration;

pub(crate) use client::{WebSocket, get, get_json, redis_ping, sql, websocket_round_trip};
pub(crate) use devctl::{Devctl, Finished, Signal, gone};
pub(crate) use engine::{Container, Engine};
pub(crate) use events::Events;
pub(crate) use ports::Port;
pub(crate) use processes::{Process, processes_of_run};
pub(crate) use project::{Infra, Project, cargo};
pub(crate) use terminal::Terminal;

/// How long a wait may last before the test fails. Far beyond what anything takes on a quiet machine: it ends a test
/// that hangs, it never measures.
pub(crate) const DEADLINE: Duration = Duration::from_mins(2);

/// A variable of the tests' own environment.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty())
}

/// Asks `done` again and again until it answers, and fails with what `what` says at the deadline. For facts that no event
/// tells: a port that answers, a process that is gone.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut done: impl FnMut() -> Result<T, String>) -> T {
    let start = std::time::Instant::now();
    loop {
        match done() {
            Ok(value) => return value,
            Err(last) if start.elapsed() > DEADLINE => panic!("{what}: not within {DEADLINE:?}; last: {last}"),
            Err(_) => std::thread::park_timeout(Duration::from_millis(20)),
        }
    }
}
