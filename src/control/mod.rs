//! The control socket: how `ps`, `stop`, `restart` and other programs reach the devctl that runs a stack.
//!
//! HTTP and JSON over a Unix socket that its owner alone can open. The server knows a [`Supervisor`] and nothing of the
//! engine behind it; the client knows what travels and nothing of the server. What both speak is in [`wire`], and
//! docs/control-api.md tells other programs.

pub mod client;
pub mod event_log;
pub mod openapi;
pub mod server;
pub mod socket;
pub mod wire;

use futures_util::future::BoxFuture;

pub use client::{Client, ClientError};
pub use event_log::EventLog;
pub use server::Server;
pub use socket::Socket;
use wire::{Command, Refusal, Reply, Status};

use crate::logs::Hub;

/// What the server asks of whoever runs the stack. Nothing here may block: a client waits for each answer.
pub trait Supervisor: Send + Sync + 'static {
    /// How everything is now.
    fn status(&self) -> Status;

    /// What happened and what happens; the same log whenever it is asked.
    fn events(&self) -> EventLog;

    /// What the services print.
    fn logs(&self) -> Hub;

    /// Carries a command out. The answer comes once it is taken in, not once all came about that it brings: that is
    /// told by the events from [`Reply::seq`] on.
    fn command(&self, command: Command) -> BoxFuture<'static, Result<Reply, Refusal>>;
}
