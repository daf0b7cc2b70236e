//! Moves what a child prints to whoever takes it. The end of a pipe is never a condition for anything: a grandchild may
//! hold it open for ever.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::logs::{LogSink, Stream};
use crate::os::pipe::{self, ReadEnd, Rest};

/// As much as a pipe holds.
const READ: usize = 64 * 1024;

/// What is read of a pipe that has never held more: most never do, and a buffer for each of a thousand is no trifle.
const LITTLE: usize = 2 * 1024;

/// Reads that follow one another faster than this are a flood.
const FLOOD: Duration = Duration::from_micros(500);

/// How many reads in such a row begin to be gathered.
const ROW: u32 = 16;

/// How long a flood is left to gather in the pipe: a program that writes each line by itself would otherwise wake
/// devctl for each.
const GATHER: Duration = Duration::from_millis(1);

/// What has to gather in that time for the flood to go on.
const TRICKLE: usize = 2 * 1024;

/// How long a pipe may be silent after its child ended before it is given up.
const IDLE: Duration = Duration::from_millis(200);

/// How long a pipe is read at most after its child ended, however much still comes.
const DRAIN: Duration = Duration::from_secs(1);

/// Whoever takes the output of a child.
pub(super) trait Take: Send {
    /// Takes a piece of output.
    fn take(&mut self, piece: &[u8]) -> impl Future<Output = ()> + Send;

    /// Hears that no more comes.
    fn end(&mut self) -> impl Future<Output = ()> + Send;
}

/// Moves the output until the end of the pipe. Once `ended` says that the child is gone, silence is an end as well;
/// then the pipe is given back, as somebody else still holds it.
pub(super) async fn pump<R>(mut pipe: R, mut to: impl Take, mut ended: watch::Receiver<bool>) -> Option<R>
where
    R: AsyncRead + ReadEnd + Rest + Unpin + Send,
{
    let mut buffer = vec![0; LITTLE];
    let (mut pace, mut wide) = (Pace::default(), false);
    let mut last_call: Option<Instant> = None;
    let held = loop {
        let read = match last_call {
            None => tokio::select! {
                read = pipe.read(&mut buffer) => read,
                // An error says that nobody will ever tell: the child's owner is gone.
                _ = ended.wait_for(|ended| *ended) => {
                    last_call = Some(Instant::now() + DRAIN);
                    continue;
                }
            },
            Some(at) => {
                let until = at.min(Instant::now() + IDLE);
                match tokio::time::timeout_at(until, pipe.read(&mut buffer)).await {
                    Ok(read) => read,
                    Err(_) => break true,
                }
            }
        };
        match read {
            Ok(0) | Err(_) => break false,
            Ok(n) => {
                to.take(&buffer[..n]).await;
                if n == LITTLE && buffer.len() == LITTLE {
                    buffer = vec![0; READ];
                } else if pace.gather(n, Instant::now()) {
                    if !std::mem::replace(&mut wide, true) {
                        pipe::widen(&pipe);
                    }
                    let Ok(rested) = pipe.rest(GATHER).await else {
                        to.end().await;
                        return None;
                    };
                    pipe = rested;
                }
            }
        }
    };
    to.end().await;
    held.then_some(pipe)
}

/// Tells a flood of small writes from everything else.
#[derive(Default)]
struct Pace {
    last: Option<Instant>,
    row: u32,
    /// How much was read since the last pause.
    gathered: usize,
}

impl Pace {
    /// Whether to wait before the next read; `n` is what the last one gave.
    fn gather(&mut self, n: usize, now: Instant) -> bool {
        self.gathered += n;
        if n == READ {
            // There is more.
            return false;
        }
        let last = self.last.replace(now);
        if self.row >= ROW {
            if self.gathered < TRICKLE {
                self.row = 0;
            }
        } else if last.is_some_and(|last| now - last < FLOOD) {
            self.row += 1;
        } else {
            self.row = 0;
        }
        self.gathered = 0;
        self.row >= ROW
    }
}

/// Takes output into the logs.
pub(super) struct ToLogs {
    pub(super) logs: LogSink,
    pub(super) stream: Stream,
}

impl Take for ToLogs {
    async fn take(&mut self, piece: &[u8]) {
        self.logs.write(self.stream, piece).await;
    }

    async fn end(&mut self) {
        self.logs.end(self.stream).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_row_of_small_reads_is_left_to_gather() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        let mut read = |n, passed| {
            now += passed;
            pace.gather(n, now)
        };
        // A line now and then is passed on at once, and so is what fills the buffer.
        assert!((0..100).all(|_| !read(100, Duration::from_millis(1))));
        assert!((0..100).all(|_| !read(READ, Duration::ZERO)));
        // A flood is not; it ends when nearly nothing came during a pause.
        assert!((0..ROW).all(|i| read(100, Duration::from_micros(2)) == (i + 1 == ROW)));
        assert!(read(100_000, GATHER));
        assert!(!read(READ, GATHER));
        assert!(read(10, Duration::ZERO), "the rest of what filled the buffer");
        assert!(!read(100, GATHER));
    }
}
