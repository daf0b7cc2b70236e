//! Where the events of a run go: into its record, into the log that other terminals read, and to the terminal of its
//! own, where it has one.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::control::EventLog;
use crate::control::wire::Phase;
use crate::event::{Event, EventKind, Outcome, millis};
use crate::os::clock;
use crate::state::StateDir;
use crate::state::last_run::{End, LastRun};
use crate::state::record::Record;
use crate::state::record_writer::RecordWriter;

/// Takes events and passes them on, in one order for everybody. Cheap to clone.
#[derive(Clone)]
pub(super) struct Outlet {
    inner: Arc<Inner>,
}

struct Inner {
    began: Instant,
    log: EventLog,
    state: StateDir,
    told: Mutex<Told>,
    /// Without it the record is written by whoever changes it: the system has no thread left.
    writer: Mutex<Option<RecordWriter>>,
}

struct Told {
    record: Record,
    phase: Phase,
    /// How long it took until everything was ready, the last time.
    ready_ms: Option<u64>,
    /// The reporter of the run's own terminal.
    reporter: Option<UnboundedSender<Event>>,
    /// Whoever in this process has to know.
    listeners: Vec<UnboundedSender<Event>>,
    /// Whether a failure to write the record was told already.
    trouble: bool,
    /// Whether the last check found nothing left.
    clean: bool,
}

impl Outlet {
    /// Passes events on to `reporter`, where there is one.
    pub(super) fn new(
        began: Instant,
        state: StateDir,
        record: Record,
        reporter: Option<UnboundedSender<Event>>,
    ) -> Self {
        let told = Told {
            record,
            phase: Phase::Starting,
            ready_ms: None,
            reporter,
            listeners: Vec::new(),
            trouble: false,
            clean: false,
        };
        let inner = Arc::new(Inner {
            began,
            log: EventLog::new(),
            state: state.clone(),
            told: Mutex::new(told),
            writer: Mutex::default(),
        });
        let outlet = |weak: &Weak<Inner>| weak.upgrade().map(|inner| Self { inner });
        let (now, told) = (Arc::downgrade(&inner), Arc::downgrade(&inner));
        let current = move || outlet(&now).map(|outlet| outlet.now().0);
        let failed = move |error| {
            if let Some(outlet) = outlet(&told) {
                outlet.cannot_write(&error);
            }
        };
        *lock(&inner.writer) = RecordWriter::start(state, current, failed).ok();
        Self { inner }
    }

    /// The log that other terminals read.
    pub(super) fn log(&self) -> EventLog {
        self.inner.log.clone()
    }

    /// Says something that did not come out of the engine.
    pub(super) fn say(&self, kind: EventKind) {
        let at_ms = millis(clock::now().duration_since(self.inner.began));
        self.event(Event { at_ms, kind });
    }

    /// Passes an event on.
    pub(super) fn event(&self, event: Event) {
        let changed = {
            let mut told = self.lock();
            match &event.kind {
                EventKind::StackReady { elapsed_ms, .. } => {
                    (told.phase, told.ready_ms) = (Phase::Up, Some(*elapsed_ms));
                }
                EventKind::StackStopping { .. } => told.phase = Phase::Stopping,
                EventKind::Receipt(receipt) => told.clean = receipt.left.is_empty(),
                _ => {}
            }
            told.record.apply(&event)
        };
        if changed {
            self.changed();
        }
        if let EventKind::StackReady { .. } = event.kind {
            // Whoever waited for this may look at the record next.
            self.flush();
        }
        self.pass_on(&self.lock(), event);
    }

    fn pass_on(&self, told: &Told, event: Event) {
        self.inner.log.push(&event);
        for listener in &told.listeners {
            // One that is gone minds nothing any more.
            let _ = listener.send(event.clone());
        }
        if let Some(reporter) = &told.reporter {
            // A reporter that is gone has asked for the end of the run already.
            let _ = reporter.send(event);
        }
    }

    /// All events from now on.
    pub(super) fn listen(&self) -> UnboundedReceiver<Event> {
        let (tell, told) = unbounded_channel();
        self.lock().listeners.push(tell);
        told
    }

    /// Changes the record; for what no event tells. It is on disk afterwards.
    pub(super) fn amend(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.lock().record);
        self.changed();
        self.flush();
    }

    /// How long it took until everything was ready, the last time.
    pub(super) fn ready_ms(&self) -> Option<u64> {
        self.lock().ready_ms
    }

    /// How everything is now.
    pub(super) fn now(&self) -> (Record, Phase) {
        let told = self.lock();
        (told.record.clone(), told.phase)
    }

    /// Sees to it that the record is written. Not to be called with anything locked.
    fn changed(&self) {
        if let Some(writer) = &*lock(&self.inner.writer) {
            writer.changed();
            return;
        }
        let record = self.lock().record.clone();
        if let Err(error) = record.write(&self.inner.state) {
            self.cannot_write(&error);
        }
    }

    /// Waits until all changes are on disk.
    fn flush(&self) {
        if let Some(writer) = &*lock(&self.inner.writer) {
            writer.flush();
        }
    }

    /// Says once that the record cannot be written; the run itself does not need it.
    fn cannot_write(&self, error: &io::Error) {
        let mut told = self.lock();
        if std::mem::replace(&mut told.trouble, true) {
            return;
        }
        let message = format!("cannot write `{}`: {error}", self.inner.state.path().join("run.json").display());
        let hints = vec![
            "free some space: the record is how the next command finds what runs, should devctl be killed".to_owned(),
        ];
        let at_ms = millis(clock::now().duration_since(self.inner.began));
        self.pass_on(&told, Event { at_ms, kind: EventKind::Warning { node: None, message, hints } });
    }

    /// The run is over. Where something of it is left, the record stays, and the next `up` looks after that.
    pub(super) fn finish(&self, outcome: Outcome) {
        self.inner.log.close();
        self.flush();
        let writer = lock(&self.inner.writer).take();
        drop(writer);
        let mut told = self.lock();
        told.reporter = None;
        let end = match outcome {
            Outcome::Done => End::Done,
            Outcome::Interrupted(_) => End::Interrupted,
            Outcome::Failed | Outcome::Environment | Outcome::NotReady => End::Failed,
        };
        // `why` knows less of it where it cannot be written.
        let _ = LastRun::of(told.record.clone(), end).write(&self.inner.state);
        if told.clean {
            // A record that cannot be removed costs the next `up` one look for what is not there.
            let _ = Record::clear(&self.inner.state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        lock(&self.inner.told)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
