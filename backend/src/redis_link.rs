//! Redis, which may be away at any time: nothing here is an error, only an answer that stays out. After a failure nobody
//! asks again for a moment, so that a Redis that hangs costs one request its patience and not each of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::FromRedisValue;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use svc_common::chain;

use crate::http::metrics::Metrics;

/// How long an answer may take. A loopback server needs a tenth of a millisecond.
const ANSWER_WITHIN: Duration = Duration::from_millis(250);
/// How long nobody asks after a failure.
const REST: Duration = Duration::from_millis(500);

/// A way to Redis; clones share it.
#[derive(Clone)]
pub(crate) struct RedisLink {
    connection: ConnectionManager,
    epoch: Arc<str>,
    state: Arc<State>,
}

struct State {
    started: Instant,
    /// Milliseconds since the start until which nobody asks.
    rests_until: AtomicU64,
    is_up: AtomicBool,
    metrics: Arc<Metrics>,
}

impl RedisLink {
    /// Prepares the way; the first question connects.
    pub(crate) fn new(
        redis: &redis::ConnectionInfo,
        epoch: String,
        metrics: Arc<Metrics>,
    ) -> Result<Self, redis::RedisError> {
        let client = redis::Client::open(redis.clone())?;
        // One attempt per question: a Redis that is away shows in this answer, not in a later one.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(ANSWER_WITHIN))
            .set_response_timeout(Some(ANSWER_WITHIN));
        let connection = ConnectionManager::new_lazy_with_config(client, config)?;
        let state =
            State { started: Instant::now(), rests_until: AtomicU64::new(0), is_up: AtomicBool::new(true), metrics };
        Ok(Self { connection, epoch: epoch.into(), state: Arc::new(state) })
    }

    /// Which life of the database this is about.
    pub(crate) fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Names a key. It holds the epoch: two databases may share a Redis, and one that was thrown away leaves keys behind.
    pub(crate) fn key(&self, kind: &str, rest: &str) -> String {
        format!("menu:{kind}:{}:{rest}", self.epoch)
    }

    /// Asks, unless Redis is known to be away.
    pub(crate) async fn ask<T: FromRedisValue>(&self, question: &redis::Cmd) -> Option<T> {
        self.attempt(async |connection| question.query_async(connection).await).await
    }

    /// Asks several things at once.
    pub(crate) async fn ask_all<T: FromRedisValue>(&self, questions: &redis::Pipeline) -> Option<T> {
        self.attempt(async |connection| questions.query_async(connection).await).await
    }

    /// Runs a script.
    pub(crate) async fn run<T: FromRedisValue>(&self, script: &redis::ScriptInvocation<'_>) -> Option<T> {
        self.attempt(async |connection| script.invoke_async(connection).await).await
    }

    /// Looks whether Redis answers, also while nobody else asks.
    pub(crate) async fn look(&self) -> Result<(), String> {
        let mut connection = self.connection.clone();
        let result = redis::cmd("PING").query_async::<String>(&mut connection).await;
        self.note(result.as_ref().map(drop));
        result.map(drop).map_err(|error| chain(&error))
    }

    async fn attempt<T>(
        &self,
        question: impl AsyncFnOnce(&mut ConnectionManager) -> redis::RedisResult<T>,
    ) -> Option<T> {
        let now = u64::try_from(self.state.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if now < self.state.rests_until.load(Ordering::Relaxed) {
            return None;
        }
        let mut connection = self.connection.clone();
        let result = question(&mut connection).await;
        self.note(result.as_ref().map(drop));
        result.ok()
    }

    fn note(&self, result: Result<(), &redis::RedisError>) {
        let State { started, rests_until, is_up, metrics } = &*self.state;
        match result {
            Ok(()) => {
                metrics.redis_up.set(1);
                rests_until.store(0, Ordering::Relaxed);
                if !is_up.swap(true, Ordering::Relaxed) {
                    tracing::info!("Redis is back");
                }
            }
            Err(error) => {
                metrics.redis_up.set(0);
                let until = u64::try_from((started.elapsed() + REST).as_millis()).unwrap_or(u64::MAX);
                rests_until.store(until, Ordering::Relaxed);
                if is_up.swap(false, Ordering::Relaxed) {
                    tracing::warn!(error = chain(error), "Redis is away, going on without it");
                }
            }
        }
    }
}
