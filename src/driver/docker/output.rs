//! What a container prints, from its first line or from now on, through all restarts.
//!
//! Read from the engine's log rather than by attaching: an attachment ends with each life of the container, and the
//! first lines of the next one would be lost. The log stamps each line, so that reading goes on exactly where it ended.

use std::sync::Arc;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error as Call;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::fate::Fate;
use super::running::{Look, PAUSE, look};
use super::{Docker, Error};
use crate::logs::read::Remote;
use crate::logs::{LogLine, LogSink, Secrets, Stream as LogStream};
use crate::name::ServiceName;

/// The longest pause between two looks at a container whose log ended and which the engine is about to restart.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How many lines may wait for a reader before the engine has to.
const WAITING: usize = 256;

/// The longest line that is put together again.
const MAX_LINE: usize = 1024 * 1024;

/// How many messages are taken at once where so many are there.
const BATCH: usize = 1024;

/// The stamp of the last line that was read; empty before the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor(String);

/// Finds the end of the log as it is now. The stamp is the engine's, whose clock may not be ours.
pub(super) async fn end_of_log(docker: &Docker, id: &str) -> Cursor {
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).timestamps(true).tail("1").build();
    let mut lines = std::pin::pin!(docker.client().logs(id, Some(options)));
    let mut cursor = Cursor::default();
    while let Some(Ok(line)) = lines.next().await {
        cursor.strip(line.as_ref());
    }
    cursor
}

/// Copies what is printed after `cursor` until the container has ended. Ends by itself, with the container or with the
/// engine; `fate` tells whether a life that ended was the last one.
pub(super) async fn follow(
    docker: Docker,
    id: String,
    logs: LogSink,
    mut cursor: Cursor,
    mut fate: watch::Receiver<Fate>,
) {
    let mut pause = PAUSE;
    let mut lives = 0;
    loop {
        let before = cursor.clone();
        copy(read(&docker, &id, &cursor, true, None), &logs, &mut cursor).await;
        match look(&docker, &id, None).await {
            // Between two lives, or an engine that came back.
            Look::Lives { .. } => {
                pause = if cursor == before { LONGEST_PAUSE.min(pause * 2) } else { PAUSE };
                tokio::time::sleep(pause).await;
            }
            Look::Ended { .. } => {
                // What was printed between the end of the log and the look.
                copy(read(&docker, &id, &cursor, false, None), &logs, &mut cursor).await;
                match fate.wait_for(|fate| fate.end.is_some() || fate.lives > lives).await {
                    Ok(fate) if fate.end.is_none() => lives = fate.lives,
                    Ok(_) | Err(_) => break,
                }
            }
            Look::EngineGone(_) => break,
        }
    }
    logs.end(LogStream::Stdout).await;
    logs.end(LogStream::Stderr).await;
}

fn read(
    docker: &Docker,
    id: &str,
    cursor: &Cursor,
    follow: bool,
    tail: Option<usize>,
) -> impl Stream<Item = Result<LogOutput, Call>> + use<> {
    let tail = tail.map_or_else(|| "all".to_owned(), |n| n.to_string());
    let options = LogsOptionsBuilder::default().follow(follow).stdout(true).stderr(true).timestamps(true).tail(&tail);
    match cursor.after() {
        None => docker.client().logs(id, Some(options.build())).boxed(),
        Some(since) => {
            // The client counts whole seconds; the engine understands fractions.
            let since = format!("since={since}&");
            let client = docker.client().clone().with_request_modifier(move |mut request| {
                if let Ok(uri) = request.uri().to_string().replacen("since=1&", &since, 1).parse() {
                    *request.uri_mut() = uri;
                }
                request
            });
            client.logs(id, Some(options.since(1).build())).boxed()
        }
    }
}

/// Copies messages as they come, many at once where many are there; lines are cut by the sink.
async fn copy(output: impl Stream<Item = Result<LogOutput, Call>>, logs: &LogSink, cursor: &mut Cursor) {
    let mut batches = std::pin::pin!(output.ready_chunks(BATCH));
    let mut chunk = Vec::new();
    while let Some(batch) = batches.next().await {
        let mut at = LogStream::Stdout;
        for message in batch {
            let Ok(message) = message else { break };
            let stream = stream_of(&message);
            if stream != at && !chunk.is_empty() {
                logs.write(at, &chunk).await;
                chunk.clear();
            }
            at = stream;
            chunk.extend_from_slice(cursor.strip(message.as_ref()));
        }
        if !chunk.is_empty() {
            logs.write(at, &chunk).await;
            chunk.clear();
        }
    }
}

impl Cursor {
    /// Takes the stamp off a message and keeps it. The engine stamps every message, and sends each by itself.
    fn strip<'m>(&mut self, message: &'m [u8]) -> &'m [u8] {
        let Some(space) = memchr::memchr(b' ', message) else { return message };
        match std::str::from_utf8(&message[..space]) {
            Ok(stamp) => {
                self.0.clear();
                self.0.push_str(stamp);
                &message[space + 1..]
            }
            Err(_) => message,
        }
    }

    /// The moment right after the stamp.
    fn after(&self) -> Option<String> {
        since(&self.0, Duration::from_nanos(1))
    }
}

/// What to read of a container's log.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogRange {
    /// Only what came after this.
    pub since: Option<Timestamp>,
    /// Nothing after this.
    pub until: Option<Timestamp>,
    /// How many of the last lines; all where `None`.
    pub tail: Option<usize>,
    /// Whether to go on with what comes.
    pub follow: bool,
}

/// See [`Docker::log`].
pub(super) fn log(docker: Docker, id: String, service: ServiceName, range: LogRange, secrets: Arc<Secrets>) -> Remote {
    let (history, from_history) = mpsc::channel(WAITING);
    let (live, from_live) = mpsc::channel(WAITING);
    let remote = Remote { service: service.clone(), history: from_history, live: range.follow.then_some(from_live) };
    tokio::spawn(async move {
        let mut cursor = Cursor(range.since.map(|since| since.to_string()).unwrap_or_default());
        let mut lines = Joined { service, secrets, partial: [None, None] };
        let tail = range.tail.filter(|_| range.until.is_none());
        let mut stored = std::pin::pin!(read(&docker, &id, &cursor, false, tail));
        while let Some(message) = stored.next().await {
            let line = match message {
                Ok(message) => lines.add(&message, &mut cursor),
                Err(error) => {
                    let error = Error::from_call("read the log of a container", error);
                    // Nobody listens any more: fine.
                    let _ = history.send(Err(std::io::Error::other(error))).await;
                    return;
                }
            };
            let Some(line) = line else { continue };
            if range.until.is_some_and(|until| line.at > until) || history.send(Ok(line)).await.is_err() {
                return;
            }
        }
        drop(history);
        while range.follow && !live.is_closed() {
            let mut new = std::pin::pin!(read(&docker, &id, &cursor, true, None));
            while let Some(Ok(message)) = new.next().await {
                if let Some(line) = lines.add(&message, &mut cursor)
                    && live.send(line).await.is_err()
                {
                    return;
                }
            }
            // It ended, and may be started again.
            match look(&docker, &id, None).await {
                Look::Lives { .. } | Look::Ended { .. } => tokio::time::sleep(LONGEST_PAUSE).await,
                Look::EngineGone(_) => return,
            }
        }
    });
    remote
}

/// Makes lines of messages: the engine cuts long lines into several.
struct Joined {
    service: ServiceName,
    secrets: Arc<Secrets>,
    /// The beginning of a line on standard output and on standard error.
    partial: [Option<(Timestamp, Vec<u8>)>; 2],
}

impl Joined {
    fn add(&mut self, message: &LogOutput, cursor: &mut Cursor) -> Option<LogLine> {
        let stream = stream_of(message);
        let bytes = cursor.strip(message.as_ref());
        let at = cursor.0.parse().unwrap_or(Timestamp::UNIX_EPOCH);
        let partial = &mut self.partial[usize::from(stream == LogStream::Stderr)];
        let (at, mut line) = partial.take().unwrap_or_else(|| (at, Vec::new()));
        line.extend_from_slice(bytes);
        if line.last() != Some(&b'\n') && line.len() < MAX_LINE {
            *partial = Some((at, line));
            return None;
        }
        let end = line.iter().rposition(|b| !matches!(b, b'\n' | b'\r')).map_or(0, |i| i + 1);
        let text = self.secrets.mask(crate::logs::text(&line[..end]).into_owned());
        Some(LogLine { service: self.service.clone(), stream, at, text })
    }
}

fn stream_of(message: &LogOutput) -> LogStream {
    match message {
        LogOutput::StdOut { .. } | LogOutput::Console { .. } | LogOutput::StdIn { .. } => LogStream::Stdout,
        LogOutput::StdErr { .. } => LogStream::Stderr,
    }
}

/// A moment after a stamp of the engine, as it wants to be asked: seconds, a point, nanoseconds.
pub(super) fn since(stamp: &str, later: Duration) -> Option<String> {
    let stamp: jiff::Timestamp = stamp.parse().ok()?;
    let at = stamp.checked_add(later).ok()?;
    Some(format!("{}.{:09}", at.as_second(), at.subsec_nanosecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_stands_right_after_the_last_line() {
        let mut cursor = Cursor::default();
        assert_eq!(cursor.after(), None);
        assert_eq!(cursor.strip(b"2026-11-20T09:27:09.883585781Z life 2\n"), b"life 2\n");
        assert_eq!(cursor.after().unwrap(), "1795166829.883585782");
        assert_eq!(cursor.strip(b"2026-11-20T09:27:09.999999999Z \n"), b"\n");
        assert_eq!(cursor.after().unwrap(), "1795166830.000000000");
        assert_eq!(cursor.strip(b"2026-11-20T09:27:11.5Z \xff \n"), b"\xff \n", "bytes are nobody's business here");
        assert_eq!(cursor.after().unwrap(), "1795166831.500000001");
    }
}
