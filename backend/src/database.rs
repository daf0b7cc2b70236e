//! Connections to PostgreSQL: the first one, which may have to wait for the server, the pool, and how a database error
//! becomes an answer.

use std::error::Error as _;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts};
use svc_common::chain;
use svc_common::problem::Problem;
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

/// How long a start waits for a database that is still away.
pub const PATIENCE: Duration = Duration::from_secs(30);

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Why the database cannot be used at start.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing answers, or not yet.
    #[error("no database at {address} after {} s", waited.as_secs())]
    Away {
        /// Host, port and database.
        address: String,
        /// How long it was tried.
        waited: Duration,
        /// The last attempt's error.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The server is there and says no; waiting will not help.
    #[error("the database at {address} refuses us; check DATABASE_URL")]
    Refused {
        /// Host, port and database.
        address: String,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
}

/// Opens the first connection. A server that is still away is tried again, with growing pauses, for `patience`.
pub async fn connect(config: &Config, patience: Duration) -> Result<Client, ConnectError> {
    let address = address(config);
    let mut config = config.clone();
    config.application_name("backend").connect_timeout(Duration::from_secs(3));
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    for attempt in 1.. {
        let source = match config.connect(NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::warn!(error = chain(&error), "the start-up connection broke");
                    }
                });
                return Ok(client);
            }
            Err(error) => error,
        };
        if is_final(&source) {
            return Err(ConnectError::Refused { address, source });
        }
        let waited = started.elapsed();
        if waited + pause > patience {
            return Err(ConnectError::Away { address, waited, source });
        }
        let retry_in_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(attempt, retry_in_ms, database = address, error = chain(&source), "waiting for the database");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    unreachable!("the loop ends by returning")
}

/// Whether trying again with the same settings is pointless: wrong password, no such user or database.
fn is_final(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => [
            SqlState::INVALID_PASSWORD,
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            SqlState::INVALID_CATALOG_NAME,
            SqlState::INSUFFICIENT_PRIVILEGE,
        ]
        .contains(code),
        // Errors before the server could speak are I/O errors; the others (a password is needed but none given) stay.
        None => !is_io(error),
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    error.is_closed() || error.source().is_some_and(|source| source.downcast_ref::<std::io::Error>().is_some())
}

/// Host, port and database, without user and password.
pub fn address(config: &Config) -> String {
    let ports = config.get_ports();
    let hosts: Vec<_> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(index, host)| {
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                #[cfg(unix)]
                Host::Unix(path) => format!("{}/.s.PGSQL.{port}", path.display()),
            }
        })
        .collect();
    format!("{}/{}", hosts.join(","), config.get_dbname().unwrap_or_default())
}

/// The connections that requests share.
#[derive(Debug, Clone)]
pub struct Database {
    pool: Pool,
}

impl Database {
    /// Makes a pool that connects when first used.
    pub fn new(config: &Config) -> Self {
        let mut config = config.clone();
        let ours = "-c statement_timeout=5s -c lock_timeout=2s -c idle_in_transaction_session_timeout=10s";
        let options = config.get_options().map_or_else(|| ours.to_owned(), |theirs| format!("{ours} {theirs}"));
        config.application_name("backend").connect_timeout(Duration::from_secs(3)).options(options);
        // A host that vanishes without a word must not hold a connection for the quarter of an hour TCP would wait.
        config.tcp_user_timeout(Duration::from_secs(5)).keepalives_idle(Duration::from_secs(10));
        let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
        let second = Some(Duration::from_secs(1));
        let pool = Pool::builder(manager)
            .max_size(16)
            .runtime(Runtime::Tokio1)
            // A server that is busy takes its time to sign a new connection in; that is not the same as being away.
            .timeouts(Timeouts { wait: second, create: Some(Duration::from_secs(3)), recycle: second })
            .build()
            .expect("a runtime is given, so that the timeouts work");
        Self { pool }
    }

    /// How full the pool is.
    pub(crate) fn occupancy(&self) -> deadpool_postgres::Status {
        self.pool.status()
    }

    /// Takes a connection, within a second.
    pub async fn client(&self) -> Result<Object, DatabaseError> {
        Ok(self.pool.get().await?)
    }
}

/// A query that failed.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// There is no connection to be had.
    #[error("no database connection")]
    Connection(#[from] PoolError),
    /// The server answered with an error, or the connection broke.
    #[error("the query failed")]
    Query(#[from] tokio_postgres::Error),
}

impl DatabaseError {
    /// Whether the same request may succeed a moment later.
    fn is_temporary(&self) -> bool {
        match self {
            Self::Connection(_) => true,
            Self::Query(error) => match error.code() {
                Some(code) => {
                    // Classes: connection exception, insufficient resources, operator intervention (which has
                    // statement timeouts and shutdowns), lock not available.
                    ["08", "53", "57"].iter().any(|class| code.code().starts_with(class))
                        || *code == SqlState::LOCK_NOT_AVAILABLE
                }
                None => is_io(error),
            },
        }
    }
}

impl DatabaseError {
    /// Whether a text was refused that no column can hold: PostgreSQL has no U+0000.
    fn is_unfit_text(&self) -> bool {
        let unfit = [SqlState::CHARACTER_NOT_IN_REPERTOIRE, SqlState::UNTRANSLATABLE_CHARACTER];
        matches!(self, Self::Query(error) if error.code().is_some_and(|code| unfit.contains(code)))
    }

    /// The constraint that a row broke, if that is what went wrong.
    pub(crate) fn constraint(&self) -> Option<&str> {
        match self {
            Self::Connection(_) => None,
            Self::Query(error) => error.as_db_error().and_then(tokio_postgres::error::DbError::constraint),
        }
    }
}

impl IntoResponse for DatabaseError {
    fn into_response(self) -> Response {
        if self.is_unfit_text() {
            let detail = "the request has a character that cannot be stored, such as U+0000";
            return Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unfit_text", detail).into_response();
        }
        let temporary = self.is_temporary();
        tracing::error!(error = chain(&self), temporary, "database error");
        if temporary { Problem::unavailable("the database cannot answer now") } else { Problem::internal() }
            .into_response()
    }
}

/// Why a request has no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The client is told what is wrong.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
    /// The database let us down.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl From<tokio_postgres::Error> for ApiError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(DatabaseError::Query(error))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            Self::Problem(problem) => problem.into_response(),
            Self::Database(error) => error.into_response(),
        }
    }
}
