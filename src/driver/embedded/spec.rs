//! Embedded servers, as plain data.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::driver::process::StopSignal;
use crate::name::ServiceName;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Package {
    /// PostgreSQL 16 with pgvector.
    Postgres,
    /// Redis 6.2 or newer.
    Redis,
}

impl Package {
    /// The server's name, as people write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Redis => "Redis",
        }
    }
}

/// An embedded server to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The service it stands for.
    pub service: ServiceName,
    /// Where its data live: `.devctl/data/<volume or service>`.
    pub data: PathBuf,
    /// The address it listens on.
    pub ip: IpAddr,
    /// The port it listens on.
    pub port: u16,
    /// What kind of server, with its settings.
    pub server: Server,
}

/// The settings of an embedded server, as the Compose file gives them to the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// PostgreSQL.
    Postgres {
        /// `POSTGRES_USER`: the superuser.
        user: String,
        /// `POSTGRES_PASSWORD`.
        password: String,
        /// `POSTGRES_DB`.
        database: String,
        /// `-c name=value` of the command.
        settings: Vec<(String, String)>,
    },
    /// Redis.
    Redis {
        /// The arguments of `redis-server`: `--appendonly`, `yes`, …
        args: Vec<String>,
    },
}

impl Server {
    /// Which server it takes.
    pub fn package(&self) -> Package {
        match self {
            Self::Postgres { .. } => Package::Postgres,
            Self::Redis { .. } => Package::Redis,
        }
    }

    /// The signal that stops it, for its leader alone: a server tells its own children.
    pub fn stop_signal(&self) -> StopSignal {
        match self {
            // Fast shutdown: SIGTERM would wait for every client to leave by itself.
            Self::Postgres { .. } => StopSignal::Int,
            Self::Redis { .. } => StopSignal::Term,
        }
    }
}
