//! Keeps the record of a run on disk up to date without making anybody wait for the disk: at most one write is under way,
//! and the next one writes the newest state. So a burst of events costs a few writes and not one for each.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::StateDir;
use super::record::Record;
use crate::os::clock;

/// The pause between two writes: what happens meanwhile is written together. A run that is killed in it is known by the
/// environment of its processes.
const PAUSE: Duration = Duration::from_millis(20);

/// How many times as long as a write the pause is at least: a large record must not keep a processor busy.
const SHARE: u32 = 20;

/// Writes a record whenever it has changed. Dropped, it ends without writing once more.
pub struct RecordWriter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    progress: Mutex<Progress>,
    changed: Condvar,
    written: Condvar,
}

#[derive(Default)]
struct Progress {
    /// How often the record has changed.
    changes: u64,
    /// How many of these changes are on disk, or could not be written.
    written: u64,
    /// Somebody waits for it: no pause.
    urgent: bool,
    over: bool,
}

impl RecordWriter {
    /// Starts the thread that writes. `current` gives the record as it is, while there is one; `failed` hears of every
    /// failure.
    pub fn start(
        state: StateDir,
        current: impl Fn() -> Option<Record> + Send + 'static,
        failed: impl Fn(io::Error) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared { progress: Mutex::default(), changed: Condvar::new(), written: Condvar::new() });
        let own = Arc::clone(&shared);
        let work = move || {
            let mut pause = Duration::ZERO;
            while let Some(changes) = own.wait(pause) {
                let began = clock::now();
                if let Some(Err(error)) = current().map(|record| record.write(&state)) {
                    failed(error);
                }
                own.wrote(changes);
                pause = PAUSE.max(clock::now().duration_since(began) * SHARE);
            }
        };
        let thread = std::thread::Builder::new().name("devctl-record".to_owned()).spawn(work)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Says that the record has changed. Never waits.
    pub fn changed(&self) {
        self.shared.lock().changes += 1;
        self.shared.changed.notify_one();
    }

    /// Waits until every change so far is written.
    pub fn flush(&self) {
        let mut progress = self.shared.lock();
        let changes = progress.changes;
        while progress.written < changes && !progress.over {
            progress.urgent = true;
            self.shared.changed.notify_one();
            progress = self.shared.written.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for RecordWriter {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_one();
        // Whoever holds the record last may be the thread itself.
        let thread = self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id());
        if let Some(thread) = thread {
            // It has nothing to say; that it panicked was printed.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Pauses, waits until there is something to write, and answers how many changes will be written with it; `None` at
    /// the end.
    fn wait(&self, pause: Duration) -> Option<u64> {
        let wait = self.changed.wait_timeout_while(self.lock(), pause, |now| !now.urgent && !now.over);
        let mut progress = wait.unwrap_or_else(PoisonError::into_inner).0;
        let nothing = |now: &mut Progress| now.changes == now.written && !now.over;
        progress = self.changed.wait_while(progress, nothing).unwrap_or_else(PoisonError::into_inner);
        progress.urgent = false;
        (!progress.over).then_some(progress.changes)
    }

    fn wrote(&self, changes: u64) {
        self.lock().written = changes;
        self.written.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        // Each change is one step.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn what_is_flushed_is_on_disk_and_a_burst_costs_few_writes() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::of(folder.path());
        let record = Arc::new(Mutex::new(Record::default()));
        let asked = Arc::new(AtomicU32::new(0));
        let current = {
            let (record, asked) = (Arc::clone(&record), Arc::clone(&asked));
            move || {
                asked.fetch_add(1, Ordering::Relaxed);
                Some(record.lock().unwrap().clone())
            }
        };
        let writer = RecordWriter::start(state.clone(), current, |error| panic!("{error}")).unwrap();
        for round in 1..=3 {
            for pid in 0..1000 {
                record.lock().unwrap().pid = round * 1000 + pid;
                writer.changed();
            }
            writer.flush();
            assert_eq!(Record::read(&state).unwrap().pid, round * 1000 + 999);
        }
        drop(writer);
        // Each write takes all changes that came before it; a thousand changes take less than a pause or a few.
        let writes = asked.load(Ordering::Relaxed);
        assert!(writes < 3000, "{writes} writes");
    }

    #[test]
    fn nobody_waits_for_a_disk_that_fails() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".devctl"), "a file where the folder should be").unwrap();
        let failures = Arc::new(AtomicU32::new(0));
        let told = Arc::clone(&failures);
        let state = StateDir::of(folder.path());
        let failed = move |_| {
            told.fetch_add(1, Ordering::Relaxed);
        };
        let writer = RecordWriter::start(state, || Some(Record::default()), failed).unwrap();
        writer.changed();
        writer.flush();
        drop(writer);
        assert_eq!(failures.load(Ordering::Relaxed), 1);
    }
}
