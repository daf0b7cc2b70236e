//! One client, from its upgrade to its close: frames out of its queue, messages in, signs of life, and the close code
//! that tells the client whether and when to come back.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::{SinkExt, StreamExt};
use jiff::Timestamp;
use svc_common::shutdown::Shutdown;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::error::ProtocolError;

use crate::bus::Bus;
use crate::hub::Seat;
use crate::message::{self, MAX_MESSAGE};

/// How many frames leave in one write at most.
const BATCH: usize = 64;

/// What a client may take and how long it may take for it.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Frames that may wait for a client.
    pub queue_frames: usize,
    /// Bytes that may wait for a client.
    pub queue_bytes: usize,
    /// Silence after which a client is asked for a sign of life.
    pub ping_every: Duration,
    /// The time it has to give one.
    pub pong_within: Duration,
    /// The time one write may take.
    pub write_within: Duration,
    /// The time a client has to answer a close.
    pub close_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_frames: 256,
            queue_bytes: 1024 * 1024,
            ping_every: Duration::from_secs(25),
            pong_within: Duration::from_secs(10),
            write_within: Duration::from_secs(5),
            close_within: Duration::from_secs(2),
        }
    }
}

/// Why a connection ends. The code's range tells a client what to do: 40xx stay away, 41xx come back later, 42xx come
/// back now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client closed, or is gone.
    Gone,
    /// The client broke the WebSocket protocol (1002), sent a binary frame (1003), invalid UTF-8 (1007) or too much
    /// (1009).
    Breach { code: u16, reason: &'static str, readable: bool },
    /// The client takes less than its room gives.
    Slow,
    /// The client gave no sign of life.
    Silent,
    /// The gateway stops.
    Draining,
}

/// Serves one client until it or the gateway goes; answers whether it was the gateway.
pub(crate) async fn run(mut socket: WebSocket, mut seat: Seat, bus: Bus, shutdown: Shutdown, limits: Limits) -> bool {
    tracing::debug!(conn = %seat.id(), room = %seat.room(), "connected");
    let end = match write(&mut socket, [message::connected(seat.id())], &seat, limits).await {
        Ok(()) => converse(&mut socket, &mut seat, &bus, &shutdown, limits).await,
        Err(end) => end,
    };
    tracing::debug!(conn = %seat.id(), room = %seat.room(), ?end, "disconnected");
    drop(seat);
    close(socket, end, limits).await;
    end == End::Draining
}

async fn converse(socket: &mut WebSocket, seat: &mut Seat, bus: &Bus, shutdown: &Shutdown, limits: Limits) -> End {
    let slow = seat.slow();
    let ping_every = spread(limits.ping_every, seat.id().as_bytes()[15]);
    let mut next_look = Instant::now() + ping_every;
    let mut asked = false;
    let mut frames = Vec::new();
    loop {
        frames.clear();
        let result = tokio::select! {
            () = shutdown.requested() => {
                seat.take_rest(&mut frames);
                let rest = write(socket, frames, seat, limits).await;
                return rest.err().unwrap_or(End::Draining);
            }
            () = slow.cancelled() => return End::Slow,
            () = seat.take(&mut frames, BATCH) => write(socket, frames.drain(..), seat, limits).await,
            incoming = socket.next() => {
                asked = false;
                next_look = Instant::now() + ping_every;
                match understand(incoming) {
                    Ok(Some(text)) => pass_on(socket, &text, seat, bus, limits).await,
                    Ok(None) => Ok(()),
                    Err(end) => Err(end),
                }
            }
            () = sleep_until(next_look) => {
                if asked {
                    return End::Silent;
                }
                asked = true;
                next_look = Instant::now() + limits.pong_within;
                write_raw(socket, [Message::Ping(axum::body::Bytes::new())], seat, limits).await
            }
        };
        if let Err(end) = result {
            return end;
        }
    }
}

/// Moves a period by up to a tenth either way, so that clients that came together are not asked together.
fn spread(period: Duration, random: u8) -> Duration {
    period.mul_f64(0.9 + 0.2 * f64::from(random) / 255.0)
}

/// Sorts what came in: text to pass on, nothing to do, or the end.
fn understand(incoming: Option<Result<Message, axum::Error>>) -> Result<Option<Utf8Bytes>, End> {
    match incoming {
        // tungstenite lets somewhat more pass than we do: a message it refuses itself cannot be read to its end, and
        // then the client may never see the close frame.
        Some(Ok(Message::Text(text))) if text.len() > MAX_MESSAGE => Err(TOO_BIG),
        Some(Ok(Message::Binary(data))) if data.len() > MAX_MESSAGE => Err(TOO_BIG),
        Some(Ok(Message::Text(text))) => Ok(Some(text)),
        Some(Ok(Message::Binary(_))) => {
            Err(End::Breach { code: 1003, reason: "send text frames, not binary ones", readable: true })
        }
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(None),
        Some(Ok(Message::Close(_))) | None => Err(End::Gone),
        Some(Err(error)) => Err(breach(error)),
    }
}

const TOO_BIG: End = End::Breach { code: 1009, reason: "messages are limited to 64 KiB", readable: true };

fn breach(error: axum::Error) -> End {
    let inner = error.into_inner();
    let (code, reason) = match inner.downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Capacity(_)) => (1009, "messages are limited to 64 KiB"),
        Some(tungstenite::Error::Utf8(_)) => (1007, "text has to be UTF-8"),
        Some(tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return End::Gone,
        Some(tungstenite::Error::Protocol(_)) => (1002, "this is not the WebSocket protocol"),
        // The connection broke, or was closed by both sides already.
        Some(_) | None => return End::Gone,
    };
    End::Breach { code, reason, readable: false }
}

/// Sends a client's message to the room, or an error back to the client.
async fn pass_on(socket: &mut WebSocket, text: &str, seat: &Seat, bus: &Bus, limits: Limits) -> Result<(), End> {
    let payload = message::to_redis(seat.room(), seat.id(), Timestamp::now(), text);
    match bus.publish(seat.room(), payload).await {
        Ok(()) => Ok(()),
        Err(error) => {
            tracing::debug!(conn = %seat.id(), %error, "could not publish");
            let frame = message::error("unavailable", "the message could not be sent; try again", true);
            write(socket, [frame], seat, limits).await
        }
    }
}

async fn write(
    socket: &mut WebSocket,
    frames: impl IntoIterator<Item = Utf8Bytes>,
    seat: &Seat,
    limits: Limits,
) -> Result<(), End> {
    write_raw(socket, frames.into_iter().map(Message::Text), seat, limits).await
}

/// Writes frames with one flush at the end: the system call costs more than all the rest of a delivery. A client that
/// does not take them in time, or whose queue runs over meanwhile, is slow.
async fn write_raw(
    socket: &mut WebSocket,
    frames: impl IntoIterator<Item = Message>,
    seat: &Seat,
    limits: Limits,
) -> Result<(), End> {
    let slow = seat.slow();
    let all = async {
        for frame in frames {
            socket.feed(frame).await?;
        }
        socket.flush().await
    };
    tokio::select! {
        result = timeout(limits.write_within, all) => match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::Slow),
        },
        () = slow.cancelled() => Err(End::Slow),
    }
}

/// Says goodbye and waits for the answer, for a while: dropping a socket with unread data resets the connection, and a
/// reset may overtake the close frame.
async fn close(mut socket: WebSocket, end: End, limits: Limits) {
    let (code, reason, readable) = match end {
        // Reading on completes the closing handshake that the client began.
        End::Gone => {
            let _ = timeout(limits.close_within, async { while let Some(Ok(_)) = socket.next().await {} }).await;
            return;
        }
        End::Breach { code, reason, readable } => (code, reason, readable),
        End::Slow => (4102, "too slow: come back and read faster", true),
        End::Silent => (4103, "no sign of life", true),
        End::Draining => (4200, "the gateway stops: come back now", true),
    };
    let frame = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    let goodbye = async {
        if socket.send(frame).await.is_ok() {
            if readable {
                while let Some(Ok(_)) = socket.next().await {}
            } else {
                std::future::pending::<()>().await;
            }
        }
    };
    // Running out of time is the expected end with a client that does not answer.
    let _ = timeout(limits.close_within, goodbye).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_are_spread_by_a_tenth() {
        let period = Duration::from_secs(10);
        assert_eq!((spread(period, 0), spread(period, 255)), (Duration::from_secs(9), Duration::from_secs(11)));
    }

    #[test]
    fn what_clients_send() {
        let text = |length: usize| Some(Ok(Message::Text("x".repeat(length).into())));
        assert_eq!(understand(text(MAX_MESSAGE)).unwrap().unwrap().len(), MAX_MESSAGE);
        assert_eq!(understand(text(MAX_MESSAGE + 1)), Err(TOO_BIG));
        let binary = |length: usize| Some(Ok(Message::Binary(vec![0; length].into())));
        assert!(matches!(understand(binary(1)), Err(End::Breach { code: 1003, .. })));
        assert_eq!(understand(binary(MAX_MESSAGE + 1)), Err(TOO_BIG));
        assert_eq!(understand(None), Err(End::Gone));
        assert_eq!(understand(Some(Ok(Message::Close(None)))), Err(End::Gone));
    }
}
