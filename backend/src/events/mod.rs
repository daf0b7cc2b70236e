//! Events: what happened, in an order per channel that has no gaps. A change writes its events in its own transaction; what
//! carries them to whoever listens comes after the commit, and may fail: the outbox remembers.

/// Carries the events of the outbox that were left behind.
mod relay;
/// Throws away what is old.
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Transaction;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::database::{Database, DatabaseError};
use crate::http::metrics::Metrics;
use crate::redis_link::RedisLink;

/// How many published batches may wait; what does not fit is left to the relay.
const QUEUE: usize = 1024;
/// How many events are published in one go.
const BATCH: usize = 256;
/// How long pointers of published events are gathered before they are deleted.
const GATHER: Duration = Duration::from_millis(50);

/// An event that is written and not yet published.
#[derive(Debug)]
#[must_use = "an event that is not published waits for the relay"]
pub(crate) struct Written {
    pointer: i64,
    channel: String,
    frame: String,
}

/// An event as subscribers get it.
#[derive(Serialize)]
struct Frame<'a> {
    t: &'static str,
    ch: &'a str,
    off: i64,
    epoch: &'a str,
    r#type: &'a str,
    at: Timestamp,
    actor: Option<Uuid>,
    data: &'a Value,
}

/// Publishes events.
#[derive(Clone)]
pub(crate) struct Events {
    queue: mpsc::Sender<Vec<Written>>,
    epoch: Arc<str>,
    _tasks: Arc<[AbortOnDropHandle<()>]>,
}

impl Events {
    /// Starts to publish.
    pub(crate) fn start(database: &Database, redis: &RedisLink, metrics: &Arc<Metrics>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let tasks = [
            tokio::spawn(publish(waiting, database.clone(), redis.clone(), Arc::clone(metrics))),
            tokio::spawn(relay::run(database.clone(), redis.clone(), Arc::clone(metrics))),
            tokio::spawn(upkeep::run(database.clone())),
        ];
        let tasks = tasks.into_iter().map(AbortOnDropHandle::new).collect();
        Self { queue, epoch: redis.epoch().into(), _tasks: tasks }
    }

    /// Writes an event in the transaction of what it tells of. It has to come last: from here to the end of the
    /// transaction nobody else can write to the channel. Several channels are to be written in the order of their names.
    pub(crate) async fn append(
        &self,
        transaction: &Transaction<'_>,
        channel: &str,
        kind: &str,
        data: &Value,
        actor: Option<Uuid>,
    ) -> Result<Written, DatabaseError> {
        let append = "SELECT o_off, o_pointer, now() FROM append_event($1, $2, $3, $4)";
        let append = transaction.prepare_cached(append).await?;
        let row = transaction.query_one(&append, &[&channel, &kind, data, &actor]).await?;
        Ok(self.written(channel, kind, data, actor, (row.get(0), row.get(1), row.get(2))))
    }

    /// Takes over an event that a function of the database has written: its offset, its pointer and its time.
    pub(crate) fn written(
        &self,
        channel: &str,
        kind: &str,
        data: &Value,
        actor: Option<Uuid>,
        (off, pointer, at): (i64, i64, Timestamp),
    ) -> Written {
        let frame = frame(channel, off, &self.epoch, kind, at, actor, data);
        Written { pointer, channel: channel.to_owned(), frame }
    }

    /// Publishes events, soon. Only to be called after the commit.
    pub(crate) fn publish(&self, events: Vec<Written>) {
        // When too many wait already, the relay finds these in the outbox.
        let _ = self.queue.try_send(events);
    }
}

fn frame(channel: &str, off: i64, epoch: &str, kind: &str, at: Timestamp, actor: Option<Uuid>, data: &Value) -> String {
    let frame = Frame { t: "ev", ch: channel, off, epoch, r#type: kind, at, actor, data };
    serde_json::to_string(&frame).expect("plain data always serialises")
}

/// The channel on Redis. Not the one of the gateway's rooms: whoever knows a room's name may listen there.
fn redis_channel(channel: &str) -> String {
    format!("menu:ev:{channel}")
}

fn publish_command<'a>(events: impl Iterator<Item = (&'a str, &'a str)>) -> redis::Pipeline {
    let mut pipeline = redis::pipe();
    for (channel, frame) in events {
        pipeline.publish(redis_channel(channel), frame).ignore();
    }
    pipeline
}

/// The task that publishes what was just committed, and then deletes the pointers.
async fn publish(
    mut waiting: mpsc::Receiver<Vec<Written>>,
    database: Database,
    redis: RedisLink,
    metrics: Arc<Metrics>,
) {
    let mut batch = Vec::new();
    let mut done: Vec<i64> = Vec::new();
    loop {
        // With pointers to delete, a pause is the time to do it.
        let received = if done.is_empty() {
            waiting.recv_many(&mut batch, BATCH).await
        } else {
            let Ok(count) = tokio::time::timeout(GATHER, waiting.recv_many(&mut batch, BATCH)).await else {
                forget(&database, &mut done).await;
                continue;
            };
            count
        };
        if received == 0 {
            forget(&database, &mut done).await;
            return;
        }
        let events: Vec<Written> = batch.drain(..).flatten().collect();
        let pipeline = publish_command(events.iter().map(|event| (event.channel.as_str(), event.frame.as_str())));
        if redis.ask_all::<()>(&pipeline).await.is_some() {
            metrics.events_published.inc_by(u64::try_from(events.len()).unwrap_or(0));
            done.extend(events.iter().map(|event| event.pointer));
        }
        if done.len() >= BATCH {
            forget(&database, &mut done).await;
        }
    }
}

/// Deletes pointers. Those that stay are published a second time, which does no harm.
async fn forget(database: &Database, done: &mut Vec<i64>) {
    let delete = async {
        let client = database.client().await?;
        let statement = client.prepare_cached("DELETE FROM outbox WHERE id = ANY($1)").await?;
        client.execute(&statement, &[&*done]).await?;
        Ok::<_, DatabaseError>(())
    };
    if let Err(error) = delete.await {
        tracing::debug!(error = svc_common::chain(&error), "the relay will publish again");
    }
    done.clear();
}
