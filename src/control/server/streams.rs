//! What goes on and on: events and lines, as JSON, one a line. A reader that is slow costs a bounded queue and nothing
//! else; an empty line now and then tells it that somebody is still there.

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::{FutureExt as _, Stream, stream};
use serde::Deserialize;

use super::Shared;
use super::door::{Busy, Guest};
use super::routes::query;
use crate::control::Supervisor;
use crate::control::event_log::{Batch, Follow};
use crate::control::wire::{EventLine, LogEntry, Problem, Refusal};
use crate::logs::{Delivery, LogLine, Subscription};
use crate::name::ServiceName;

/// How often an empty line is sent when there is nothing else. Clients wait three times as long.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);

/// How many chunks of log may wait for a slow client before lines are dropped.
const LOG_CHUNKS: usize = 256;

/// How many bytes of log are sent at a time.
const BATCH: usize = 64 * 1024;

/// How many lines of each service are sent to whoever does not say.
const TAIL: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EventQuery {
    from: u64,
    follow: bool,
}

impl Default for EventQuery {
    fn default() -> Self {
        Self { from: 1, follow: false }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LogQuery {
    /// Names with commas between them.
    service: Option<String>,
    tail: Option<usize>,
    follow: bool,
}

/// `GET /v1/events`.
pub(super) async fn events(
    State(shared): State<Shared>,
    Extension(guest): Extension<Guest>,
    uri: Uri,
) -> Result<Response, Problem> {
    let EventQuery { from, follow } = query(&uri)?;
    let reader = shared.supervisor.events().follow(from);
    let events = Events { supervisor: shared.supervisor, reader, follow, _busy: guest.busy() };
    Ok(ndjson(stream::unfold(events, |mut events| async { Some((events.next().await?, events)) })))
}

struct Events {
    supervisor: Arc<dyn Supervisor>,
    reader: Follow,
    follow: bool,
    _busy: Busy,
}

impl Events {
    async fn next(&mut self) -> Option<String> {
        let batch = if self.follow {
            match tokio::time::timeout(HEARTBEAT, self.reader.next()).await {
                Ok(batch) => batch?,
                Err(_) => return Some("\n".to_owned()),
            }
        } else {
            self.reader.kept()?
        };
        Some(match batch {
            Batch::Lines(lines) => lines,
            // The status is made after the gap was found, so that it tells of all that is missing.
            Batch::Gap(gap) => line(&EventLine::Gap { gap, status: Box::new(self.supervisor.status()) }),
        })
    }
}

/// `GET /v1/logs`.
pub(super) async fn logs(
    State(shared): State<Shared>,
    Extension(guest): Extension<Guest>,
    uri: Uri,
) -> Result<Response, Problem> {
    let LogQuery { service, tail, follow } = query(&uri)?;
    let known: Vec<String> = shared.supervisor.status().services.into_iter().map(|service| service.service).collect();
    let wanted = wanted(service.as_deref(), &known)?;
    let all: Vec<ServiceName> = match &wanted {
        Some(wanted) => wanted.iter().cloned().collect(),
        None => known.iter().filter_map(|name| name.parse().ok()).collect(),
    };
    let hub = shared.supervisor.logs();
    // Listening begins before the look at what was, so that nothing is missed in between.
    let mut live = hub.subscribe(LOG_CHUNKS);
    let last = tail.unwrap_or(if follow { 0 } else { TAIL });
    let tails: Vec<Vec<LogLine>> = all.iter().map(|service| hub.tail(service, last.max(1))).collect();
    let seen: HashMap<ServiceName, jiff::Timestamp> =
        tails.iter().filter_map(|lines| lines.last().map(|line| (line.service.clone(), line.at))).collect();
    let mut lines: Vec<LogLine> = if last == 0 { Vec::new() } else { tails.into_iter().flatten().collect() };
    // Stable: lines of one moment stay in their order.
    lines.sort_by_key(|line| line.at);
    let mut waiting: VecDeque<Piece> = VecDeque::from([Piece::Lines(lines)]);
    while let Some(Some(delivery)) = live.recv().now_or_never() {
        waiting.push_back(match delivery {
            // What came between listening and looking was seen already.
            Delivery::Lines(lines) => Piece::Lines(
                lines.into_iter().filter(|line| seen.get(&line.service).is_none_or(|seen| line.at > *seen)).collect(),
            ),
            Delivery::Dropped(dropped) => Piece::Dropped(dropped),
        });
    }
    // The hub is let go of: its end is the end of the logs.
    drop(hub);
    let logs = Logs { wanted, waiting, live: follow.then_some(live), shared, _busy: guest.busy() };
    Ok(ndjson(stream::unfold(logs, |mut logs| async { Some((logs.next().await?, logs)) })))
}

/// Whose lines are wanted; `None` where all are.
fn wanted(service: Option<&str>, known: &[String]) -> Result<Option<HashSet<ServiceName>>, Problem> {
    let Some(names) = service else { return Ok(None) };
    let mut wanted = HashSet::new();
    for name in names.split(',') {
        match name.parse::<ServiceName>() {
            Ok(parsed) if known.iter().any(|known| known == name) => wanted.insert(parsed),
            Ok(_) => return Err(Refusal::NoService { name: name.to_owned(), known: known.to_vec() }.into()),
            Err(error) => return Err(Problem::bad_request(error.to_string())),
        };
    }
    Ok(Some(wanted))
}

/// What is to be sent.
enum Piece {
    Lines(Vec<LogLine>),
    /// So many lines were not for this reader.
    Dropped(u64),
}

impl From<Delivery> for Piece {
    fn from(delivery: Delivery) -> Self {
        match delivery {
            Delivery::Lines(lines) => Self::Lines(lines.into_iter().collect()),
            Delivery::Dropped(dropped) => Self::Dropped(dropped),
        }
    }
}

struct Logs {
    wanted: Option<HashSet<ServiceName>>,
    /// What is there already.
    waiting: VecDeque<Piece>,
    /// What comes, where it is wanted.
    live: Option<Subscription>,
    shared: Shared,
    _busy: Busy,
}

impl Logs {
    async fn next(&mut self) -> Option<String> {
        loop {
            let piece = if let Some(piece) = self.waiting.pop_front() {
                piece
            } else {
                let live = self.live.as_mut()?;
                tokio::select! {
                    // What was printed before the end is sent before the end.
                    biased;
                    delivery = live.recv() => Piece::from(delivery?),
                    () = self.shared.closing.cancelled() => return None,
                    () = tokio::time::sleep(HEARTBEAT) => return Some("\n".to_owned()),
                }
            };
            let text = self.take(piece);
            if !text.is_empty() {
                return Some(text);
            }
        }
    }

    /// As much of a delivery as is sent at a time; the rest waits.
    fn take(&mut self, piece: Piece) -> String {
        let mut text = String::new();
        match piece {
            Piece::Dropped(dropped) => text = line(&LogEntry::Dropped { dropped }),
            Piece::Lines(lines) => {
                let mut lines = lines.into_iter();
                while text.len() < BATCH {
                    let Some(LogLine { service, stream, at, text: printed, .. }) = lines.next() else { return text };
                    if self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&service)) {
                        text.push_str(&line(&LogEntry::Line { service, stream, at, line: printed }));
                    }
                }
                self.waiting.push_front(Piece::Lines(lines.collect()));
            }
        }
        text
    }
}

fn line(value: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string(value).expect("what is sent is plain data");
    text.push('\n');
    text
}

fn ndjson(lines: impl Stream<Item = String> + Send + 'static) -> Response {
    use futures_util::StreamExt as _;
    let body = Body::from_stream(lines.map(Ok::<_, Infallible>));
    ([(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")], body).into_response()
}
