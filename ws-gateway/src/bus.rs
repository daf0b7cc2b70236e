//! Redis pub/sub: how a message reaches the other replicas. One task keeps two connections, one that listens and one
//! that publishes, and makes both anew when either breaks; between the two lives the gateway says that it is
//! unavailable, at once, instead of letting clients wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use redis::AsyncConnectionConfig;
use redis::aio::{MultiplexedConnection, PubSubSink, PubSubStream};
use svc_common::chain;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::hub::Hub;
use crate::message;
use crate::room::RoomName;

/// All rooms share this prefix on Redis. One pattern covers them: nothing has to be subscribed when a room opens, and
/// a message of a room that nobody here is in costs one look-up.
const PREFIX: &str = "menu:room:";

const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// A server that hangs, or a network that swallows packets, breaks no connection: only asking shows it.
const ASK_EVERY: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The way to the other replicas.
#[derive(Debug, Clone)]
pub(crate) struct Bus {
    shared: Arc<Shared>,
    _task: Arc<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    link: watch::Sender<Link>,
}

/// Whether Redis is there.
#[derive(Clone)]
enum Link {
    /// It is not, and why.
    Down(String),
    /// We listen, and this one publishes.
    Live(Publisher),
}

/// The connection that publishes, and the bell to ring when it fails. Each connection has a bell of its own: the late
/// failure of an old one must not end its successor.
#[derive(Clone)]
struct Publisher {
    connection: MultiplexedConnection,
    broken: Arc<Notify>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Down(reason) => write!(f, "Down({reason})"),
            Self::Live(_) => f.write_str("Live"),
        }
    }
}

/// Redis cannot carry a message now.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unavailable(String);

impl Bus {
    /// Starts to keep the connections; they may come up later.
    pub(crate) fn start(client: redis::Client, hub: Arc<Hub>) -> Self {
        let (link, _) = watch::channel(Link::Down("not connected yet".to_owned()));
        let shared = Arc::new(Shared { link });
        let task = tokio::spawn(keep_linked(client, Arc::clone(&shared), hub));
        Self { shared, _task: Arc::new(AbortOnDropHandle::new(task)) }
    }

    /// Whether messages flow.
    pub(crate) fn is_live(&self) -> bool {
        matches!(*self.shared.link.borrow(), Link::Live(_))
    }

    /// Sends a message to every replica, this one included.
    pub(crate) async fn publish(&self, room: &RoomName, payload: String) -> Result<(), Unavailable> {
        let mut command = redis::cmd("PUBLISH");
        command.arg(format!("{PREFIX}{room}")).arg(payload);
        self.send(&command).await
    }

    /// Asks Redis for a sign of life.
    pub(crate) async fn ping(&self) -> Result<(), Unavailable> {
        self.send(&redis::cmd("PING")).await
    }

    async fn send(&self, command: &redis::Cmd) -> Result<(), Unavailable> {
        let mut publisher = match &*self.shared.link.borrow() {
            Link::Live(publisher) => publisher.clone(),
            Link::Down(reason) => return Err(Unavailable(reason.clone())),
        };
        let result: redis::RedisResult<redis::Value> = command.query_async(&mut publisher.connection).await;
        result.map(drop).map_err(|error| {
            if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() {
                publisher.broken.notify_one();
            }
            Unavailable(chain(&error))
        })
    }
}

/// The task: connect, listen until something breaks, again.
async fn keep_linked(client: redis::Client, shared: Arc<Shared>, hub: Arc<Hub>) {
    let mut pause = FIRST_PAUSE;
    let mut down_since = Instant::now();
    loop {
        let reason = match connect(&client).await {
            Ok((sink, stream, connection)) => {
                let after_ms = svc_common::millis(down_since.elapsed());
                tracing::info!(redis = %client.get_connection_info().addr(), after_ms, "listening to Redis");
                let broken = Arc::new(Notify::new());
                shared.link.send_replace(Link::Live(Publisher { connection, broken: Arc::clone(&broken) }));
                pause = FIRST_PAUSE;
                let reason = tokio::select! {
                    () = listen(stream, &hub) => "the connection ended".to_owned(),
                    reason = ask(sink) => reason,
                    () = broken.notified() => "a command failed".to_owned(),
                };
                down_since = Instant::now();
                reason
            }
            Err(reason) => reason,
        };
        // The same reason again is no news: a Redis that is away for an hour must not fill the log.
        let news = match &*shared.link.borrow() {
            Link::Live(_) => true,
            Link::Down(before) => *before != reason,
        };
        if news {
            tracing::warn!(redis = %client.get_connection_info().addr(), error = reason, "Redis is away, trying again");
        }
        shared.link.send_replace(Link::Down(reason));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Makes both connections. The subscription is acknowledged when this returns.
async fn connect(client: &redis::Client) -> Result<(PubSubSink, PubSubStream, MultiplexedConnection), String> {
    let both = async {
        let mut listener = client.get_async_pubsub().await?;
        listener.psubscribe(format!("{PREFIX}*")).await?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_WITHIN))
            .set_response_timeout(Some(ANSWER_WITHIN));
        let publisher = client.get_multiplexed_async_connection_with_config(&config).await?;
        let (sink, stream) = listener.split();
        Ok::<_, redis::RedisError>((sink, stream, publisher))
    };
    match timeout(CONNECT_WITHIN, both).await {
        Ok(Ok(linked)) => Ok(linked),
        Ok(Err(error)) => Err(chain(&error)),
        Err(_) => Err(format!("no answer within {} s", CONNECT_WITHIN.as_secs())),
    }
}

/// Hands what arrives to the hub, until the connection ends.
async fn listen(mut stream: PubSubStream, hub: &Hub) {
    while let Some(message) = stream.next().await {
        let Some(room) = message.get_channel_name().strip_prefix(PREFIX) else { continue };
        if let Some((from, frame)) = message::from_redis(message.get_payload_bytes()) {
            hub.deliver(room, from, &frame);
        } else {
            tracing::warn!(room, "dropped a payload that is not ours");
        }
    }
}

/// Asks the listening connection for signs of life, until one stays out.
async fn ask(mut sink: PubSubSink) -> String {
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        match timeout(CONNECT_WITHIN, sink.ping::<redis::Value>()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return chain(&error),
            Err(_) => return format!("no answer within {} s", CONNECT_WITHIN.as_secs()),
        }
    }
}
