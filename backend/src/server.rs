//! Start, routes and end. The start takes the port first, then the database, and accepts connections last, so that the
//! first answer is already a good one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{from_fn, from_fn_with_state};
use svc_common::config::{Environment, Origins};
use svc_common::listener::{self, ListenError};
use svc_common::process::{EXIT_ENVIRONMENT, Fatal};
use svc_common::request;
use svc_common::shutdown::Shutdown;
use tokio::net::TcpListener;
use tower_http::cors::{AllowOrigin, CorsLayer};

use tokio_postgres::Client;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{App, AppError};
use crate::auth::policy;
use crate::config::Config;
use crate::database::{self, ConnectError};
use crate::http::limits::{self, Places};
use crate::http::{docs, metrics};
use crate::migrate::{self, MIGRATIONS, MigrateError};
use crate::{auth, health, menu, notifications, orders, seed, tables};

/// How long requests under way may take after a stop was asked for. A supervisor that kills after ten seconds, as is
/// usual, must not be the one who ends us.
const DRAIN: Duration = Duration::from_secs(8);

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
    /// The parts do not fit together.
    #[error(transparent)]
    App(#[from] AppError),
}

impl Fatal for StartError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Listen(_) => EXIT_ENVIRONMENT,
            Self::Connect(_) | Self::Migrate(_) | Self::Seed(_) | Self::App(_) => 1,
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
        let client = prepare_database(config).await?;
        let state = Arc::new(App::new(config, &client).await?);
        drop(client);
        let app = router(state, &service.origins);
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

async fn prepare_database(config: &Config) -> Result<Client, StartError> {
    let mut client = database::connect(&config.database, database::PATIENCE).await?;
    tracing::info!(database = database::address(&config.database), "connected");
    migrate::lock(&client).await.map_err(MigrateError::from)?;
    migrate::run(&mut client, MIGRATIONS).await?;
    // The demo people have a known password: a production database gets them only by `backend seed`.
    if config.service.environment != Environment::Production {
        seed::run(&mut client).await.map_err(StartError::Seed)?;
    }
    migrate::unlock(&client).await.map_err(MigrateError::from)?;
    Ok(client)
}

/// All routes and the document that describes them.
pub(crate) fn routes() -> (Router<Arc<App>>, OpenApi) {
    let (router, document) = OpenApiRouter::new()
        .merge(health::routes())
        .merge(auth::routes::routes())
        .merge(menu::routes())
        .merge(tables::routes())
        .merge(orders::routes())
        .merge(notifications::routes())
        .routes(routes!(metrics::show))
        .routes(routes!(docs::document))
        .routes(routes!(docs::page))
        .split_for_parts();
    (router, docs::complete(document))
}

fn router(app: Arc<App>, origins: &Origins) -> Router {
    let (router, document) = routes();
    let document = Bytes::from(serde_json::to_vec(&document).expect("the document is plain data"));
    app.document.get_or_init(|| document);
    router
        .layer(from_fn_with_state(Arc::clone(&app), policy::enforce))
        .layer(from_fn(limits::in_time))
        .layer(from_fn_with_state(Arc::clone(&app), metrics::measure))
        .layer(from_fn_with_state(Places::new(), limits::with_place))
        .layer(DefaultBodyLimit::max(limits::BODY_BYTES))
        .layer(from_fn(request::observe))
        .layer(cors(origins))
        .with_state(app)
}

fn cors(origins: &Origins) -> CorsLayer {
    let origins = match origins {
        Origins::Any => AllowOrigin::any(),
        Origins::Only(list) => AllowOrigin::list(list.iter().filter_map(|origin| HeaderValue::from_str(origin).ok())),
    };
    let request_id: HeaderName = request::REQUEST_ID;
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::CONTENT_TYPE,
            header::AUTHORIZATION,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            header::RANGE,
            HeaderName::from_static("idempotency-key"),
            request_id.clone(),
        ])
        .expose_headers([request_id, header::ETAG, header::LINK, header::LOCATION, header::RETRY_AFTER])
        .max_age(Duration::from_mins(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_a_rule_and_a_description() {
        let (_, mut document) = routes();
        let mut described = Vec::new();
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in docs::operations(item) {
                assert!(operation.summary.is_some(), "{method} {path}");
                described.push((method, path.clone()));
            }
        }
        let ruled: Vec<_> = policy::RULES.iter().map(|rule| (rule.method, rule.path.to_owned())).collect();
        for route in &described {
            assert!(ruled.contains(route), "no rule for {route:?}");
        }
        for (index, route) in ruled.iter().enumerate() {
            assert!(described.contains(route), "no route for {route:?}");
            assert!(!ruled[..index].contains(route), "two rules for {route:?}");
        }
    }
}
