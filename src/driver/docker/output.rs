//! What a container prints, from its first line or from now on, through all restarts.
//!
//! Read from the engine's log rather than by attaching: an attachment ends with each life of the container, and the
//! first lines of the next one would be lost. The log stamps each line, so that reading goes on exactly where it ended.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error as Call;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::{Stream, StreamExt};
use tokio::sync::watch;

use super::Docker;
use super::fate::Fate;
use super::running::{Look, PAUSE, look};
use crate::logs::{LogSink, Stream as LogStream};

/// The longest pause between two looks at a container whose log ended and which the engine is about to restart.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

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
        copy(read(&docker, &id, &cursor, true), &logs, &mut cursor).await;
        match look(&docker, &id, None).await {
            // Between two lives, or an engine that came back.
            Look::Lives { .. } => {
                pause = if cursor == before { LONGEST_PAUSE.min(pause * 2) } else { PAUSE };
                tokio::time::sleep(pause).await;
            }
            Look::Ended { .. } => {
                // What was printed between the end of the log and the look.
                copy(read(&docker, &id, &cursor, false), &logs, &mut cursor).await;
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
) -> impl Stream<Item = Result<LogOutput, Call>> + use<> {
    let options = LogsOptionsBuilder::default().follow(follow).stdout(true).stderr(true).timestamps(true).tail("all");
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
            let stream = match &message {
                LogOutput::StdOut { .. } | LogOutput::Console { .. } | LogOutput::StdIn { .. } => LogStream::Stdout,
                LogOutput::StdErr { .. } => LogStream::Stderr,
            };
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
