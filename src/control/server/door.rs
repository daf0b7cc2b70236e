//! Who comes in, how many at a time, and for how long: nobody who is slow, idle or greedy may keep others waiting.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::control::wire::{API, API_HEADER, Problem};
use crate::os::socket::{Listener, Stream};
use crate::os::{clock, user};

/// How many may be connected at a time. People have a handful of terminals.
pub(super) const MAX_GUESTS: usize = 64;

/// How long somebody may take to ask, from the connection or the last answer on.
const IDLE: Duration = Duration::from_secs(15);

/// How long somebody may read nothing of what is being answered.
const STALL: Duration = Duration::from_secs(60);

/// How long the body of a request may take to come.
const BODY: Duration = Duration::from_secs(10);

/// How long to wait where the system cannot accept a connection: it is out of file descriptors, most likely.
const OUT_OF_FILES: Duration = Duration::from_millis(200);

/// The limits, which tests make short.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) guests: usize,
    pub(super) idle: Duration,
    pub(super) stall: Duration,
    pub(super) body: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { guests: MAX_GUESTS, idle: IDLE, stall: STALL, body: BODY }
    }
}

/// The socket, with somebody who looks at who comes.
pub(super) struct Door {
    listener: Arc<Listener>,
    guests: Arc<Mutex<Vec<Guest>>>,
    limits: Limits,
}

/// Somebody who is connected. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Guest(Arc<Mutex<Presence>>);

#[derive(Debug)]
struct Presence {
    /// How many answers are being made.
    busy: usize,
    /// Since when there are none.
    idle_since: Instant,
    /// Whether the place is wanted for somebody else.
    leaving: bool,
    waker: Option<Waker>,
}

/// Held while an answer is being made.
#[derive(Debug)]
pub(super) struct Busy(Guest);

impl Door {
    pub(super) fn new(listener: Arc<Listener>, limits: Limits) -> Self {
        Self { listener, guests: Arc::default(), limits }
    }

    /// Lets somebody in, or sends them away.
    fn admit(&self, stream: Stream) -> Option<(Connection, Guest)> {
        // The file's mode keeps others out; this counts where a file system knows no modes.
        let uid = stream.peer_uid().ok()?;
        if uid != user::current_uid() && uid != 0 {
            return None;
        }
        let mut guests = lock(&self.guests);
        if guests.len() >= self.limits.guests && !send_longest_idle_away(&mut guests) {
            // Whoever does not read it in time has not asked in time either.
            let _ = stream.try_write(full(self.limits.guests).as_bytes());
            return None;
        }
        let guest =
            Guest(Arc::new(Mutex::new(Presence { busy: 0, idle_since: clock::now(), leaving: false, waker: None })));
        guests.push(guest.clone());
        let (idle, stall) = (Box::pin(tokio::time::sleep(self.limits.idle)), None);
        let guests = Arc::clone(&self.guests);
        Some((Connection { stream, guest: guest.clone(), guests, limits: self.limits, idle, stall }, guest))
    }
}

/// What somebody is told who is sent away: they are not waited for, so that it is written before they ask.
fn full(guests: usize) -> String {
    let body = serde_json::to_string(&Problem::too_many_clients(guests)).expect("a problem is plain data");
    format!(
        "HTTP/1.1 503 Service Unavailable\r\n{API_HEADER}: {API}\r\ncontent-type: application/problem+json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Makes room; answers whether there was anybody idle.
fn send_longest_idle_away(guests: &mut Vec<Guest>) -> bool {
    let idle = guests.iter().enumerate().filter_map(|(index, guest)| {
        let presence = guest.lock();
        (presence.busy == 0).then_some((presence.idle_since, index))
    });
    let Some((_, index)) = idle.min() else { return false };
    let guest = guests.swap_remove(index);
    let mut presence = guest.lock();
    presence.leaving = true;
    if let Some(waker) = presence.waker.take() {
        waker.wake();
    }
    true
}

impl axum::serve::Listener for Door {
    type Io = Connection;
    type Addr = Guest;

    async fn accept(&mut self) -> (Connection, Guest) {
        loop {
            match self.listener.accept().await {
                Ok(stream) => {
                    if let Some(admitted) = self.admit(stream) {
                        return admitted;
                    }
                }
                Err(_) => tokio::time::sleep(OUT_OF_FILES).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Guest> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Connected<IncomingStream<'_, Door>> for Guest {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.remote_addr().clone()
    }
}

impl Guest {
    /// Says that an answer is being made, until what is given back is dropped.
    pub(super) fn busy(&self) -> Busy {
        self.lock().busy += 1;
        Busy(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Presence> {
        lock(&self.0)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut presence = self.0.lock();
        presence.busy -= 1;
        presence.idle_since = clock::now();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one step, so that what is kept here is whole whoever panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection that ends when it is idle or stuck for too long.
pub(super) struct Connection {
    stream: Stream,
    guest: Guest,
    guests: Arc<Mutex<Vec<Guest>>>,
    limits: Limits,
    idle: Pin<Box<Sleep>>,
    /// Runs while a write waits.
    stall: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    /// Whether it should end although nothing came: nobody asked in time, or the place is wanted.
    fn should_end(&mut self, cx: &mut Context<'_>) -> bool {
        let idle_since = {
            let mut presence = self.guest.lock();
            if presence.leaving {
                return true;
            }
            presence.waker = Some(cx.waker().clone());
            if presence.busy > 0 {
                return false;
            }
            presence.idle_since
        };
        let deadline = tokio::time::Instant::from_std(idle_since + self.limits.idle);
        if self.idle.deadline() != deadline {
            self.idle.as_mut().reset(deadline);
        }
        self.idle.as_mut().poll(cx).is_ready()
    }

    fn unless_stuck<T>(&mut self, done: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.stall = None;
            return done;
        }
        let limit = self.limits.stall;
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        stall.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        lock(&self.guests).retain(|guest| !Arc::ptr_eq(&guest.0, &self.guest.0));
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let came = Pin::new(&mut self.stream).poll_read(cx, buf);
        // Nothing read and no error: the end.
        if came.is_pending() && self.should_end(cx) { Poll::Ready(Ok(())) } else { came }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.unless_stuck(done, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_flush(cx);
        self.unless_stuck(done, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
