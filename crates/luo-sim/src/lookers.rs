// SPDX-License-Identifier: MIT OR Apache-2.0
//! Looks at pipes, each with an end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use luo_abi::errno::Errno;
use luo_core::held::PAUSE_MILLIS;

use crate::lock::lock;

/// Threads that look at pipes, by those. Whoever writes to a pipe has it locked for as long as
/// its memory takes, and here even a look at the size waits for that, with no way to end it. So
/// each is done by a thread of its own, one for a pipe, which stays behind if it takes too long.
#[derive(Default)]
pub(crate) struct Lookers(Mutex<BTreeSet<u64>>);

const PAUSE: Duration = Duration::from_millis(PAUSE_MILLIS as u64);

impl Lookers {
    /// Does something with a pipe for so many pauses at most, and takes those that it took.
    ///
    /// # Errors
    /// EBUSY at the end of them; ENOMEM: there can be no thread.
    pub(crate) fn within<T: Send + 'static>(
        self: &Arc<Self>,
        pipe: u64,
        patience: &mut u32,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Errno> {
        let begun = Instant::now();
        let end = begun + PAUSE * (*patience).max(1);
        let done = self.until(pipe, end, work);
        let took = begun.elapsed().as_millis() / PAUSE.as_millis();
        *patience = patience.saturating_sub(u32::try_from(took).unwrap_or(u32::MAX));
        done
    }

    fn until<T: Send + 'static>(
        self: &Arc<Self>,
        pipe: u64,
        end: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Errno> {
        let left = || end.saturating_duration_since(Instant::now());
        while !lock(&self.0).insert(pipe) {
            if left().is_zero() {
                return Err(Errno::EBUSY);
            }
            thread::sleep(left().min(PAUSE));
        }
        let (tell, told) = mpsc::channel();
        let own = Arc::clone(self);
        let looks = thread::Builder::new().spawn(move || {
            let done = work();
            lock(&own.0).remove(&pipe);
            // Nobody may wait for it any more.
            let _ = tell.send(done);
        });
        if looks.is_err() {
            lock(&self.0).remove(&pipe);
            return Err(Errno::ENOMEM);
        }
        told.recv_timeout(left()).map_err(|_| Errno::EBUSY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread that stays behind keeps others from its pipe alone.
    #[test]
    fn a_look_has_an_end() {
        let lookers = Arc::new(Lookers::default());
        let (go, wait) = mpsc::channel::<()>();
        let mut patience = 3;
        let stuck = lookers.within(1, &mut patience, move || wait.recv());
        assert_eq!((stuck.err(), patience), (Some(Errno::EBUSY), 0));
        assert_eq!(lookers.within(2, &mut 200, || 7), Ok(7));
        assert_eq!(lookers.within(1, &mut 1, || 7), Err(Errno::EBUSY));
        drop(go);
        let mut patience = 2000;
        assert_eq!(lookers.within(1, &mut patience, || 7), Ok(7));
        assert!(patience > 0);
    }
}
