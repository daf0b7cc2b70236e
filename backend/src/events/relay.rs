//! The relay: publishes what the outbox still holds after a moment, because a replica died between its commit and its
//! publishing, or because Redis was away. Every replica runs one; they skip each other's rows. Events may come twice and out of
//! order, which subscribers notice by the offset.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::{frame, publish_command};
use crate::database::{Database, DatabaseError};
use crate::http::metrics::Metrics;
use crate::redis_link::RedisLink;

const EVERY: Duration = Duration::from_millis(250);
/// How many events are taken at once.
const BATCH: i64 = 500;

pub(super) async fn run(database: Database, redis: RedisLink, metrics: Arc<Metrics>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_failing = false;
    loop {
        ticks.tick().await;
        // A full batch means that there is more.
        loop {
            match turn(&database, &redis).await {
                Ok(count) => {
                    is_failing = false;
                    metrics.events_relayed.inc_by(count);
                    if count < BATCH.unsigned_abs() {
                        break;
                    }
                }
                Err(error) => {
                    // The same again is no news.
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(error = svc_common::chain(&error), "the relay cannot read the outbox");
                    }
                    break;
                }
            }
        }
    }
}

/// Publishes one batch and says how many events it had.
async fn turn(database: &Database, redis: &RedisLink) -> Result<u64, DatabaseError> {
    let mut client = database.client().await?;
    let transaction = client.transaction().await?;
    let take = transaction
        .prepare_cached(
            "WITH taken AS (SELECT id, channel, off FROM outbox WHERE created_at < clock_timestamp() - interval '500 ms' \
             ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED) \
             SELECT t.id, e.channel, e.off, e.type, e.created_at, e.actor, e.data \
             FROM taken t LEFT JOIN stream_events e ON e.channel = t.channel AND e.off = t.off ORDER BY t.id",
        )
        .await?;
    let rows = transaction.query(&take, &[&BATCH]).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let frames: Vec<(String, String)> = rows
        .iter()
        // An event that was thrown away for its age leaves a pointer to nothing.
        .filter(|row| row.get::<_, Option<&str>>(1).is_some())
        .map(|row| {
            let (channel, off, kind): (String, i64, &str) = (row.get(1), row.get(2), row.get(3));
            let (at, actor, data): (Timestamp, Option<Uuid>, Value) = (row.get(4), row.get(5), row.get(6));
            let frame = frame(&channel, off, redis.epoch(), kind, at, actor, &data);
            (channel, frame)
        })
        .collect();
    let pipeline = publish_command(frames.iter().map(|(channel, frame)| (channel.as_str(), frame.as_str())));
    if !frames.is_empty() && redis.ask_all::<()>(&pipeline).await.is_none() {
        return Ok(0);
    }
    let delete = transaction.prepare_cached("DELETE FROM outbox WHERE id = ANY($1)").await?;
    transaction.execute(&delete, &[&ids]).await?;
    transaction.commit().await?;
    Ok(u64::try_from(ids.len()).unwrap_or(0))
}
