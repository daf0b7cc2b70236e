//! One subscriber's bounded queue. Adding to it never waits: a slow subscriber loses lines and is told how many, at the
//! place in the stream where they are missing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::chunk::Chunk;
use super::{Delivery, Lines};

/// How many bytes may wait for one subscriber, however few chunks they are: one that never reads costs no more.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// A queue between the hub and one subscriber.
pub(super) struct Queue {
    capacity: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    closed: bool,
}

enum Item {
    Chunk(Arc<Chunk>),
    Dropped(u64),
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), state: Mutex::default(), changed: Notify::new() }
    }

    /// Adds a chunk, or counts its lines as dropped where the subscriber is behind.
    pub(super) fn push(&self, chunk: &Arc<Chunk>) {
        {
            let mut state = self.lock();
            if state.items.len() < self.capacity && (state.bytes == 0 || state.bytes + chunk.bytes.len() <= MAX_BYTES) {
                state.bytes += chunk.bytes.len();
                state.items.push_back(Item::Chunk(Arc::clone(chunk)));
            } else if let Some(Item::Dropped(n)) = state.items.back_mut() {
                *n += chunk.count as u64;
            } else {
                // One more than the capacity, for the mark itself.
                state.items.push_back(Item::Dropped(chunk.count as u64));
            }
        }
        self.changed.notify_one();
    }

    /// Says that nothing more will come; what waits is still delivered.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// The next delivery; `None` once the queue is closed and empty. Cancelling loses nothing.
    pub(super) async fn pop(&self) -> Option<Delivery> {
        loop {
            {
                let mut state = self.lock();
                match state.items.pop_front() {
                    Some(Item::Chunk(chunk)) => {
                        state.bytes -= chunk.bytes.len();
                        return Some(Delivery::Lines(Lines::new(chunk)));
                    }
                    Some(Item::Dropped(n)) => return Some(Delivery::Dropped(n)),
                    None if state.closed => return None,
                    None => {}
                }
            }
            // A permit is stored where nobody waits yet, so a push between the look and the wait is not missed.
            self.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
