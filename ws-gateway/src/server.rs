//! Start, routes and end. The gateway listens whether or not Redis is there: clients may wait in it for Redis to come.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use svc_common::config::Origins;
use svc_common::listener::{self, ListenError};
use svc_common::process::{EXIT_ENVIRONMENT, Fatal};
use svc_common::request;
use svc_common::shutdown::Shutdown;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::bus::Bus;
use crate::config::Config;
use crate::connection::Limits;
use crate::hub::Hub;
use crate::{handshake, health};

/// How long clients may take to go after a stop was asked for.
const DRAIN: Duration = Duration::from_secs(5);

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port is not to be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The Redis client refuses its settings.
    #[error("cannot use REDIS_URL")]
    Redis(#[from] redis::RedisError),
}

impl Fatal for StartError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Listen(_) => EXIT_ENVIRONMENT,
            Self::Redis(_) => 1,
        }
    }
}

/// What the routes share.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    pub(crate) hub: Arc<Hub>,
    pub(crate) bus: Bus,
    pub(crate) origins: Arc<Origins>,
    pub(crate) limits: Limits,
    pub(crate) shutdown: Shutdown,
    pub(crate) tracker: TaskTracker,
    /// How many clients were sent away because the gateway stops.
    pub(crate) sent_away: Arc<AtomicUsize>,
    pub(crate) started: Instant,
}

/// A gateway that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    gateway: Gateway,
    address: SocketAddr,
}

impl Server {
    /// Takes the port, begins to connect to Redis, and listens.
    pub async fn start(config: &Config, shutdown: &Shutdown) -> Result<Self, StartError> {
        let service = &config.service;
        let reserved = listener::reserve(&service.host, service.port).await?;
        let hub = Hub::new(config.limits.queue_frames, config.limits.queue_bytes);
        let bus = Bus::start(redis::Client::open(service.redis.clone())?, Arc::clone(&hub));
        let gateway = Gateway {
            hub,
            bus,
            origins: Arc::new(service.origins.clone()),
            limits: config.limits,
            shutdown: shutdown.clone(),
            tracker: TaskTracker::new(),
            sent_away: Arc::default(),
            started: Instant::now(),
        };
        let listener = reserved.listen()?;
        let address = listener
            .local_addr()
            .map_err(|source| ListenError::Refused { address: format!("{}:{}", service.host, service.port), source })?;
        tracing::info!(%address, environment = service.environment.name(), "listening");
        Ok(Self { listener, gateway, address })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves clients until a stop is asked for and all of them are sent away.
    pub async fn run(self) {
        let Gateway { shutdown, tracker, sent_away, .. } = self.gateway.clone();
        let drain = async {
            shutdown.requested().await;
            tracker.close();
            tokio::select! {
                () = tracker.wait() => {
                    tracing::info!(count = sent_away.load(Ordering::Relaxed), "sent all clients away");
                }
                () = tokio::time::sleep(DRAIN) => tracing::warn!(left = tracker.len(), "clients were cut off"),
                () = shutdown.hurried() => tracing::warn!(left = tracker.len(), "clients were cut off"),
            }
        };
        let app = routes(self.gateway);
        tokio::join!(listener::serve(self.listener, app, &shutdown, DRAIN), drain);
    }
}

fn routes(gateway: Gateway) -> Router {
    Router::new()
        .route("/ws", get(handshake::upgrade))
        .route("/ws/health", get(health::live))
        .route("/ws/health/ready", get(health::ready))
        .route("/ws/health/detailed", get(health::detailed))
        .with_state(gateway)
        .layer(axum::middleware::from_fn(request::observe))
}
