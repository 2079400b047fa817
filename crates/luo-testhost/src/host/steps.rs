// SPDX-License-Identifier: MIT OR Apache-2.0
//! Steps of the engine: each runs under the lock, or sleeps in a queue until another has
//! woken it.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use luo_abi::errno::Errno;
use luo_core::ops;
use luo_core::{Engine, Error, Lock, Spot};

use super::TestHost;
use crate::ledger::in_step;
use crate::script::Call;

impl TestHost {
    /// Runs a step until it need not wait. `place` is where the engine asks for it.
    fn turn<R>(
        &self,
        place: &'static Location<'static>,
        killable: bool,
        mut step: impl FnMut(&mut Engine<Self>) -> Poll<R>,
    ) -> Result<R, Errno> {
        if let Some(turns) = &self.turns {
            turns.step(self, place);
            let mut slept: Option<Sleep<'_>> = None;
            loop {
                let mut engine = self.engine.lock().unwrap();
                let answer = in_step(|| step(&mut engine));
                if let Poll::Ready(answer) = answer {
                    slept.iter().for_each(Sleep::assert_woken);
                    self.wake(&mut engine);
                    turns.stepped();
                    return Ok(answer);
                }
                // One that sleeps on sleeps in the queue of its last look.
                slept = Some(self.sleep(&engine));
                drop(engine);
                turns.wait(self, killable)?;
            }
        }
        let _ = self.called(Call::Step, 0, "");
        let mut engine = self.engine.lock().unwrap();
        let mut slept: Option<Sleep<'_>> = None;
        loop {
            if let Poll::Ready(answer) = in_step(|| step(&mut engine)) {
                slept.iter().for_each(Sleep::assert_woken);
                self.wake(&mut engine);
                self.stepped.notify_all();
                return Ok(answer);
            }
            slept = Some(self.sleep(&engine));
            assert!(self.threaded, "would block, and nobody is there to end it");
            self.waiting.fetch_add(1, Ordering::SeqCst);
            let wait = self.stepped.wait_timeout(engine, Duration::from_secs(20));
            let (next, wait) = wait.unwrap();
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            assert!(!wait.timed_out(), "a wait that nobody ends");
            engine = next;
        }
    }
}

/// A caller who sleeps.
pub(super) struct Sleeper {
    spot: Spot,
    woken: AtomicBool,
}

/// A caller's sleep.
struct Sleep<'a> {
    host: &'a TestHost,
    sleeper: Arc<Sleeper>,
}

impl Sleep<'_> {
    fn assert_woken(&self) {
        let woken = self.sleeper.woken.load(Ordering::SeqCst);
        assert!(woken, "nobody woke {:?}", self.sleeper.spot);
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        let mut sleepers = self.host.sleepers.lock().unwrap();
        sleepers.retain(|sleeper| !Arc::ptr_eq(sleeper, &self.sleeper));
    }
}

impl TestHost {
    /// A step has to wait.
    fn sleep(&self, engine: &Engine<Self>) -> Sleep<'_> {
        let sleeper = Arc::new(Sleeper {
            spot: engine.spot(),
            woken: AtomicBool::new(false),
        });
        self.sleepers.lock().unwrap().push(Arc::clone(&sleeper));
        Sleep {
            host: self,
            sleeper,
        }
    }

    /// A step has run to its end.
    pub(super) fn wake(&self, engine: &mut Engine<Self>) {
        let sleepers = self.sleepers.lock().unwrap();
        for wake in engine.take_woken() {
            for sleeper in sleepers.iter().filter(|s| wake.concerns(s.spot)) {
                sleeper.woken.store(true, Ordering::SeqCst);
                self.wake_ups.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

impl TestHost {
    /// Runs a step for a caller who can be killed; with an error, for one that would get it
    /// at once in place of a wait.
    #[track_caller]
    fn turn_unless<R>(
        &self,
        gives_up: Option<Errno>,
        mut step: impl FnMut(&mut Engine<Self>) -> Poll<R>,
    ) -> Result<R, Errno> {
        let step = |engine: &mut Engine<Self>| match (step(engine), gives_up) {
            (Poll::Ready(done), _) => Poll::Ready(Ok(done)),
            (Poll::Pending, Some(errno)) => Poll::Ready(Err(errno)),
            (Poll::Pending, None) => Poll::Pending,
        };
        self.turn(Location::caller(), true, step)?
    }
}

impl Lock for TestHost {
    #[track_caller]
    fn now<R>(&self, step: impl FnOnce(&mut Engine<Self>) -> R) -> R {
        let mut step = Some(step);
        self.wait(|engine| {
            let step = step.take().expect("a step that never waits runs once");
            Poll::Ready(step(engine))
        })
    }

    #[track_caller]
    fn now_killable<R>(&self, step: impl FnOnce(&mut Engine<Self>) -> R) -> Result<R, Errno> {
        match self.kills_before.load(Ordering::SeqCst) {
            true => Err(Errno::EAGAIN),
            false => Ok(self.now(step)),
        }
    }

    #[track_caller]
    fn at_once<R>(&self, step: impl FnOnce(&mut Engine<Self>) -> R) -> Result<R, Errno> {
        self.steps_at_once.fetch_add(1, Ordering::SeqCst);
        self.now_killable(step)
    }

    #[track_caller]
    fn wait<R>(&self, step: impl FnMut(&mut Engine<Self>) -> Poll<R>) -> R {
        let turned = self.turn(Location::caller(), false, step);
        turned.unwrap_or_else(|errno| panic!("{errno} for one who cannot be killed"))
    }

    #[track_caller]
    fn wait_killable<R>(&self, step: impl FnMut(&mut Engine<Self>) -> Poll<R>) -> Result<R, Errno> {
        let is_killed = self.kills.load(Ordering::SeqCst);
        self.turn_unless(is_killed.then_some(Errno::EAGAIN), step)
    }

    #[track_caller]
    fn wait_patiently<R>(
        &self,
        step: impl FnMut(&mut Engine<Self>) -> Poll<R>,
    ) -> Result<R, Errno> {
        if self.impatient.load(Ordering::SeqCst) {
            return self.turn_unless(Some(Errno::EBUSY), step);
        }
        self.wait_killable(step)
    }

    fn leaves_rest_to_worker(&self) -> bool {
        self.leaves_rest.load(Ordering::SeqCst)
    }

    fn rest_is_wanted(&self) {
        self.rests_wanted.fetch_add(1, Ordering::SeqCst);
    }

    fn bring_over(&self) -> Option<Result<(), Error>> {
        if self.has_worker.load(Ordering::SeqCst) {
            return None;
        }
        Some(ops::take_over(self))
    }
}
