//! The REST API: the menu with search, and its health. It owns the schema of `menu_ops`: it migrates the database and
//! fills an empty one before it accepts the first connection.

/// What the routes share.
mod app;
/// Who may do what.
mod auth;
/// The command line.
pub mod command;
/// The service's own configuration.
pub mod config;
/// Opaque page marks.
mod cursor;
/// Connections to PostgreSQL.
pub mod database;
/// Vectors for search by likeness, without a model.
pub mod embed;
/// What happened, in order.
mod events;
/// How the service and what it needs are doing.
mod health;
/// Reading requests and writing answers.
mod http;
/// The menu over HTTP.
mod menu;
/// Bringing the schema up to date.
pub mod migrate;
/// What concerns one person.
mod notifications;
/// Orders from the wish to the bill.
mod orders;
/// Redis, which may be away.
mod redis_link;
/// Fills an empty database with demo data.
pub mod seed;
/// Start, routes and end.
pub mod server;

/// Tables and who sits at them.
mod tables;

pub use config::Config;
pub use server::{Server, StartError};
