//! The WebSocket gateway: what one client sends reaches every other client of its room, on every replica of the
//! gateway, through Redis. It keeps no messages and knows no tables; a slow client can cost the others nothing.

/// Redis pub/sub: how a message reaches the other replicas.
mod bus;
/// The service's own configuration.
pub mod config;
/// One client, from its upgrade to its close.
mod connection;
/// The upgrade of a request to a WebSocket.
mod handshake;
/// How the gateway and what it needs are doing.
mod health;
/// Who is in which room, and the queue in front of each client.
mod hub;
/// What goes over the wire.
mod message;
/// Names of rooms.
mod room;
/// Start, routes and end.
pub mod server;

pub use config::Config;
pub use connection::Limits;
pub use server::{Server, StartError};
