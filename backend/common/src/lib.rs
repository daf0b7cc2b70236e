//! What the REST API and the WebSocket gateway share: how a service reads its configuration, logs, answers errors,
//! reports its health, listens and stops. It knows no route, no table and no message.

/// Reading the environment; every mistake is reported in one run.
pub mod config;
/// One dependency's health: status and latency.
pub mod health;
/// Taking the port, serving, draining.
pub mod listener;
/// Log lines on standard output.
pub mod logging;
/// Query parameters, checked strictly.
pub mod params;
/// Errors as RFC 9457 problem documents.
pub mod problem;
/// From `main` to an exit code.
pub mod process;
/// The request id, the access log and the last net under every handler.
pub mod request;
/// Stopping on a signal.
pub mod shutdown;

use std::error::Error;
use std::time::Duration;

/// Joins an error and its sources into one line, because log lines and health answers have no room for a chain.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        // Some libraries repeat their source in their own text.
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text
}

/// Milliseconds with three digits after the point: enough for a look at a loopback server, short enough to read.
pub fn millis(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1e6).round() / 1e3
}
