//! Who is in which room, and the queue in front of each client. Fan-out never waits: a client whose queue is full is
//! let go, because its loss is its own and waiting for it would be everyone's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::room::RoomName;

/// All rooms of this gateway.
#[derive(Debug)]
pub(crate) struct Hub {
    rooms: Mutex<HashMap<RoomName, Vec<Member>>>,
    queue_frames: usize,
    queue_bytes: usize,
}

/// The sending end of a client's queue.
#[derive(Debug)]
struct Member {
    id: Uuid,
    queue: mpsc::Sender<Utf8Bytes>,
    waiting: Arc<AtomicUsize>,
    slow: CancellationToken,
}

/// A client's place in a room; dropping it leaves the room.
#[derive(Debug)]
pub(crate) struct Seat {
    hub: Arc<Hub>,
    room: RoomName,
    id: Uuid,
    queue: mpsc::Receiver<Utf8Bytes>,
    waiting: Arc<AtomicUsize>,
    slow: CancellationToken,
}

/// How full the gateway is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Census {
    /// Clients.
    pub(crate) connections: usize,
    /// Rooms with at least one client.
    pub(crate) rooms: usize,
}

impl Hub {
    /// Makes a hub whose queues hold so many frames and bytes.
    pub(crate) fn new(queue_frames: usize, queue_bytes: usize) -> Arc<Self> {
        Arc::new(Self { rooms: Mutex::default(), queue_frames, queue_bytes })
    }

    /// No code that holds the lock can panic half-way through a change, so a poisoned lock is still whole.
    fn rooms(&self) -> MutexGuard<'_, HashMap<RoomName, Vec<Member>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a client in.
    pub(crate) fn join(self: &Arc<Self>, room: RoomName, id: Uuid) -> Seat {
        let (sender, queue) = mpsc::channel(self.queue_frames);
        let waiting = Arc::new(AtomicUsize::new(0));
        let slow = CancellationToken::new();
        let member = Member { id, queue: sender, waiting: Arc::clone(&waiting), slow: slow.clone() };
        self.rooms().entry(room.clone()).or_default().push(member);
        Seat { hub: Arc::clone(self), room, id, queue, waiting, slow }
    }

    /// Hands a frame to everyone in a room but its sender. The text is shared, not copied.
    pub(crate) fn deliver(&self, room: &str, from: Option<Uuid>, frame: &Utf8Bytes) {
        let mut rooms = self.rooms();
        let Some(members) = rooms.get_mut(room) else { return };
        members.retain(|member| Some(member.id) == from || member.offer(frame, self.queue_bytes));
        if members.is_empty() {
            rooms.remove(room);
        }
    }

    fn leave(&self, room: &RoomName, id: Uuid) {
        let mut rooms = self.rooms();
        if let Some(members) = rooms.get_mut(room) {
            members.retain(|member| member.id != id);
            if members.is_empty() {
                rooms.remove(room);
            }
        }
    }

    /// Counts clients and rooms.
    pub(crate) fn census(&self) -> Census {
        let rooms = self.rooms();
        Census { connections: rooms.values().map(Vec::len).sum(), rooms: rooms.len() }
    }
}

impl Member {
    /// Queues a frame; false if the client cannot take it and has to go.
    fn offer(&self, frame: &Utf8Bytes, most: usize) -> bool {
        let waiting = self.waiting.fetch_add(frame.len(), Ordering::Relaxed);
        // One frame may be larger than the bound, if it is alone.
        let fits = waiting == 0 || waiting + frame.len() <= most;
        let taken = fits && self.queue.try_send(frame.clone()).is_ok();
        if !taken {
            self.slow.cancel();
        }
        taken
    }
}

impl Seat {
    /// The client in it.
    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    /// The room it is in.
    pub(crate) fn room(&self) -> &RoomName {
        &self.room
    }

    /// Fires when the client was let go because it took too little.
    pub(crate) fn slow(&self) -> CancellationToken {
        self.slow.clone()
    }

    /// Waits for frames and takes what is there, so that many leave in one write. Nothing is lost when the call is
    /// cancelled.
    pub(crate) async fn take(&mut self, into: &mut Vec<Utf8Bytes>, most: usize) {
        if self.queue.recv_many(into, most).await == 0 {
            // The hub let go of us; `slow` says so too.
            self.slow.cancelled().await;
        }
        self.taken(into);
    }

    /// Takes what is there, without waiting.
    pub(crate) fn take_rest(&mut self, into: &mut Vec<Utf8Bytes>) {
        while let Ok(frame) = self.queue.try_recv() {
            into.push(frame);
        }
        self.taken(into);
    }

    fn taken(&self, frames: &[Utf8Bytes]) {
        self.waiting.fetch_sub(frames.iter().map(|frame| frame.len()).sum(), Ordering::Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.leave(&self.room, self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub() -> Arc<Hub> {
        Hub::new(4, 100)
    }

    fn rest(seat: &mut Seat) -> Vec<String> {
        let mut frames = Vec::new();
        seat.take_rest(&mut frames);
        frames.iter().map(|frame| frame.as_str().to_owned()).collect()
    }

    fn room(name: &str) -> RoomName {
        RoomName::parse(name).unwrap()
    }

    #[test]
    fn everyone_else_in_the_room_hears_it() {
        let hub = hub();
        let [mut a, mut b, mut c] =
            [("x", 1), ("x", 2), ("y", 3)].map(|(name, id)| hub.join(room(name), Uuid::from_u128(id)));
        hub.deliver("x", Some(a.id()), &"hi".into());
        hub.deliver("x", None, &"all".into());
        hub.deliver("nobody", None, &"lost".into());
        assert_eq!(
            (rest(&mut a), rest(&mut b), rest(&mut c)),
            (vec!["all".into()], vec!["hi".into(), "all".into()], vec![])
        );
        assert_eq!(hub.census(), Census { connections: 3, rooms: 2 });
    }

    #[test]
    fn leaving_empties_the_room() {
        let hub = hub();
        drop(hub.join(room("x"), Uuid::nil()));
        assert_eq!(hub.census(), Census { connections: 0, rooms: 0 });
    }

    #[test]
    fn a_full_queue_costs_its_owner_alone() {
        let hub = hub();
        let mut quick = hub.join(room("x"), Uuid::from_u128(1));
        let mut slow = hub.join(room("x"), Uuid::from_u128(2));
        for n in 0..5 {
            hub.deliver("x", None, &n.to_string().into());
            assert_eq!(rest(&mut quick), [n.to_string()]);
        }
        assert!(slow.slow().is_cancelled() && !quick.slow().is_cancelled());
        assert_eq!(hub.census().connections, 1);
        assert_eq!(rest(&mut slow).len(), 4);
    }

    #[test]
    fn bytes_are_bounded_too_but_one_large_frame_passes() {
        let hub = hub();
        let mut seat = hub.join(room("x"), Uuid::nil());
        for _ in 0..3 {
            hub.deliver("x", None, &"x".repeat(1000).into());
            assert_eq!(rest(&mut seat).len(), 1);
        }
        hub.deliver("x", None, &"x".repeat(60).into());
        assert!(!seat.slow().is_cancelled());
        hub.deliver("x", None, &"x".repeat(60).into());
        assert!(seat.slow().is_cancelled());
    }
}
