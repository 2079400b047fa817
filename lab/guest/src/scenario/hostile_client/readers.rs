// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs of users of which many threads want the engine's lock, and for how long that keeps the
//! administrator from it.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use luo_sys::{Device, scheduling};

use super::cast::{PATIENCE, READER};
use super::{Before, groups, programs};
use crate::port;
use crate::program::{Program, READY};

/// Calls that are timed.
pub(super) const CALLS: usize = 200;

/// Between two of those.
const PAUSE: Duration = Duration::from_millis(2);

/// How much longer a call may take beside many threads that read than beside one: the lock, for
/// which one of them stands, and the processor, which the kernel takes from them.
const FACTOR: u32 = 8;

/// Shorter than that nothing is measured.
const LEAST: Duration = Duration::from_micros(500);

/// How long calls of the administrator's take.
pub(super) struct Took {
    pub(super) half: Duration,
    pub(super) longest: Duration,
}

impl Took {
    /// A call that wants the lock once.
    fn now(device: &Device) -> Result<Self> {
        Self::of(CALLS, || Ok(device.info().map(drop)?))
    }

    /// Calls of a thread that always has a processor, so that it waits for locks alone.
    pub(super) fn of(times: usize, call: impl Fn() -> Result<()> + Sync) -> Result<Self> {
        let timed = || -> Result<Vec<Duration>> {
            scheduling::set(scheduling::Policy::First)?;
            let one = |_| {
                std::thread::sleep(PAUSE);
                let begun = Instant::now();
                call()?;
                Ok(begun.elapsed())
            };
            (0..times).map(one).collect()
        };
        let took = std::thread::scope(|scope| scope.spawn(timed).join());
        let mut took = took.map_err(|_| anyhow!("the thread has ended"))??;
        took.sort_unstable();
        let half = took.get(times / 2).copied().unwrap_or_default();
        let longest = took.last().copied().unwrap_or_default();
        Ok(Self { half, longest })
    }
}

impl Before<'_> {
    /// Has a program begin, and times calls beside it.
    pub(super) fn beside(
        &self,
        program: &mut Program,
        part: &str,
        does: impl FnOnce() -> Result<()>,
    ) -> Result<Took> {
        groups::storm_of(program, part)?;
        let took = Took::now(&self.device)?;
        does()?;
        ensure!(program.runs()?, "it has ended");
        program.kill()?;
        Ok(took)
    }

    /// Threads of a user that has never had the device read what the kernel tells everybody.
    pub(super) fn readers(&self) -> Result<()> {
        let beside = |part, does: &dyn Fn() -> Result<()>| {
            let mut program = self.groups.start(READER, part, &[])?;
            program.says(READY, 1, PATIENCE)?;
            self.beside(&mut program, part, does)
        };
        let one = beside(programs::READS_ALONE, &|| Ok(()))?;
        let many = beside(programs::READS, &|| self.rounds())?;
        port::progress(format!(
            "a call of the administrator's takes {:?}, {:?} at most, beside one thread that reads, \
             and {:?}, {:?} at most, beside many",
            one.half, one.longest, many.half, many.longest
        ));
        self.timed.tell("beside those that read");
        let bound = FACTOR * one.half.max(LEAST);
        ensure!(many.half <= bound, "{:?} of {bound:?}", many.half);
        Ok(())
    }
}
