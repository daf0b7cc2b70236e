//! Where the events of a run go: into its record, into the log that other terminals read, and to the terminal of its
//! own, where it has one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::control::EventLog;
use crate::control::wire::Phase;
use crate::event::{Event, EventKind, Outcome, millis};
use crate::os::clock;
use crate::state::StateDir;
use crate::state::last_run::{End, LastRun};
use crate::state::record::Record;

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
}

struct Told {
    record: Record,
    phase: Phase,
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
        let told =
            Told { record, phase: Phase::Starting, reporter, listeners: Vec::new(), trouble: false, clean: false };
        Self { inner: Arc::new(Inner { began, log: EventLog::new(), state, told: Mutex::new(told) }) }
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
        let mut told = self.lock();
        match &event.kind {
            EventKind::StackReady { .. } => told.phase = Phase::Up,
            EventKind::StackStopping { .. } => told.phase = Phase::Stopping,
            EventKind::Receipt(receipt) => told.clean = receipt.left.is_empty(),
            _ => {}
        }
        let trouble = if told.record.apply(&event) { self.write(&mut told) } else { None };
        self.pass_on(&told, event);
        if let Some(kind) = trouble {
            let at_ms = millis(clock::now().duration_since(self.inner.began));
            self.pass_on(&told, Event { at_ms, kind });
        }
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

    /// Changes the record; for what no event tells.
    pub(super) fn amend(&self, change: impl FnOnce(&mut Record)) {
        let mut told = self.lock();
        change(&mut told.record);
        if let Some(kind) = self.write(&mut told) {
            let at_ms = millis(clock::now().duration_since(self.inner.began));
            self.pass_on(&told, Event { at_ms, kind });
        }
    }

    /// How everything is now.
    pub(super) fn now(&self) -> (Record, Phase) {
        let told = self.lock();
        (told.record.clone(), told.phase)
    }

    /// Writes the record; where that fails, answers once with what to say, since the run itself does not need it.
    fn write(&self, told: &mut Told) -> Option<EventKind> {
        let error = told.record.write(&self.inner.state).err()?;
        if std::mem::replace(&mut told.trouble, true) {
            return None;
        }
        let message = format!("cannot write `{}`: {error}", self.inner.state.path().join("run.json").display());
        let hints = vec!["`devctl ps` will not know of this run".to_owned()];
        Some(EventKind::Warning { node: None, message, hints })
    }

    /// The run is over. Where something of it is left, the record stays, and the next `up` looks after that.
    pub(super) fn finish(&self, outcome: Outcome) {
        self.inner.log.close();
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
        // Each change is one step.
        self.inner.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
