// SPDX-License-Identifier: MIT OR Apache-2.0
//! The administrator's side of [`super::idle`]: for how long threads without a processor keep it
//! from what they have in their hands.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context as _, Result};
use luo_sys::{Session, Token};

use super::cast::{IDLE, PATIENCE, contents};
use super::taking_back::{BESIDE, KEEPING_HALF, KEEPING_MOST, LENGTH, TAKEN, is_in_time};
use super::took::{CALLS, Took};
use super::{Before, idle};
use crate::check::name;
use crate::fill;
use crate::program::{Program, READY};

/// How long a call may take beside them, half of the calls and the longest: a step of one in each
/// line, for whose worker the kernel takes a processor away. A thread that had the lock and had to
/// wait until others let it run would have it for seconds.
const HALF: Duration = Duration::from_millis(20);
const MOST: Duration = Duration::from_millis(500);

/// How often an update is tried beside them.
const ROUNDS: u32 = 3;

impl Before<'_> {
    /// Threads of a user want the lock, preserve and take back that run only when others leave
    /// them time, and others of the same user have all processors. Nobody waits for longer.
    pub(super) fn idle_threads(&self, program: &mut Program) -> Result<()> {
        self.timed.tell("beside threads that run");
        let keeps = Cell::new(None);
        let took = self.beside(program, idle::IDLE, || {
            for _ in 0..ROUNDS {
                self.under_attack()?;
            }
            keeps.set(Some(self.keeping()?));
            Ok(())
        })?;
        self.timed.tell("beside threads without a processor");
        is_in_time("a call", &took, HALF, MOST)?;
        let keeps = keeps.take().context("nothing was preserved")?;
        is_in_time("to preserve", &keeps, KEEPING_HALF, KEEPING_MOST)
    }

    /// How long it takes to preserve a file of some pages and to take it back.
    fn keeping(&self) -> Result<Took> {
        let file = fill::memfd("beside", LENGTH, contents(LENGTH))?;
        let (session, token) = (&self.session, Token(150));
        Took::of(CALLS, || {
            session.preserve_fd(&file, token)?;
            Ok(session.unpreserve_fd(token)?)
        })
    }

    /// Leaves files for [`super::taking_back`], and has the program leave its own.
    pub(super) fn leave_idle(&self) -> Result<(Session, Program)> {
        let session = self.device.create_session(&name(BESIDE))?;
        for token in 0..TAKEN as u64 {
            let file = fill::memfd("beside", LENGTH, contents(token))?;
            session.preserve_fd(file, Token(token))?;
        }
        let mut program = self.groups.start(IDLE, idle::LEAVES, &[])?;
        program.says(READY, 1, PATIENCE)?;
        Ok((session, program))
    }
}
