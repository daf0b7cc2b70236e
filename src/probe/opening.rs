//! Tells a server of the wrong kind by its first words: a stream that ends at the first byte which cannot begin the
//! expected protocol, and keeps what was said. It listens only after it has asked, as both our protocols have it: a
//! server without room for clients answers before it is asked and hangs up, and a client library takes that for nobody's
//! answer and drops it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::last_line;

/// A connection whose first byte is checked.
pub(super) struct Opening {
    stream: TcpStream,
    /// Whether anything was sent.
    asked: bool,
    /// Who wants to read, before anything was sent.
    waiting: Option<Waker>,
    /// The check, until it is made.
    expected: Option<fn(u8) -> bool>,
    foreign: Arc<OnceLock<String>>,
}

impl Opening {
    /// Wraps a fresh connection. The cell is filled with the server's first line when that is of another protocol; the
    /// reader gets an error then.
    pub(super) fn new(stream: TcpStream, expected: fn(u8) -> bool) -> (Self, Arc<OnceLock<String>>) {
        let foreign = Arc::new(OnceLock::new());
        (Self { stream, asked: false, waiting: None, expected: Some(expected), foreign: foreign.clone() }, foreign)
    }
}

impl AsyncRead for Opening {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.asked {
            self.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        let said = &buf.filled()[before..];
        if let (Some(&first), Some(expected)) = (said.first(), self.expected.take_if(|_| !said.is_empty()))
            && !expected(first)
        {
            let text = String::from_utf8_lossy(said);
            let line = text.lines().next().and_then(last_line).unwrap_or_else(|| format!("byte {first}"));
            // The first read alone gets here, so the cell is empty.
            let _ = self.foreign.set(line);
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        poll
    }
}

impl AsyncWrite for Opening {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        if poll.is_ready() {
            self.asked = true;
            if let Some(waker) = self.waiting.take() {
                waker.wake();
            }
        }
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
