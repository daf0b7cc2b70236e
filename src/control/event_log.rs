//! The events of a run, numbered, for readers that come late, are slow, or come back.
//!
//! A bounded ring of lines of JSON, made once and shared by all readers. Writing never waits: a reader that is too slow
//! for the ring is told of a gap. Progress is kept only while it goes on, and thinned: it is most of what a run says and
//! the least of what it means.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::{Notify, watch};

use super::wire::Gap;
use crate::event::{Event, EventKind, Progress};
use crate::name::NodeId;

/// How many events are kept.
const MAX_EVENTS: usize = 8_192;

/// How many bytes of them are kept.
const MAX_BYTES: usize = 1024 * 1024;

/// At most one event of progress in so many milliseconds about one thing.
const PROGRESS_EVERY_MS: u64 = 100;

/// How many bytes a reader is given at a time, unless one event is longer.
const BATCH: usize = 64 * 1024;

/// The events of a run. Cheap to clone; all clones are one log.
#[derive(Clone)]
pub struct EventLog {
    inner: Arc<Inner>,
}

struct Inner {
    ring: Mutex<Ring>,
    /// Changes with every event and at the end.
    changed: watch::Sender<()>,
    /// Told once somebody reads.
    followed: Notify,
    max_events: usize,
    max_bytes: usize,
}

#[derive(Default)]
struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
    /// The number of the last event; the first is 1.
    last: u64,
    /// The number of the newest event that had to make room.
    lost: u64,
    /// What is in progress, and when it was last told.
    progress: HashMap<NodeId, HashMap<Option<String>, u64>>,
    closed: bool,
}

struct Line {
    seq: u64,
    /// With its newline.
    json: Arc<str>,
    /// Whose progress it tells.
    progress_of: Option<NodeId>,
}

/// What a reader is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Batch {
    /// Events, one line of JSON each ([`super::wire::Numbered`]).
    Lines(String),
    /// Events were let go of before this reader came to them; go on after it.
    Gap(Gap),
}

/// A reader of the log.
pub struct Follow {
    inner: Arc<Inner>,
    changed: watch::Receiver<()>,
    /// The number of the next event for this reader.
    at: u64,
}

impl Default for EventLog {
    fn default() -> Self {
        Self::new()
    }
}

impl EventLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::with_bounds(MAX_EVENTS, MAX_BYTES)
    }

    fn with_bounds(max_events: usize, max_bytes: usize) -> Self {
        let (changed, _) = watch::channel(());
        Self {
            inner: Arc::new(Inner { ring: Mutex::default(), changed, followed: Notify::new(), max_events, max_bytes }),
        }
    }

    /// Adds an event.
    pub fn push(&self, event: &Event) {
        {
            let mut ring = self.inner.lock();
            if ring.closed || ring.is_too_much(event) {
                return;
            }
            ring.last += 1;
            let numbered = Borrowed { seq: ring.last, event };
            let mut json = serde_json::to_string(&numbered).expect("an event is plain data");
            json.push('\n');
            let progress_of = match &event.kind {
                EventKind::Progress { node, .. } => Some(node.clone()),
                kind => {
                    ring.forget_progress(kind);
                    None
                }
            };
            let line = Line { seq: ring.last, json: json.into(), progress_of };
            ring.bytes += line.json.len();
            ring.lines.push_back(line);
            // The newest is kept, however long it is.
            while ring.lines.len() > 1
                && (ring.lines.len() > self.inner.max_events || ring.bytes > self.inner.max_bytes)
            {
                if let Some(old) = ring.lines.pop_front() {
                    ring.bytes -= old.json.len();
                    ring.lost = old.seq;
                }
            }
        }
        self.inner.changed.send_replace(());
    }

    /// The number that the next event will have.
    pub fn next_seq(&self) -> u64 {
        self.inner.lock().last + 1
    }

    /// How many readers there are.
    pub fn readers(&self) -> usize {
        self.inner.changed.receiver_count()
    }

    /// Waits until somebody has begun to read, now or before. For one waiter.
    pub async fn followed(&self) {
        self.inner.followed.notified().await;
    }

    /// Says that no event will come any more: readers end once they have read what there is.
    pub fn close(&self) {
        self.inner.lock().closed = true;
        self.inner.changed.send_replace(());
    }

    /// Reads the events from number `from` on: those that are kept, then those that come.
    pub fn follow(&self, from: u64) -> Follow {
        self.inner.followed.notify_one();
        Follow { inner: Arc::clone(&self.inner), changed: self.inner.changed.subscribe(), at: from.max(1) }
    }
}

/// [`super::wire::Numbered`], without a copy of the event.
#[derive(Serialize)]
struct Borrowed<'a> {
    seq: u64,
    #[serde(flatten)]
    event: &'a Event,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Ring> {
        // Nothing panics while it is held, except for want of memory.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    /// Whether an event tells of progress too soon after the last. The end of it is always told.
    fn is_too_much(&mut self, event: &Event) -> bool {
        let EventKind::Progress { node, progress } = &event.kind else { return false };
        let Progress { part, done, total, .. } = progress;
        let is_end = *total > 0 && done >= total;
        let parts = self.progress.entry(node.clone()).or_default();
        match parts.get_mut(part) {
            Some(last) if !is_end && event.at_ms < last.saturating_add(PROGRESS_EVERY_MS) => true,
            Some(last) => {
                *last = event.at_ms;
                false
            }
            None => {
                parts.insert(part.clone(), event.at_ms);
                false
            }
        }
    }

    /// Once there is more to say of a node, its progress tells a late reader nothing.
    fn forget_progress(&mut self, kind: &EventKind) {
        let (EventKind::Completed { node, .. } | EventKind::Failed { node, .. } | EventKind::Stopped { node, .. }) =
            kind
        else {
            return;
        };
        if self.progress.remove(node).is_some() {
            self.lines.retain(|line| line.progress_of.as_ref() != Some(node));
            self.bytes = self.lines.iter().map(|line| line.json.len()).sum();
        }
    }
}

impl Follow {
    /// The next events, as soon as there are any; `None` once the log is closed and read. Cancelling loses nothing.
    pub async fn next(&mut self) -> Option<Batch> {
        loop {
            // Seen before the look: what comes between the look and the wait ends the wait at once.
            self.changed.borrow_and_update();
            match self.now() {
                Now::Batch(batch) => return Some(batch),
                Now::Closed => return None,
                Now::Nothing => {}
            }
            // The sender lives in what `self.inner` keeps alive.
            if self.changed.changed().await.is_err() {
                return None;
            }
        }
    }

    /// The next events that are there already; `None` where there are none now.
    pub fn kept(&mut self) -> Option<Batch> {
        match self.now() {
            Now::Batch(batch) => Some(batch),
            Now::Nothing | Now::Closed => None,
        }
    }

    /// The number of the next event for this reader.
    pub fn at(&self) -> u64 {
        self.at
    }

    fn now(&mut self) -> Now {
        let ring = self.inner.lock();
        if self.at <= ring.lost {
            let gap = Gap { from: self.at, to: ring.lost + 1 };
            self.at = gap.to;
            return Now::Batch(Batch::Gap(gap));
        }
        let first = ring.lines.partition_point(|line| line.seq < self.at);
        let mut text = String::new();
        for line in ring.lines.range(first..) {
            if !text.is_empty() && text.len() + line.json.len() > BATCH {
                break;
            }
            text.push_str(&line.json);
            self.at = line.seq + 1;
        }
        match text.is_empty() {
            false => Now::Batch(Batch::Lines(text)),
            true if ring.closed => Now::Closed,
            true => Now::Nothing,
        }
    }
}

enum Now {
    Batch(Batch),
    Nothing,
    Closed,
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::super::wire::{EventLine, Numbered};
    use super::*;

    fn note(n: u64) -> Event {
        Event { at_ms: n, kind: EventKind::Note { message: format!("note {n}") } }
    }

    fn progress(at_ms: u64, done: u64) -> Event {
        let progress = Progress { what: "downloading".to_owned(), part: None, done, total: 10, unit: "bytes" };
        Event { at_ms, kind: EventKind::Progress { node: NodeId::Image("a".into()), progress } }
    }

    fn seqs(batch: Option<Batch>) -> Vec<u64> {
        let Some(Batch::Lines(text)) = batch else { panic!("{batch:?}") };
        let seq = |line: &str| match serde_json::from_str(line).unwrap() {
            EventLine::Event(Numbered { seq, .. }) => seq,
            EventLine::Gap { .. } => panic!("{line}"),
        };
        text.lines().map(seq).collect()
    }

    #[tokio::test]
    async fn a_late_reader_gets_what_was_and_then_what_comes() {
        let log = EventLog::new();
        assert_eq!(log.next_seq(), 1);
        (1..=3).for_each(|n| log.push(&note(n)));
        let (mut all, mut some) = (log.follow(0), log.follow(3));
        assert_eq!(seqs(all.next().await), [1, 2, 3]);
        assert_eq!(seqs(some.next().await), [3]);
        assert!(all.next().now_or_never().is_none());
        let waiting = tokio::spawn(async move { (seqs(all.next().await), all.next().await) });
        log.push(&note(4));
        // Nothing more is taken in after the end.
        log.close();
        log.push(&note(5));
        assert_eq!(waiting.await.unwrap(), (vec![4], None));
        assert_eq!(log.next_seq(), 5);
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_of_the_gap_once() {
        let log = EventLog::with_bounds(3, usize::MAX);
        let mut slow = log.follow(1);
        (1..=10).for_each(|n| log.push(&note(n)));
        assert_eq!(slow.next().await, Some(Batch::Gap(Gap { from: 1, to: 8 })));
        assert_eq!(seqs(slow.next().await), [8, 9, 10]);
        log.push(&note(11));
        assert_eq!(seqs(slow.next().await), [11]);
        // From the future, as after a restart of the supervisor: nothing to tell yet.
        assert_eq!(log.follow(99).kept(), None);
    }

    #[test]
    fn the_bytes_are_bounded_and_the_newest_event_is_always_there() {
        let log = EventLog::with_bounds(usize::MAX, 1_000);
        let long = Event { at_ms: 0, kind: EventKind::Note { message: "x".repeat(5_000) } };
        for event in [note(1), note(2), long] {
            log.push(&event);
        }
        let mut reader = log.follow(1);
        assert_eq!(reader.kept(), Some(Batch::Gap(Gap { from: 1, to: 3 })));
        assert_eq!(seqs(reader.kept()), [3]);
        (0..100).for_each(|n| log.push(&note(n)));
        assert!(log.inner.lock().bytes <= 1_000);
    }

    #[test]
    fn progress_is_thinned_and_forgotten_at_its_end() {
        let log = EventLog::new();
        // The first, one a tenth of a second later, and the last are kept.
        for event in [progress(0, 1), progress(50, 2), progress(100, 3), progress(110, 4), progress(120, 10)] {
            log.push(&event);
        }
        assert_eq!(log.next_seq(), 4);
        log.push(&Event { at_ms: 130, kind: EventKind::Completed { node: NodeId::Image("a".into()), elapsed_ms: 1 } });
        // What is left out because it means nothing any more is no gap.
        assert_eq!(seqs(log.follow(1).kept()), [4]);
        let ring = log.inner.lock();
        assert_eq!(ring.bytes, ring.lines[0].json.len());
    }
}
