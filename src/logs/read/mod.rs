//! Reads logs back, for `devctl logs`: the lines of several services merged by time, and what comes after. Works without
//! a running supervisor and never disturbs one.
//!
//! Memory is bounded by the number of services, not by the size of their logs: each is read block by block, from the
//! place where the query begins, as far as somebody takes its lines.

mod filter;
mod follow;
mod part;
mod source;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use self::filter::Filter;
use self::filter::Sieve;
use self::follow::Position;
use self::source::Source;
use super::LogLine;
use super::chunk::without_escapes;
use super::error_line::ErrorLines;
use crate::name::ServiceName;

/// How often new lines are looked for.
const POLL: Duration = Duration::from_millis(50);

/// How long the newest lines of several services are held back while following: what was read from one service a moment
/// before may be written a moment after.
const WINDOW: Duration = Duration::from_millis(100);

/// How many lines are given at once.
const BATCH: usize = 512;

/// What to read.
#[derive(Clone, Default)]
pub struct Query {
    /// Whose lines; everybody's where empty.
    pub services: Vec<ServiceName>,
    /// At most so many of the last lines of each service that `filter` lets through.
    pub tail: Option<usize>,
    /// Nothing before this.
    pub since: Option<Timestamp>,
    /// Nothing after this.
    pub until: Option<Timestamp>,
    /// Only what each service printed between its start before the last and its last.
    pub previous: bool,
    /// Only what each service printed since its last start.
    pub current: bool,
    /// Which lines.
    pub filter: Filter,
    /// Whether to go on with new lines.
    pub follow: bool,
}

/// Lines of a service that are not in files, such as those that the Docker Engine keeps. Nothing of them is read before
/// it is asked for, as the channels are bounded.
pub struct Remote {
    /// Whose.
    pub service: ServiceName,
    /// What there is already, oldest first, within the query's time.
    pub history: mpsc::Receiver<io::Result<LogLine>>,
    /// What comes after it.
    pub live: Option<mpsc::Receiver<LogLine>>,
}

/// The services that have files in a folder, by name.
pub fn services(folder: &Path) -> io::Result<Vec<ServiceName>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        names.extend(name.to_str().and_then(|n| n.strip_suffix(".log")).and_then(|n| n.parse().ok()));
    }
    names.sort();
    Ok(names)
}

/// The stamp of the last line that a service has in its files.
pub fn last_stamp(folder: &Path, service: &ServiceName) -> io::Result<Option<Timestamp>> {
    let query = Query { tail: Some(1), ..Query::default() };
    let (mut source, _) = Source::open(folder, service, &query)?;
    Ok(source.next()?.map(|line| line.at))
}

/// What one life of a service left in its log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// The first line that looks like an error.
    pub first_error: Option<String>,
    /// Its last lines, the oldest first.
    pub tail: Vec<String>,
}

/// How many lines of a life are looked through for an error: the cause of a bad end is seldom far from either end.
const LOOKED_THROUGH: usize = 50_000;

/// The last life of a service, or with `previous` the one before, with `n` of its last lines. Texts are without escapes.
pub fn life(folder: &Path, service: &ServiceName, previous: bool, n: usize) -> io::Result<Life> {
    let query = Query { previous, current: !previous, ..Query::default() };
    let plain = |line: LogLine| without_escapes(&line.text).into_owned();
    let (mut source, _) = Source::open(folder, service, &Query { tail: Some(n), ..query.clone() })?;
    let mut tail = Vec::new();
    while let Some(line) = source.next()? {
        tail.push(plain(line));
    }
    let errors = ErrorLines::new();
    let (mut source, _) = Source::open(folder, service, &query)?;
    for _ in 0..LOOKED_THROUGH {
        let Some(line) = source.next()? else { break };
        if errors.is_error(line.text.as_bytes()) {
            return Ok(Life { first_error: Some(plain(line)), tail });
        }
    }
    Ok(Life { first_error: None, tail })
}

/// Reads what `query` asks for, merged by time.
pub fn open(folder: &Path, query: &Query, remotes: Vec<Remote>) -> io::Result<Reader> {
    let names = if query.services.is_empty() { services(folder)? } else { query.services.clone() };
    let mut inputs = Vec::new();
    let mut follow = Follow { folder: folder.to_owned(), query: query.clone(), ..Follow::default() };
    for service in names {
        let (source, position) = Source::open(folder, &service, query)?;
        inputs.push(Input::Files(source));
        follow.positions.insert(service, position);
    }
    for Remote { service, history, live } in remotes {
        inputs.push(Input::Remote {
            history,
            sieve: Sieve::new(query.filter.clone()),
            tail: query.tail,
            kept: VecDeque::new(),
        });
        follow.live.extend(live.map(|live| (service, live)));
    }
    Ok(Reader {
        heads: inputs.iter().map(|_| None).collect(),
        stale: (0..inputs.len()).collect(),
        order: BinaryHeap::new(),
        given: vec![Timestamp::MIN; inputs.len()],
        batch: Vec::new(),
        follow: query.follow.then_some(follow),
        inputs,
    })
}

/// Lines merged by time. See [`open`].
pub struct Reader {
    inputs: Vec<Input>,
    /// The next line of each input.
    heads: Vec<Option<LogLine>>,
    /// The inputs whose next line is not known yet.
    stale: Vec<usize>,
    /// The inputs by the time of their next line. Never earlier than their last one: the order of one service stands,
    /// even where the clock was set back.
    order: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// The time of each input's last line.
    given: Vec<Timestamp>,
    batch: Vec<LogLine>,
    follow: Option<Follow>,
}

enum Input {
    Files(Source),
    Remote {
        history: mpsc::Receiver<io::Result<LogLine>>,
        sieve: Sieve,
        /// How many of the last lines are wanted; they are found by reading all, and no more are kept.
        tail: Option<usize>,
        kept: VecDeque<LogLine>,
    },
}

impl Input {
    /// The next line. Cancelling loses nothing.
    async fn next(&mut self) -> io::Result<Option<LogLine>> {
        match self {
            Self::Files(source) => source.next(),
            Self::Remote { history, sieve, tail, kept } => {
                while let Some(line) = history.recv().await {
                    let line = line?;
                    if !sieve.passes(&line) {
                        continue;
                    }
                    let Some(tail) = tail else { return Ok(Some(line)) };
                    kept.push_back(line);
                    if kept.len() > *tail {
                        kept.pop_front();
                    }
                }
                Ok(kept.pop_front())
            }
        }
    }
}

impl Reader {
    /// The next lines, oldest first; `None` when there will be no more. Cancelling loses nothing. An error is one of the
    /// disk's or the engine's, and asking again is allowed.
    pub async fn next(&mut self) -> io::Result<Option<Vec<LogLine>>> {
        while self.batch.len() < BATCH {
            match self.merged().await? {
                Some(line) => self.batch.push(line),
                None => break,
            }
        }
        match &mut self.follow {
            _ if !self.batch.is_empty() => Ok(Some(std::mem::take(&mut self.batch))),
            Some(follow) => follow.next().await.map(Some),
            None => Ok(None),
        }
    }

    /// The earliest of the next lines of all inputs.
    async fn merged(&mut self) -> io::Result<Option<LogLine>> {
        while let Some(&input) = self.stale.last() {
            let line = self.inputs[input].next().await?;
            self.stale.pop();
            if let Some(line) = line {
                self.order.push(Reverse((line.at.max(self.given[input]), input)));
                self.heads[input] = Some(line);
            }
        }
        let Some(Reverse((at, input))) = self.order.pop() else { return Ok(None) };
        self.given[input] = at;
        self.stale.push(input);
        Ok(self.heads[input].take())
    }
}

/// Lines as they are written.
#[derive(Default)]
struct Follow {
    folder: PathBuf,
    query: Query,
    positions: HashMap<ServiceName, Position>,
    live: Vec<(ServiceName, mpsc::Receiver<LogLine>)>,
    sieves: HashMap<ServiceName, Sieve>,
    /// Lines that were read and not given, by time and by the order in which they were read.
    held: BTreeMap<(Timestamp, u64), LogLine>,
    /// The time of each service's last line.
    last: HashMap<ServiceName, Timestamp>,
    /// When something was read, and the time of the newest line then.
    read: VecDeque<(Instant, Timestamp)>,
    count: u64,
}

impl Follow {
    /// Waits for lines. Cancelling loses nothing.
    async fn next(&mut self) -> io::Result<Vec<LogLine>> {
        loop {
            let more = self.poll()?;
            let lines = self.due();
            if !lines.is_empty() {
                return Ok(lines);
            }
            if !more {
                tokio::time::sleep(POLL).await;
            }
        }
    }

    /// Reads what is new. Tells whether there is more.
    fn poll(&mut self) -> io::Result<bool> {
        let names = if self.query.services.is_empty() { services(&self.folder)? } else { self.query.services.clone() };
        let (mut lines, mut more) = (Vec::new(), false);
        for service in names {
            let position = self.positions.entry(service.clone()).or_default();
            more |= position.advance(&self.folder, &service, &mut lines)?;
        }
        for (_, live) in &mut self.live {
            while lines.len() < BATCH
                && let Ok(line) = live.try_recv()
            {
                lines.push(line);
            }
        }
        let mut newest = None;
        for line in lines {
            let sieve =
                self.sieves.entry(line.service.clone()).or_insert_with(|| Sieve::new(self.query.filter.clone()));
            if self.query.since.is_some_and(|since| line.at < since) || !sieve.passes(&line) {
                continue;
            }
            let last = self.last.entry(line.service.clone()).or_insert(line.at);
            *last = line.at.max(*last);
            newest = newest.max(Some(*last));
            self.count += 1;
            self.held.insert((*last, self.count), line);
        }
        self.read.extend(newest.map(|newest| (Instant::now(), newest)));
        Ok(more)
    }

    /// The lines that nothing can come before any more.
    fn due(&mut self) -> Vec<LogLine> {
        // With one service there is nothing to wait for.
        let window =
            if self.last.len() > 1 || self.live.len() + self.positions.len() > 1 { WINDOW } else { Duration::ZERO };
        let now = Instant::now();
        let mut due = None;
        while let Some((_, newest)) = self.read.pop_front_if(|(at, _)| now - *at >= window) {
            due = due.max(Some(newest));
        }
        let Some(due) = due else { return Vec::new() };
        let later = self.held.split_off(&(due, u64::MAX));
        std::mem::replace(&mut self.held, later).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::logs::file::Rotation;
    use crate::logs::{Hub, LogSink, Stream};

    fn name(name: &str) -> ServiceName {
        name.parse().unwrap()
    }

    fn text(line: &LogLine) -> String {
        format!("{} {}", line.service, line.text)
    }

    async fn say(sink: &LogSink, text: &str) {
        sink.write(Stream::Stdout, text.as_bytes()).await;
    }

    /// All that a query finds.
    async fn all(folder: &Path, query: Query) -> Vec<String> {
        let mut reader = open(folder, &query, Vec::new()).unwrap();
        let mut found = Vec::new();
        while let Some(lines) = reader.next().await.unwrap() {
            found.extend(lines.iter().map(text));
        }
        found
    }

    fn last(n: usize) -> Query {
        Query { tail: Some(n), ..Query::default() }
    }

    #[tokio::test]
    async fn several_services_are_merged_by_time() {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::new(Some(dir.path().to_owned()));
        let (api, db) = (hub.sink(&name("api")), hub.sink(&name("db")));
        say(&api, "a1\n").await;
        say(&db, "d1\n").await;
        say(&api, "a2\na3\n").await;
        say(&db, "d2\n").await;
        hub.flush().await;
        assert_eq!(all(dir.path(), Query::default()).await, ["api a1", "db d1", "api a2", "api a3", "db d2"]);
        assert_eq!(all(dir.path(), last(1)).await, ["api a3", "db d2"]);
        assert_eq!(all(dir.path(), Query { services: vec![name("db")], ..last(9) }).await, ["db d1", "db d2"]);
        assert!(all(dir.path(), Query { services: vec![name("web")], ..last(9) }).await.is_empty());
        assert!(all(&dir.path().join("none"), Query::default()).await.is_empty());
        assert!(last_stamp(dir.path(), &name("db")).unwrap() > last_stamp(dir.path(), &name("api")).unwrap());
    }

    #[tokio::test]
    async fn lines_of_elsewhere_are_merged_in() {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::new(Some(dir.path().to_owned()));
        let api = hub.sink(&name("api"));
        let line = |text: &str| LogLine {
            service: name("db"),
            stream: Stream::Stdout,
            at: crate::os::clock::timestamp(),
            text: text.to_owned(),
        };
        let (history, from_history) = mpsc::channel(9);
        history.try_send(Ok(line("d1"))).unwrap();
        say(&api, "a1\n").await;
        history.try_send(Ok(line("d2"))).unwrap();
        say(&api, "a2\n").await;
        hub.flush().await;
        drop(history);
        let (live, from_live) = mpsc::channel(9);
        let remote = Remote { service: name("db"), history: from_history, live: Some(from_live) };
        let mut reader = open(dir.path(), &Query { follow: true, ..Query::default() }, vec![remote]).unwrap();
        let lines = reader.next().await.unwrap().unwrap();
        assert_eq!(lines.iter().map(text).collect::<Vec<_>>(), ["db d1", "api a1", "db d2", "api a2"]);
        // What arrives late by less than the window is put where it belongs.
        let late = line("d3");
        say(&api, "a3\n").await;
        hub.flush().await;
        assert!(reader.next().now_or_never().is_none(), "the window is open");
        live.try_send(late).unwrap();
        let lines = reader.next().await.unwrap().unwrap();
        assert_eq!(lines.iter().map(text).collect::<Vec<_>>(), ["db d3", "api a3"]);
    }

    #[tokio::test]
    async fn a_follower_misses_nothing_across_rotations_and_sees_new_services() {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::with_rotation(Some(dir.path().to_owned()), Rotation { bytes: 2_000, files: 4 });
        let api = hub.sink(&name("api"));
        say(&api, "before 1\nbefore 2\n").await;
        hub.flush().await;
        let mut follow = open(dir.path(), &Query { follow: true, ..last(1) }, Vec::new()).unwrap();
        let mut next = async || follow.next().await.unwrap().unwrap().iter().map(text).collect::<Vec<_>>();
        assert_eq!(next().await, ["api before 2"]);
        let mut expected = Vec::new();
        for round in 0..6 {
            // Each round rotates once or twice between two looks of the follower.
            for i in 0..80 {
                say(&api, &format!("line {round} {i}\n")).await;
                expected.push(format!("api line {round} {i}"));
                if i % 20 == 0 {
                    hub.flush().await;
                }
            }
            hub.flush().await;
            assert_eq!(next().await, expected, "round {round}");
            expected.clear();
        }
        say(&hub.sink(&name("web")), "new\n").await;
        hub.flush().await;
        assert_eq!(next().await, ["web new"]);
    }

    #[tokio::test]
    async fn lives_time_and_filters_narrow_what_is_read_over_rotated_files() {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::with_rotation(Some(dir.path().to_owned()), Rotation { bytes: 1_000, files: 9 });
        let api = hub.sink(&name("api"));
        let mut stamps = Vec::new();
        for life in 0..3 {
            hub.restarted(&name("api"));
            api.started(4242);
            for i in 0..20 {
                let level = if i % 5 == 0 { "WARN" } else { "INFO" };
                say(&api, &format!("{level} {life} {i}\n")).await;
                hub.flush().await;
                stamps.push(last_stamp(dir.path(), &name("api")).unwrap().unwrap());
            }
        }
        let expected = |range: std::ops::Range<usize>, step: usize| {
            let line = |n| format!("api {} {} {}", if n % 5 == 0 { "WARN" } else { "INFO" }, n / 20, n % 20);
            range.step_by(step).map(line).collect::<Vec<_>>()
        };
        let query = Query::default;
        assert_eq!(all(dir.path(), query()).await, expected(0..60, 1));
        assert_eq!(all(dir.path(), last(50)).await, expected(10..60, 1));
        assert_eq!(all(dir.path(), Query { previous: true, ..query() }).await, expected(20..40, 1));
        assert_eq!(all(dir.path(), Query { previous: true, ..last(3) }).await, expected(37..40, 1));
        assert_eq!(
            all(dir.path(), Query { since: Some(stamps[33]), until: Some(stamps[41]), ..query() }).await,
            expected(33..42, 1)
        );
        let warn = Filter::new(None, Some(crate::logs::level::Level::Warn));
        assert_eq!(all(dir.path(), Query { filter: warn.clone(), ..query() }).await, expected(0..60, 5));
        assert_eq!(all(dir.path(), Query { filter: warn, ..last(7) }).await, expected(25..60, 5));
        let grep = Filter::new(Some(regex::Regex::new(" 1 .*5$").unwrap()), None);
        assert_eq!(all(dir.path(), Query { filter: grep, ..query() }).await, ["api WARN 1 5", "api WARN 1 15"]);
    }

    #[tokio::test]
    async fn the_beginning_and_the_first_error_of_a_start_outlive_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let rotation = Rotation { bytes: 4_000, files: 2 };
        let mut kept = Vec::new();
        // Two runs: the second one must not forget the first.
        for run in 0..2 {
            let hub = Hub::with_rotation(Some(dir.path().to_owned()), rotation);
            let api = hub.sink(&name("api"));
            for life in 0..2 {
                hub.restarted(&name("api"));
                for i in 0..300 {
                    let what = if i % 90 == 89 { "ERROR:" } else { "line" };
                    let line = format!("{what} {run} {life} {i}");
                    say(&api, &format!("{line}\n")).await;
                    hub.flush().await;
                    if i < 20 || i == 89 {
                        kept.push(format!("api {line}"));
                    }
                }
            }
        }
        let found = all(dir.path(), Query::default()).await;
        let is_kept = |line: &&String| kept.contains(line);
        assert_eq!(found.iter().filter(is_kept).collect::<Vec<_>>(), kept.iter().collect::<Vec<_>>());
        // And then what the files have, without a gap and without a line that is there twice.
        let numbers =
            found.iter().filter(|line| !is_kept(line)).map(|line| line.rsplit(' ').next().unwrap().parse::<u32>());
        let numbers: Vec<u32> = numbers.map(Result::unwrap).collect();
        assert!(numbers.len() < 250, "{}", numbers.len());
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
        assert_eq!(numbers.last(), Some(&299));
        // The life before the last begins in what was pinned.
        let previous = all(dir.path(), Query { previous: true, ..Query::default() }).await;
        assert_eq!(previous[..2], ["api line 1 0 0", "api line 1 0 1"]);
        assert!(previous.iter().all(|line| line.contains(" 1 0 ")), "{previous:?}");
    }
}
