// SPDX-License-Identifier: MIT OR Apache-2.0
//! Room for so many connections. When none is left, whoever has been quiet for longest leaves: a
//! connection that waits for a request, or for the rest of one, loses little. So a flood of
//! connections that say nothing, or say it slowly, keeps nobody out who speaks.
//!
//! ```text
//!            its request is whole
//!   quiet -------------------------> busy: it stays
//!     |   <-------------------------
//!     |      it is answered
//!     |--. TLS is agreed on: it is the one that has been quiet for shortest
//!     |<-'
//!     `--> leaves, when somebody else needs the room
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// For how long one may be quiet in any case: its request may be on its way, and TLS takes some turns
/// of the network before.
const GRACE: Duration = Duration::from_millis(250);

/// How long one that is told to leave may take before another one is.
const MOMENT: Duration = Duration::from_secs(1);

/// Room for connections.
pub struct Room {
    places: Arc<Semaphore>,
    quiet: Mutex<Quiet>,
}

/// Those that are quiet, the one that has been so for longest first.
#[derive(Default)]
struct Quiet {
    next: u64,
    guests: BTreeMap<u64, (Instant, Arc<Notify>)>,
}

fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Room {
    /// Room for so many.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            quiet: Mutex::default(),
        })
    }

    /// A place: one that is free, or that of somebody who is quiet. None if all are busy.
    pub async fn enter(self: &Arc<Self>) -> Option<Arc<Guest>> {
        loop {
            if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                return Some(Guest::new(self, place));
            }
            let patience = self.one_leaves()?;
            let place = Arc::clone(&self.places).acquire_owned();
            if let Ok(Ok(place)) = timeout(patience, place).await {
                return Some(Guest::new(self, place));
            }
        }
    }

    /// Has the one leave that has been quiet for longest, unless that is a moment only. Says how
    /// long to wait for a place; none if all are busy.
    fn one_leaves(&self) -> Option<Duration> {
        let mut quiet = locked(&self.quiet);
        let first = quiet.guests.first_entry()?;
        let since = first.get().0.elapsed();
        if since < GRACE {
            return Some(GRACE.saturating_sub(since));
        }
        first.remove().1.notify_one();
        Some(MOMENT)
    }
}

/// A connection that is let in.
pub struct Guest {
    room: Arc<Room>,
    leave: Arc<Notify>,
    /// Its number among those that are quiet, if it is.
    number: Mutex<Option<u64>>,
    _place: OwnedSemaphorePermit,
}

impl Guest {
    fn new(room: &Arc<Room>, place: OwnedSemaphorePermit) -> Arc<Self> {
        let guest = Self {
            room: Arc::clone(room),
            leave: Arc::default(),
            number: Mutex::default(),
            _place: place,
        };
        guest.falls_quiet();
        Arc::new(guest)
    }

    /// It waits for a request, or for the rest of one.
    pub fn falls_quiet(&self) {
        let mut number = locked(&self.number);
        if number.is_none() {
            let mut quiet = locked(&self.room.quiet);
            let next = quiet.next;
            quiet.next = next.wrapping_add(1);
            let own = (Instant::now(), Arc::clone(&self.leave));
            quiet.guests.insert(next, own);
            *number = Some(next);
        }
    }

    /// Its request is whole, and is seen to.
    pub fn gets_busy(&self) {
        if let Some(number) = locked(&self.number).take() {
            locked(&self.room.quiet).guests.remove(&number);
        }
    }

    /// It has shown that it means to speak, and is as quiet as one that has just come.
    pub fn has_come_further(&self) {
        self.gets_busy();
        self.falls_quiet();
    }

    /// Waits until it has to leave.
    pub async fn has_to_leave(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.gets_busy();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_quiet_for_longest_leaves_and_who_is_busy_stays() {
        let room = Room::new(2);
        let first = room.enter().await.unwrap();
        let second = room.enter().await.unwrap();
        first.gets_busy();
        let leaves = tokio::spawn(async move {
            second.has_to_leave().await;
        });
        let third = room.enter().await.unwrap();
        leaves.await.unwrap();
        third.gets_busy();
        assert!(room.enter().await.is_none(), "all are busy");
        // One that was answered is quiet again.
        first.falls_quiet();
        let leaves = tokio::spawn(async move {
            first.has_to_leave().await;
        });
        assert!(room.enter().await.is_some());
        leaves.await.unwrap();
        drop(third);
        assert!(room.enter().await.is_some());
    }

    #[tokio::test]
    async fn who_has_come_further_leaves_after_who_has_not() {
        let room = Room::new(2);
        let first = room.enter().await.unwrap();
        let second = room.enter().await.unwrap();
        first.has_come_further();
        let leaves = tokio::spawn(async move {
            second.has_to_leave().await;
        });
        assert!(room.enter().await.is_some());
        leaves.await.unwrap();
        drop(first);
    }
}
