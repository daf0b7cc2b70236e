//! Takes what the workloads print and hands it to the ring, the subscribers and the files. Only the disk can make a
//! workload wait.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, mpsc, oneshot};

use super::chunk::Chunk;
use super::error_line::ErrorLines;
use super::file::{self, Message, Rotation, Trouble};
use super::frame::{Framer, MAX_LINE};
use super::mark::{Kind, Mark};
use super::mask::Masker;
use super::pinned::FIRST_LINES;
use super::queue::Queue;
use super::ring::Ring;
use super::{Delivery, LogLine, Stream};
use crate::name::ServiceName;
use crate::os::clock;

/// The smallest difference that stamps in the files have.
const TICK: SignedDuration = SignedDuration::from_micros(1);

/// How far a clock may be set back before its stamps go back too.
const SET_BACK: SignedDuration = SignedDuration::from_secs(1);

/// How many chunks may wait for the disk, at most 64 KiB each, before a workload has to.
const WAITING_FOR_DISK: usize = 32;

/// The logs of one run. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    services: Mutex<HashMap<ServiceName, Arc<ServiceLog>>>,
    shared: Arc<Shared>,
}

/// What the sinks need of the hub.
struct Shared {
    errors: ErrorLines,
    secrets: Masker,
    subscribers: Mutex<Vec<Weak<Queue>>>,
    files: Option<mpsc::Sender<Message>>,
    trouble: Trouble,
}

/// Closes the subscriptions once the hub and every sink are gone.
impl Drop for Shared {
    fn drop(&mut self) {
        for queue in lock(&self.subscribers).iter().filter_map(Weak::upgrade) {
            queue.close();
        }
    }
}

struct ServiceLog {
    service: ServiceName,
    shared: Arc<Shared>,
    state: Mutex<State>,
    printed: Arc<Notify>,
}

#[derive(Default)]
struct State {
    stdout: Framer,
    stderr: Framer,
    ring: Ring,
    first_error: Option<LogLine>,
    first_lines: Vec<LogLine>,
    /// How often the service was started.
    life: u32,
    /// The stamp of the last chunk or mark.
    last: Option<Timestamp>,
    /// Marks for which there was no place when they were made.
    marks: Vec<Mark>,
}

/// Where one workload's output goes. Cheap to clone.
#[derive(Clone)]
pub struct LogSink {
    log: Option<Arc<ServiceLog>>,
}

/// A reader of the live logs of all services.
pub struct Subscription {
    queue: Arc<Queue>,
}

impl Hub {
    /// Opens the logs of a run; files go to `folder` (`.devctl/logs`), where there is one.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self::with_rotation(folder, Rotation::default())
    }

    /// Opens the logs of a run with files of another size.
    pub fn with_rotation(folder: Option<PathBuf>, rotation: Rotation) -> Self {
        let trouble = Trouble::default();
        let files = folder.and_then(|folder| {
            let (sender, receiver) = mpsc::channel(WAITING_FOR_DISK);
            let told = trouble.clone();
            let thread = std::thread::Builder::new().name("devctl-logs".to_owned());
            match thread.spawn(move || file::run(folder, rotation, told, receiver)) {
                Ok(_) => Some(sender),
                Err(e) => {
                    trouble.send_replace(Some(format!("cannot start the thread that writes the log files: {e}")));
                    None
                }
            }
        });
        let shared = Shared {
            errors: ErrorLines::new(),
            secrets: Masker::default(),
            subscribers: Mutex::default(),
            files,
            trouble,
        };
        Self { inner: Arc::new(Inner { services: Mutex::default(), shared: Arc::new(shared) }) }
    }

    /// The sink of a service.
    pub fn sink(&self, service: &ServiceName) -> LogSink {
        LogSink { log: Some(self.log(service)) }
    }

    /// Tells one waiter of new output of a service. What was printed while nobody waited is told to the next who does.
    pub fn printed(&self, service: &ServiceName) -> Arc<Notify> {
        Arc::clone(&self.log(service).printed)
    }

    fn log(&self, service: &ServiceName) -> Arc<ServiceLog> {
        let mut services = lock(&self.inner.services);
        let log = services.entry(service.clone()).or_insert_with(|| {
            Arc::new(ServiceLog {
                service: service.clone(),
                shared: Arc::clone(&self.inner.shared),
                state: Mutex::default(),
                printed: Arc::default(),
            })
        });
        Arc::clone(log)
    }

    /// A sink that keeps nothing, for nodes that print nothing.
    pub fn null(&self) -> LogSink {
        LogSink { log: None }
    }

    /// Follows the live logs; `capacity` is how many chunks may wait before lines are dropped.
    pub fn subscribe(&self, capacity: usize) -> Subscription {
        let queue = Arc::new(Queue::new(capacity));
        lock(&self.inner.shared.subscribers).push(Arc::downgrade(&queue));
        Subscription { queue }
    }

    /// The last `n` lines of a service.
    pub fn tail(&self, service: &ServiceName, n: usize) -> Vec<LogLine> {
        self.look(service, |state| state.ring.tail(n)).unwrap_or_default()
    }

    /// The first line since the service's last start that looks like an error.
    pub fn first_error(&self, service: &ServiceName) -> Option<LogLine> {
        self.look(service, |state| state.first_error.clone()).flatten()
    }

    /// The first lines since the service's last start, which outlive any flood.
    pub fn first_lines(&self, service: &ServiceName) -> Vec<LogLine> {
        self.look(service, |state| state.first_lines.clone()).unwrap_or_default()
    }

    /// Takes these values out of everything that is printed from now on, before anybody sees or keeps it. Values that
    /// were given before stay secret; short ones, which ordinary words contain, are left alone.
    pub fn mask(&self, secrets: impl IntoIterator<Item = String>) {
        self.inner.shared.secrets.add(secrets);
    }

    /// Begins a new life of a service: its first error and its first lines are those of this start, and the files
    /// have a mark.
    pub fn restarted(&self, service: &ServiceName) {
        let log = self.log(service);
        let mut state = lock(&log.state);
        state.life += 1;
        state.forget();
        let kind = Kind::Start(state.life);
        log.mark(&mut state, kind);
    }

    /// Begins the build for the next life of a service, to which what it prints belongs.
    pub fn building(&self, service: &ServiceName) {
        let log = self.log(service);
        let mut state = lock(&log.state);
        state.forget();
        log.mark(&mut state, Kind::Build);
    }

    /// Writes what is buffered to the files.
    pub async fn flush(&self) {
        let Some(files) = &self.inner.shared.files else { return };
        let logs: Vec<Arc<ServiceLog>> = lock(&self.inner.services).values().cloned().collect();
        for log in logs {
            // A mark that found the writer's queue full waits for a chunk that may never come.
            let marks = std::mem::take(&mut lock(&log.state).marks);
            if !marks.is_empty() {
                // Without the writer there is no file to mark.
                let _ = files.send(Message::Marks(marks)).await;
            }
        }
        let (done, wait) = oneshot::channel();
        if files.send(Message::Flush(done)).await.is_ok() {
            // The writer is gone: nothing is buffered.
            let _ = wait.await;
        }
    }

    /// Waits until something is wrong with the files, and tells what, in one line. The last lines are in memory all the
    /// same, and services run on.
    pub async fn troubled(&self) -> String {
        let mut trouble = self.inner.shared.trouble.subscribe();
        let found = trouble.wait_for(Option::is_some).await;
        found.ok().and_then(|trouble| trouble.clone()).expect("the hub holds the sender, and it was waited for")
    }

    fn look<T>(&self, service: &ServiceName, what: impl FnOnce(&mut State) -> T) -> Option<T> {
        let log = lock(&self.inner.services).get(service).cloned()?;
        let mut state = lock(&log.state);
        Some(what(&mut state))
    }
}

impl LogSink {
    /// Takes a chunk of output; waits only when the disk is behind. Cancelling loses no line that was not waiting.
    pub async fn write(&self, stream: Stream, chunk: &[u8]) {
        let Some(log) = &self.log else { return };
        for piece in chunk.chunks(MAX_LINE) {
            log.take(|state| state.framer(stream).push(piece), stream).await;
        }
    }

    /// Says which process it is that prints from now on.
    pub fn started(&self, pid: u32) {
        let Some(log) = &self.log else { return };
        log.mark(&mut lock(&log.state), Kind::Pid(pid));
    }

    /// Ends a stream: a last line without its newline is a line too.
    pub async fn end(&self, stream: Stream) {
        let Some(log) = &self.log else { return };
        log.take(|state| state.framer(stream).end(), stream).await;
    }
}

impl ServiceLog {
    /// Puts a mark into the file, or leaves it to the next chunk where the writer's queue is full.
    fn mark(&self, state: &mut State, kind: Kind) {
        let Some(files) = &self.shared.files else { return };
        let mark = Mark { service: self.service.clone(), at: state.stamp(), kind };
        state.marks.push(mark);
        if let Ok(place) = files.try_reserve() {
            place.send(Message::Marks(std::mem::take(&mut state.marks)));
        }
    }

    async fn take(&self, frame: impl FnOnce(&mut State) -> Option<Box<[u8]>>, stream: Stream) {
        // The place in the writer's queue comes first: then nothing is half done if the future is dropped here, and
        // the files have the order of the ring.
        let place = match &self.shared.files {
            Some(files) => files.reserve().await.ok(),
            None => None,
        };
        let mut state = lock(&self.state);
        let Some(bytes) = frame(&mut state) else { return };
        let bytes = self.shared.secrets.mask(bytes);
        let chunk = Arc::new(Chunk::new(self.service.clone(), stream, state.stamp(), bytes));
        let first_error = state.remember(&chunk, &self.shared.errors);
        self.shared.publish(&chunk);
        if let Some(place) = place {
            let marks = std::mem::take(&mut state.marks);
            place.send(Message::Chunk(chunk, marks, first_error));
        }
        self.printed.notify_one();
    }
}

impl State {
    /// The time, later than that of any line before: a stamp names one chunk of a service. A clock that is set back by
    /// more than a moment is believed.
    fn stamp(&mut self) -> Timestamp {
        let now = clock::timestamp();
        let next = self.last.map(|last| last.saturating_add(TICK).expect("a tick is a fixed span of time"));
        let at = match next {
            Some(next) if next > now && next.duration_since(now) < SET_BACK => next,
            Some(_) | None => now,
        };
        self.last = Some(at);
        at
    }

    fn forget(&mut self) {
        self.first_error = None;
        self.first_lines.clear();
    }

    fn framer(&mut self, stream: Stream) -> &mut Framer {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// Keeps what has to be at hand; gives back the first error of the start where it is in this chunk.
    fn remember(&mut self, chunk: &Arc<Chunk>, errors: &ErrorLines) -> Option<LogLine> {
        let mut found = None;
        if self.first_error.is_none() {
            self.first_error = errors.first(&chunk.bytes).map(|raw| chunk.line(raw));
            found.clone_from(&self.first_error);
        }
        if self.first_lines.len() < FIRST_LINES {
            let room = FIRST_LINES - self.first_lines.len();
            self.first_lines.extend(chunk.lines_from(0).take(room));
        }
        self.ring.push(Arc::clone(chunk));
        found
    }
}

impl Shared {
    fn publish(&self, chunk: &Arc<Chunk>) {
        lock(&self.subscribers).retain(|queue| {
            let Some(queue) = queue.upgrade() else { return false };
            queue.push(chunk);
            true
        });
    }
}

impl Subscription {
    /// The next delivery; `None` when the logs are closed.
    pub async fn recv(&mut self) -> Option<Delivery> {
        self.queue.pop().await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept here stays whole if a holder panics: each change is one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn api() -> ServiceName {
        "api".parse().unwrap()
    }

    fn texts(lines: &[LogLine]) -> Vec<&str> {
        lines.iter().map(|l| l.text.as_str()).collect()
    }

    #[tokio::test]
    async fn lines_reach_ring_and_subscriber() {
        let hub = Hub::new(None);
        let mut live = hub.subscribe(8);
        let sink = hub.sink(&api());
        sink.write(Stream::Stdout, b"one\r\ntwo\npart").await;
        let Some(Delivery::Lines(lines)) = live.recv().await else { panic!("no lines") };
        assert_eq!(texts(&lines.iter().collect::<Vec<_>>()), ["one", "two"]);
        sink.write(Stream::Stderr, b"err\n").await;
        sink.end(Stream::Stdout).await;
        let tail = hub.tail(&api(), 2);
        assert_eq!(texts(&tail), ["err", "part"]);
        assert_eq!((tail[0].stream, tail[1].stream), (Stream::Stderr, Stream::Stdout));
        assert!(tail[0].at <= tail[1].at);
        drop((hub, sink));
        let mut rest = 0;
        while let Some(Delivery::Lines(lines)) = live.recv().await {
            rest += lines.len();
        }
        assert_eq!(rest, 2);
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told_what_it_missed_and_where() {
        let hub = Hub::new(None);
        let mut slow = hub.subscribe(2);
        let sink = hub.sink(&api());
        for i in 0..5 {
            sink.write(Stream::Stdout, format!("{i}a\n{i}b\n").as_bytes()).await;
        }
        for expected in [Some(vec!["0a", "0b"]), Some(vec!["1a", "1b"]), None] {
            match (slow.recv().await.unwrap(), expected) {
                (Delivery::Lines(lines), Some(expected)) => {
                    assert_eq!(texts(&lines.iter().collect::<Vec<_>>()), expected);
                }
                (Delivery::Dropped(n), None) => assert_eq!(n, 6),
                (other, _) => panic!("{other:?}"),
            }
        }
        sink.write(Stream::Stdout, b"after\n").await;
        assert!(matches!(slow.recv().await, Some(Delivery::Lines(l)) if l.iter().all(|l| l.text == "after")));
    }

    #[tokio::test]
    async fn the_first_error_and_the_first_lines_belong_to_the_last_start() {
        let hub = Hub::new(None);
        let sink = hub.sink(&api());
        assert_eq!(hub.first_error(&api()), None);
        sink.write(Stream::Stdout, b"starting\nERROR: first\nERROR: second\n").await;
        for i in 0..3_000 {
            sink.write(Stream::Stdout, format!("{i}\n").as_bytes()).await;
        }
        assert_eq!(hub.first_error(&api()).unwrap().text, "ERROR: first");
        assert_eq!(texts(&hub.first_lines(&api()))[..2], ["starting", "ERROR: first"]);
        hub.restarted(&api());
        assert_eq!(hub.first_error(&api()), None);
        sink.write(Stream::Stderr, b"again\nERROR: third\n").await;
        assert_eq!(hub.first_error(&api()).unwrap().text, "ERROR: third");
        assert_eq!(texts(&hub.first_lines(&api())), ["again", "ERROR: third"]);
    }

    #[tokio::test]
    async fn a_null_sink_keeps_nothing() {
        let hub = Hub::new(None);
        hub.null().write(Stream::Stdout, b"x\n").await;
        hub.flush().await;
        assert!(hub.tail(&api(), 9).is_empty());
        assert_eq!(hub.troubled().now_or_never(), None);
    }

    #[tokio::test]
    async fn a_line_that_is_no_text_and_one_without_end_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::new(Some(dir.path().to_owned()));
        let sink = hub.sink(&api());
        let long = vec![b'x'; 3 * MAX_LINE];
        sink.write(Stream::Stdout, &long).await;
        sink.write(Stream::Stdout, b"\n\xffend").await;
        sink.end(Stream::Stdout).await;
        hub.flush().await;
        let mut reader =
            super::super::read::open(dir.path(), &super::super::read::Query::default(), Vec::new()).unwrap();
        let lines = reader.next().await.unwrap().unwrap();
        assert_eq!(lines.iter().map(|l| l.text.matches('x').count()).sum::<usize>(), 3 * MAX_LINE + 1);
        assert_eq!(lines.last().unwrap().text, "\\xffend");
        assert_eq!(
            lines,
            hub.tail(&api(), 99).into_iter().map(|l| LogLine { at: trim(l.at), ..l }).collect::<Vec<_>>()
        );
    }

    #[tokio::test]
    async fn secrets_reach_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::new(Some(dir.path().to_owned()));
        hub.mask(["hunter22".to_owned()]);
        let mut live = hub.subscribe(8);
        let sink = hub.sink(&api());
        sink.write(Stream::Stdout, b"it is hun").await;
        sink.write(Stream::Stdout, b"ter22, again hunter22\n").await;
        hub.flush().await;
        let Some(Delivery::Lines(lines)) = live.recv().await else { panic!("no lines") };
        assert_eq!(texts(&lines.iter().collect::<Vec<_>>()), ["it is ***, again ***"]);
        assert_eq!(texts(&hub.tail(&api(), 9)), ["it is ***, again ***"]);
        let file = std::fs::read_to_string(dir.path().join("api.log")).unwrap();
        assert!(file.ends_with(" O it is ***, again ***\n"), "{file}");
    }

    #[tokio::test]
    async fn starts_are_marked_and_no_stamp_comes_twice() {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::new(Some(dir.path().to_owned()));
        let sink = hub.sink(&api());
        hub.building(&api());
        hub.restarted(&api());
        sink.started(42);
        for _ in 0..WAITING_FOR_DISK * 4 {
            sink.write(Stream::Stdout, b"x\n").await;
        }
        hub.restarted(&api());
        hub.flush().await;
        let file = std::fs::read_to_string(dir.path().join("api.log")).unwrap();
        let marks: Vec<&str> = file.lines().filter_map(|line| line[27..].strip_prefix(" S ")).collect();
        assert_eq!(marks, ["build", "start 1", "pid 42", "start 2"]);
        let stamps: Vec<&str> = file.lines().map(|line| &line[..27]).collect();
        assert!(stamps.is_sorted_by(|a, b| a < b), "{file}");
    }

    /// The files keep microseconds.
    fn trim(at: jiff::Timestamp) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(at.as_microsecond()).unwrap()
    }
}
