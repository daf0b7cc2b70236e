//! What the routes share.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::body::Bytes;
use tokio_postgres::Client;

use crate::auth::limiter::Limiter;
use crate::auth::password::Passwords;
use crate::auth::session::Sessions;
use crate::auth::token::Keys;
use crate::config::Config;
use crate::database::Database;
use crate::events::Events;
use crate::http::metrics::Metrics;
use crate::menu::cached::MenuCache;
use crate::redis_link::RedisLink;

/// Everything a route may need; one for the process.
pub(crate) struct App {
    pub(crate) database: Database,
    pub(crate) redis: RedisLink,
    pub(crate) events: Events,
    pub(crate) menu: MenuCache,
    pub(crate) keys: Keys,
    pub(crate) passwords: Passwords,
    pub(crate) sessions: Sessions,
    pub(crate) limiter: Limiter,
    pub(crate) metrics: Arc<Metrics>,
    /// The description of the routes, known once they are put together.
    pub(crate) document: OnceLock<Bytes>,
    pub(crate) started: Instant,
}

impl App {
    /// Puts the parts together. The database is migrated; `client` is a connection to it.
    pub(crate) async fn new(config: &Config, client: &Client) -> Result<Self, AppError> {
        let epoch: String = client
            .query_one("SELECT value FROM app_meta WHERE key = 'epoch'", &[])
            .await
            .map_err(AppError::Epoch)?
            .get(0);
        let metrics = Arc::new(Metrics::new());
        let redis = RedisLink::new(&config.service.redis, epoch, Arc::clone(&metrics))?;
        let database = Database::new(&config.database);
        Ok(Self {
            events: Events::start(&database, &redis, &metrics),
            database,
            menu: MenuCache::default(),
            limiter: Limiter::new(redis.clone(), config.rate_limits),
            redis,
            keys: Keys::new(
                &config.service.jwt_secret,
                config.previous_jwt_secret.as_ref(),
                &config.service.table_token_secret,
            ),
            passwords: Passwords::new(),
            sessions: Sessions::default(),
            metrics,
            document: OnceLock::new(),
            started: Instant::now(),
        })
    }
}

/// Why the parts cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The database does not say which one it is.
    #[error("cannot read the epoch of the database")]
    Epoch(#[source] tokio_postgres::Error),
    /// The Redis client refuses its settings.
    #[error("cannot use REDIS_URL")]
    Redis(#[from] redis::RedisError),
}
