//! The command line. Without a subcommand the service runs; the subcommands work on its database alone, and need no more
//! than the database's address.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use svc_common::config::{ConfigError, Vars};
use svc_common::logging::{LogFormat, LogSettings};
use svc_common::process::Fatal;
use svc_common::shutdown::Shutdown;

use crate::config::{self, Config};
use crate::database::{self, ConnectError};
use crate::migrate::{self, MIGRATIONS, MigrateError};
use crate::seed;
use crate::server::{Server, StartError};

/// The REST API of the stack.
#[derive(Debug, Parser)]
#[command(name = "backend", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Bring the schema up to date, then serve; the same as no command
    Serve,
    /// Bring the schema up to date
    Migrate,
    /// Take the newest migrations back, with the data they hold
    Rollback {
        /// How many
        #[arg(long, default_value_t = 1, value_name = "COUNT")]
        steps: usize,
    },
    /// List the migrations; fails when one is missing or unknown
    Status,
    /// Fill an empty database with demo data; the schema is brought up to date first
    Seed,
}

/// Why a command on the database failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    #[error("cannot write the demo data")]
    Seed(#[source] tokio_postgres::Error),
    #[error("{0} migrations are missing; run `backend migrate`")]
    Behind(usize),
    #[error("cannot write to standard output")]
    Output(#[from] std::io::Error),
}

impl Fatal for CommandError {
    fn exit_code(&self) -> u8 {
        1
    }
}

/// What the subcommands are told by the environment.
struct ToolConfig {
    database: tokio_postgres::Config,
    log: LogSettings,
}

impl AsRef<LogSettings> for ToolConfig {
    fn as_ref(&self) -> &LogSettings {
        &self.log
    }
}

impl ToolConfig {
    fn read(mut vars: Vars) -> Result<Self, ConfigError> {
        let config = Self {
            database: config::read_database(&mut vars),
            log: LogSettings {
                filter: vars.read("RUST_LOG", "info", LogSettings::parse_filter),
                format: vars.read("LOG_FORMAT", "json", LogFormat::parse),
            },
        };
        vars.finish(config)
    }
}

/// Runs what the command line asks for.
pub fn run(arguments: &Arguments, vars: Vars) -> ExitCode {
    match arguments.command {
        None | Some(Command::Serve) => svc_common::process::run("backend", Config::read(vars), serve),
        Some(command) => {
            let work = async |config: ToolConfig, shutdown: Shutdown| {
                tokio::select! {
                    result = on_database(command, &config) => result,
                    () = shutdown.requested() => Ok(()),
                }
            };
            svc_common::process::run("backend", ToolConfig::read(vars), work)
        }
    }
}

async fn serve(config: Config, shutdown: Shutdown) -> Result<(), StartError> {
    let server = tokio::select! {
        server = Server::start(&config) => server?,
        () = shutdown.requested() => return Ok(()),
    };
    server.run(&shutdown).await;
    Ok(())
}

async fn on_database(command: Command, config: &ToolConfig) -> Result<(), CommandError> {
    let mut client = database::connect(&config.database, database::PATIENCE).await?;
    // The lock goes with the connection, which ends with the process.
    migrate::lock(&client).await.map_err(MigrateError::from)?;
    match command {
        Command::Serve => {}
        Command::Migrate => {
            let count = migrate::run(&mut client, MIGRATIONS).await?;
            tracing::info!(count, "the schema is up to date");
        }
        Command::Rollback { steps } => {
            let count = migrate::roll_back(&mut client, MIGRATIONS, steps).await?;
            tracing::info!(count, "took migrations back");
        }
        Command::Status => {
            let pending = migrate::pending(&client, MIGRATIONS).await?.len();
            let mut out = std::io::stdout().lock();
            for (index, migration) in MIGRATIONS.iter().enumerate() {
                let state = if index < MIGRATIONS.len() - pending { "applied" } else { "missing" };
                writeln!(out, "{:>3}  {state}  {}", migration.version, migration.name)?;
            }
            if pending > 0 {
                return Err(CommandError::Behind(pending));
            }
        }
        Command::Seed => {
            migrate::run(&mut client, MIGRATIONS).await?;
            if !seed::run(&mut client).await.map_err(CommandError::Seed)? {
                tracing::info!("left the data alone: the database is not empty, or was filled before");
            }
        }
    }
    Ok(())
}
