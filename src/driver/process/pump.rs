//! Moves what a child prints to whoever takes it. The end of a pipe is never a condition for anything: a grandchild may
//! hold it open for ever.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::logs::{LogSink, Stream};

/// As much as a pipe holds.
const READ: usize = 64 * 1024;

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
    R: AsyncRead + Unpin + Send,
{
    let mut buffer = vec![0; READ];
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
            Ok(n) => to.take(&buffer[..n]).await,
        }
    };
    to.end().await;
    held.then_some(pipe)
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
