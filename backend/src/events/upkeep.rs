//! Throws away what is old: events after a week, but never the last thousand of a channel; answers to idempotent requests
//! after a day; refresh tokens a week after their end.

use std::time::Duration;

use crate::database::{Database, DatabaseError};

const EVERY: Duration = Duration::from_mins(10);

/// Each takes a part at a time, so that no statement holds locks for long.
const STATEMENTS: [&str; 3] = [
    "DELETE FROM stream_events WHERE (channel, off) IN (SELECT e.channel, e.off FROM stream_events e JOIN channels c \
     ON c.name = e.channel WHERE e.created_at < now() - interval '7 days' AND e.off <= c.top - 1000 LIMIT 5000)",
    "DELETE FROM idempotency_keys WHERE (scope, key) IN (SELECT scope, key FROM idempotency_keys \
     WHERE created_at < now() - interval '1 day' LIMIT 5000)",
    "DELETE FROM refresh_tokens WHERE id IN (SELECT id FROM refresh_tokens \
     WHERE expires_at < now() - interval '7 days' LIMIT 5000)",
];

pub(super) async fn run(database: Database) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // A start has better things to do.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        if let Err(error) = sweep(&database).await {
            tracing::warn!(error = svc_common::chain(&error), "cannot throw old rows away, trying again later");
        }
    }
}

async fn sweep(database: &Database) -> Result<(), DatabaseError> {
    let client = database.client().await?;
    for statement in STATEMENTS {
        let count = client.execute(statement, &[]).await?;
        if count > 0 {
            tracing::debug!(count, "threw old rows away");
        }
    }
    Ok(())
}
