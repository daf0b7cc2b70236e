//! Thins out progress: a build that finds everything compiled reports hundreds of crates within a millisecond, and
//! whoever watches wants to see where it is now and then. The last of what was reported always gets through.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indexmap::IndexMap;

use crate::event::Progress;
use crate::os::clock;

/// At most one step of a node in that time.
const EVERY: Duration = Duration::from_millis(100);

/// Where steps go.
type Sink = Arc<dyn Fn(Progress) + Send + Sync>;

/// Lets a step through now and again, and keeps the latest of each part until its turn comes.
pub(super) struct Throttle {
    sink: Sink,
    state: Mutex<State>,
    wake: tokio::sync::Notify,
}

#[derive(Default)]
struct State {
    /// When the next step may go.
    next: Option<Instant>,
    /// The latest step of each part that has not been told, the one that waits longest first.
    waiting: IndexMap<Option<String>, Progress>,
}

impl Throttle {
    pub(super) fn new(sink: Sink) -> Arc<Self> {
        Arc::new(Self { sink, state: Mutex::default(), wake: tokio::sync::Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a step in. Never blocks.
    pub(super) fn on(&self, step: Progress) {
        let told = self.state().on(step, clock::now());
        match told {
            Some(step) => (self.sink)(step),
            None => self.wake.notify_one(),
        }
    }

    /// Drives `work` to its end and lets steps through meanwhile, the last ones at the end.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let done = loop {
            let due = self.state().due();
            tokio::select! {
                biased;
                done = &mut work => break done,
                () = tokio::time::sleep_until(due.unwrap_or_else(clock::now).into()), if due.is_some() => {
                    let told = self.state().turn(clock::now());
                    if let Some(step) = told {
                        (self.sink)(step);
                    }
                }
                () = self.wake.notified() => {}
            }
        };
        let last = std::mem::take(&mut self.state().waiting);
        for step in last.into_values() {
            (self.sink)(step);
        }
        done
    }
}

impl State {
    /// What is to be told now that a step came.
    fn on(&mut self, step: Progress, now: Instant) -> Option<Progress> {
        // A part that is complete is the last of its phase; few of them come, and none may be lost.
        if step.total > 0 && step.done >= step.total {
            self.waiting.shift_remove(&step.part);
            return Some(step);
        }
        self.waiting.insert(step.part.clone(), step);
        self.turn(now)
    }

    /// The next step, if it is time for one.
    fn turn(&mut self, now: Instant) -> Option<Progress> {
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        let (_, step) = self.waiting.shift_remove_index(0)?;
        self.next = Some(now + EVERY);
        Some(step)
    }

    /// When the next turn is, where something waits for it.
    fn due(&self) -> Option<Instant> {
        if self.waiting.is_empty() { None } else { self.next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(part: &str, done: u64, total: u64) -> Progress {
        Progress { what: "x".to_owned(), part: Some(part.to_owned()), done, total, unit: "crates" }
    }

    #[test]
    fn a_flood_becomes_ten_a_second_and_parts_take_turns() {
        let begin = clock::now();
        let mut state = State::default();
        let mut told = Vec::new();
        for ms in 0..1000 {
            let now = begin + Duration::from_millis(ms);
            told.extend(state.on(step("a", ms, 0), now));
            told.extend(state.on(step("b", ms, 0), now));
        }
        assert_eq!(told.len(), 10, "{told:?}");
        let of = |part: &str| told.iter().filter(|step| step.part.as_deref() == Some(part)).count();
        assert_eq!((of("a"), of("b")), (5, 5));
        assert!(told.windows(2).all(|pair| pair[0].done <= pair[1].done), "the latest of each: {told:?}");
    }

    #[test]
    fn the_end_of_a_part_is_told_at_once_and_nothing_older_after_it() {
        let now = clock::now();
        let mut state = State::default();
        assert!(state.on(step("a", 1, 9), now).is_some());
        assert_eq!(state.on(step("a", 8, 9), now), None);
        assert_eq!(state.on(step("a", 9, 9), now), Some(step("a", 9, 9)));
        assert_eq!((state.due(), state.turn(now + EVERY)), (None, None));
    }

    #[tokio::test]
    async fn what_waits_is_told_in_time_and_the_last_at_the_end() {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let throttle = Throttle::new(Arc::new(move |step: Progress| tell.send(step.done).unwrap()));
        let doing = Arc::clone(&throttle);
        let work = async {
            for done in 1..=50 {
                doing.on(step("a", done, 0));
            }
            // Silence follows: the compiler is at a large crate, and which one is worth knowing.
            let seen = [told.recv().await, told.recv().await];
            doing.on(step("a", 51, 0));
            doing.on(step("a", 52, 0));
            seen
        };
        assert_eq!(throttle.during(work).await, [Some(1), Some(50)]);
        assert_eq!(told.recv().await, Some(52));
    }
}
