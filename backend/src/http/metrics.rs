//! Figures for a monitoring system, in the OpenMetrics text format.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::app::App;

/// The figures and the names they go by.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answer, Counter>,
    seconds: Family<Route, Histogram, fn() -> Histogram>,
    pool_size: Gauge<i64, AtomicI64>,
    pool_idle: Gauge<i64, AtomicI64>,
    pool_waiting: Gauge<i64, AtomicI64>,
    pub(crate) pg_up: Gauge<i64, AtomicI64>,
    pub(crate) redis_up: Gauge<i64, AtomicI64>,
    pub(crate) outbox_pending: Gauge<i64, AtomicI64>,
    pub(crate) outbox_oldest: Gauge<f64, AtomicU64>,
    pub(crate) events_published: Counter,
    pub(crate) events_relayed: Counter,
    pub(crate) menu_cache: Family<Source, Counter>,
    pub(crate) rate_limited: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    route: String,
    method: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
    method: String,
}

/// Where a cached thing came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Source {
    pub(crate) source: &'static str,
}

/// From half a millisecond, a look-up by key, to five seconds, where the database gives up.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let metrics = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            pool_size: Gauge::default(),
            pool_idle: Gauge::default(),
            pool_waiting: Gauge::default(),
            pg_up: Gauge::default(),
            redis_up: Gauge::default(),
            outbox_pending: Gauge::default(),
            outbox_oldest: Gauge::default(),
            events_published: Counter::default(),
            events_relayed: Counter::default(),
            menu_cache: Family::default(),
            rate_limited: Counter::default(),
            registry: Registry::default(),
        };
        registry.register("http_requests", "Requests answered", metrics.requests.clone());
        let help = "How long answers took";
        registry.register_with_unit("http_request", help, Unit::Seconds, metrics.seconds.clone());
        registry.register("pg_pool_size", "Connections to PostgreSQL", metrics.pool_size.clone());
        registry.register("pg_pool_idle", "Connections that nobody uses", metrics.pool_idle.clone());
        registry.register("pg_pool_waiting", "Requests that wait for a connection", metrics.pool_waiting.clone());
        registry.register("pg_up", "Whether PostgreSQL answered last", metrics.pg_up.clone());
        registry.register("redis_up", "Whether Redis answered last", metrics.redis_up.clone());
        registry.register("outbox_pending", "Events still to be published", metrics.outbox_pending.clone());
        let help = "The age of the oldest event still to be published";
        registry.register_with_unit("outbox_oldest", help, Unit::Seconds, metrics.outbox_oldest.clone());
        registry.register("events_published", "Events published at once", metrics.events_published.clone());
        registry.register("events_relayed", "Events published by the relay", metrics.events_relayed.clone());
        registry.register("menu_cache", "Where the menu came from", metrics.menu_cache.clone());
        registry.register("rate_limited", "Requests turned away by a rate limit", metrics.rate_limited.clone());
        Self { registry, ..metrics }
    }

    fn render(&self, app: &App) -> String {
        let pool = app.database.occupancy();
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.pool_size.set(count(pool.size));
        self.pool_idle.set(count(pool.available));
        self.pool_waiting.set(count(pool.waiting));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("a string takes everything");
        text
    }
}

/// Counts a request under its route, never under its path: ids would make a figure of each.
pub(crate) async fn measure(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    // Anybody can make up a method.
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
        _ => "other",
    };
    let method = method.to_owned();
    let started = Instant::now();
    let response = next.run(request).await;
    let label = Route { route: route.clone(), method: method.clone() };
    app.metrics.seconds.get_or_create(&label).observe(started.elapsed().as_secs_f64());
    let label = Answer { route, method, status: response.status().as_u16() };
    app.metrics.requests.get_or_create(&label).inc();
    response
}

/// All figures.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
pub(crate) async fn show(State(app): State<Arc<App>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.metrics.render(&app)).into_response()
}
