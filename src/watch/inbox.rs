//! Where the system's events and the orders of the rest of devctl wait for the one thread that works them off. Bounded:
//! the same path many times is one entry, and too many paths become "look at everything".

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many paths wait at most.
const PATHS: usize = 4096;

/// How long the thread lets further events of a storm come before it looks at the first.
const GATHER: Duration = Duration::from_millis(20);

/// The same where so much happened that everything has to be looked at: that is not done often while it goes on.
const GATHER_LOST: Duration = Duration::from_millis(200);

/// What happened since the last look.
#[derive(Debug)]
pub(super) struct Mail<O> {
    /// The paths that something happened to, and whether it was that they went away.
    pub(super) paths: HashMap<PathBuf, bool>,
    /// Events were lost, by the system or here.
    pub(super) lost: bool,
    /// What the system complained about.
    pub(super) errors: Vec<notify::Error>,
    /// What was asked for, in order.
    pub(super) orders: Vec<O>,
}

impl<O> Default for Mail<O> {
    fn default() -> Self {
        Self { paths: HashMap::new(), lost: false, errors: Vec::new(), orders: Vec::new() }
    }
}

impl<O> Mail<O> {
    fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.lost && self.errors.is_empty() && self.orders.is_empty()
    }
}

/// The inbox itself.
#[derive(Debug)]
pub(super) struct Inbox<O> {
    state: Mutex<(Mail<O>, bool)>,
    news: Condvar,
}

impl<O> Default for Inbox<O> {
    fn default() -> Self {
        Self { state: Mutex::new((Mail::default(), false)), news: Condvar::new() }
    }
}

impl<O> Inbox<O> {
    /// Something happened to a path.
    pub(super) fn path(&self, path: PathBuf, gone: bool) {
        let mut state = self.state();
        let mail = &mut state.0;
        if mail.lost {
            return;
        }
        *mail.paths.entry(path).or_default() |= gone;
        if mail.paths.len() > PATHS {
            mail.paths = HashMap::new();
            mail.lost = true;
        }
        self.news.notify_one();
    }

    /// Events were lost.
    pub(super) fn lost(&self) {
        let mut state = self.state();
        state.0.paths = HashMap::new();
        state.0.lost = true;
        self.news.notify_one();
    }

    /// The system complained.
    pub(super) fn error(&self, error: notify::Error) {
        let mut state = self.state();
        // One of a kind is enough, and there may be one for each of many folders.
        if state.0.errors.len() < 8 {
            state.0.errors.push(error);
        }
        self.news.notify_one();
    }

    /// Asks for something.
    pub(super) fn order(&self, order: O) {
        self.state().0.orders.push(order);
        self.news.notify_one();
    }

    /// Nobody listens any more.
    pub(super) fn close(&self) {
        self.state().1 = true;
        self.news.notify_one();
    }

    /// The paths that wait now; they stay.
    pub(super) fn peek(&self) -> Vec<PathBuf> {
        self.state().0.paths.keys().cloned().collect()
    }

    /// Waits until there is something, or until `until`. `None` once the inbox is closed.
    pub(super) fn take(&self, until: Option<Instant>) -> Option<Mail<O>> {
        let mut state = self.state();
        // Until something is there, for as long as there is time.
        let idle = |(mail, closed): &mut (Mail<O>, bool)| mail.is_empty() && !*closed;
        state = match until {
            None => self.news.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner),
            Some(at) => self.wait(state, at.saturating_duration_since(now()), idle),
        };
        // Then a little longer, as events come in flocks; an order is not kept waiting.
        if !state.0.is_empty() {
            let pause = if state.0.lost { GATHER_LOST } else { GATHER };
            state = self.wait(state, pause, |(mail, closed)| mail.orders.is_empty() && !*closed);
        }
        if state.1 { None } else { Some(std::mem::take(&mut state.0)) }
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, (Mail<O>, bool)>,
        time: Duration,
        pause: impl FnMut(&mut (Mail<O>, bool)) -> bool,
    ) -> MutexGuard<'a, (Mail<O>, bool)> {
        self.news.wait_timeout_while(state, time, pause).unwrap_or_else(PoisonError::into_inner).0
    }

    fn state(&self) -> MutexGuard<'_, (Mail<O>, bool)> {
        // What is kept here stays whole if a holder panics: each change is one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> Instant {
    crate::os::clock::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_takes_no_more_memory_than_its_bound() {
        let inbox: Inbox<()> = Inbox::default();
        for n in 0..PATHS {
            inbox.path(n.to_string().into(), false);
            inbox.path(n.to_string().into(), n == 7);
        }
        let mail = inbox.take(None).unwrap();
        assert_eq!((mail.paths.len(), mail.lost), (PATHS, false));
        assert_eq!(mail.paths.iter().filter(|(_, gone)| **gone).count(), 1);
        for n in 0..100_000 {
            inbox.path(n.to_string().into(), false);
        }
        let mail = inbox.take(None).unwrap();
        assert_eq!((mail.paths.len(), mail.lost), (0, true));
    }

    #[test]
    fn the_wait_ends_with_an_order_with_time_and_with_the_end() {
        let inbox: Inbox<u8> = Inbox::default();
        assert!(inbox.take(Some(now())).unwrap().is_empty());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| inbox.take(None).unwrap().orders);
            inbox.order(7);
            assert_eq!(waiting.join().unwrap(), [7]);
            let waiting = scope.spawn(|| inbox.take(None).is_none());
            inbox.close();
            assert!(waiting.join().unwrap());
        });
    }
}
