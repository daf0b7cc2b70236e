//! Start, routes and end. The start takes the port first, then the database, and accepts connections last, so that the
//! first answer is already a good one.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use svc_common::config::{Environment, Origins};
use svc_common::listener::{self, ListenError};
use svc_common::problem::Problem;
use svc_common::process::{EXIT_ENVIRONMENT, Fatal};
use svc_common::request;
use svc_common::shutdown::Shutdown;
use tokio::net::TcpListener;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::config::Config;
use crate::database::{self, ConnectError, Database};
use crate::health::{self, Vitals};
use crate::migrate::{self, MIGRATIONS, MigrateError};
use crate::{menu, seed};

/// How long requests under way may take after a stop was asked for. A supervisor that kills after ten seconds, as is
/// usual, must not be the one who ends us.
const DRAIN: Duration = Duration::from_secs(8);

/// How long a request may take in all. The server's own time limits come first; this one is for a database that hangs
/// and cannot keep them. Shorter than the drain, so that no request is cut off by it.
const ANSWER_WITHIN: Duration = Duration::from_secs(7);

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port is not to be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The database is not to be had.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The schema is not to be had.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The demo data could not be written; nothing of it was kept.
    #[error("cannot fill the empty database")]
    Seed(#[source] tokio_postgres::Error),
    /// The Redis client refuses its settings.
    #[error("cannot use REDIS_URL")]
    Redis(#[from] redis::RedisError),
}

impl Fatal for StartError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Listen(_) => EXIT_ENVIRONMENT,
            Self::Connect(_) | Self::Migrate(_) | Self::Seed(_) | Self::Redis(_) => 1,
        }
    }
}

/// A service that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    app: Router,
    address: SocketAddr,
}

impl Server {
    /// Takes the port, waits for the database, brings its schema up to date, fills an empty one, and listens.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let service = &config.service;
        let reserved = listener::reserve(&service.host, service.port).await?;
        prepare_database(config).await?;
        let database = Database::new(&config.database);
        let vitals = Vitals::new(database.clone(), &service.redis)?;
        let app = routes(database, vitals, &service.origins);
        let listener = reserved.listen()?;
        let address = listener
            .local_addr()
            .map_err(|source| ListenError::Refused { address: format!("{}:{}", service.host, service.port), source })?;
        tracing::info!(%address, environment = service.environment.name(), "listening");
        Ok(Self { listener, app, address })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until a stop is asked for and those under way are answered.
    pub async fn run(self, shutdown: &Shutdown) {
        listener::serve(self.listener, self.app, shutdown, DRAIN).await;
    }
}

async fn prepare_database(config: &Config) -> Result<(), StartError> {
    let mut client = database::connect(&config.database, database::PATIENCE).await?;
    tracing::info!(database = database::address(&config.database), "connected");
    migrate::lock(&client).await.map_err(MigrateError::from)?;
    migrate::run(&mut client, MIGRATIONS).await?;
    // The demo people have a known password: a production database gets them only by `backend seed`.
    if config.service.environment != Environment::Production {
        seed::run(&mut client).await.map_err(StartError::Seed)?;
    }
    migrate::unlock(&client).await.map_err(MigrateError::from)?;
    Ok(())
}

fn routes(database: Database, vitals: Vitals, origins: &Origins) -> Router {
    let health = Router::new()
        .route("/api/health", get(health::live))
        .route("/api/health/ready", get(health::ready))
        .route("/api/health/detailed", get(health::detailed))
        .with_state(vitals);
    let menu = Router::new()
        .route("/api/categories", get(menu::categories))
        .route("/api/products", get(menu::products))
        .route("/api/products/{id}", get(menu::product))
        .with_state(database);
    health.merge(menu).layer(from_fn(in_time)).layer(from_fn(request::observe)).layer(cors(origins))
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable("the answer took too long").into_response(),
    }
}

fn cors(origins: &Origins) -> CorsLayer {
    let origins = match origins {
        Origins::Any => AllowOrigin::any(),
        Origins::Only(list) => AllowOrigin::list(list.iter().filter_map(|origin| HeaderValue::from_str(origin).ok())),
    };
    let request_id: HeaderName = request::REQUEST_ID;
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::HEAD])
        .allow_headers([header::CONTENT_TYPE, header::AUTHORIZATION, request_id.clone()])
        .expose_headers([request_id, header::LINK, header::RETRY_AFTER])
        .max_age(Duration::from_mins(10))
}
