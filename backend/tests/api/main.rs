//! The REST API as a process, against a real database and a real Redis.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod around;
mod auth;
mod bodies;
mod events;
mod lifecycle;
mod menu;
mod orders;
mod products;
mod routes;
mod schema;
mod support;
