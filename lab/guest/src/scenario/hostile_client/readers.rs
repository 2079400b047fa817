// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs of users of which many threads want the engine's lock, and for how long that keeps the
//! administrator from it.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::cast::{PATIENCE, READER};
use super::took::Took;
use super::{Before, groups, programs};
use crate::port;
use crate::program::{Program, READY};

/// How much longer a call may take beside many threads that read than beside one: the lock, for
/// which one of them stands, and the processor, which the kernel takes from them.
const FACTOR: u32 = 8;

/// Shorter than that nothing is measured.
const LEAST: Duration = Duration::from_micros(500);

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
