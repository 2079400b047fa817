// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where those wait whose step of the engine has to wait for another.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, MutexGuard, PoisonError};
use std::time::Duration;

use luo_core::{Engine, Host, QUEUES};

/// The queues that the engine knows by numbers.
pub(crate) struct Queues {
    queues: [Condvar; QUEUES],
    /// Those who sleep in any of them; changed under the engine's lock.
    sleepers: AtomicUsize,
}

type Guard<'a, H> = MutexGuard<'a, Engine<H>>;

impl Queues {
    pub(crate) fn new() -> Self {
        Self {
            queues: std::array::from_fn(|_| Condvar::new()),
            sleepers: AtomicUsize::new(0),
        }
    }

    /// A step has run to its end: wakes those whose condition it can have changed.
    pub(crate) fn wake<H: Host>(&self, engine: &mut Guard<'_, H>) {
        if self.sleepers.load(Ordering::Relaxed) == 0 {
            return engine.forget_woken();
        }
        for wake in engine.take_woken() {
            self.queues[wake.queue].notify_all();
        }
    }

    /// Wakes all, for those who look whether their caller is there still.
    pub(crate) fn wake_all(&self) {
        for queue in &self.queues {
            queue.notify_all();
        }
    }

    /// A step has to wait: sleeps where it is woken, for `most` at most.
    pub(crate) fn sleep<'a, H: Host>(
        &self,
        engine: Guard<'a, H>,
        most: Option<Duration>,
    ) -> Guard<'a, H> {
        let queue = &self.queues[engine.spot().queue()];
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        let engine = match most {
            None => queue.wait(engine),
            Some(most) => queue
                .wait_timeout(engine, most)
                .map(|(engine, _)| engine)
                .map_err(|poisoned| PoisonError::new(poisoned.into_inner().0)),
        };
        let engine = engine.unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
        engine
    }
}
