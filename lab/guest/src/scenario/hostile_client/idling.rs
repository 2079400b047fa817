// SPDX-License-Identifier: MIT OR Apache-2.0
//! The administrator's side of [`super::idle`]: for how long threads without a processor keep it
//! from what they have in their hands.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Device, Session, Token};

use super::cast::{IDLE, PATIENCE, contents};
use super::groups::Groups;
use super::readers::{CALLS, Took};
use super::{Before, groups, idle};
use crate::check::name;
use crate::program::{Program, READY};
use crate::{fill, port};

/// How long a call may take beside them, half of the calls and the longest: a step of one in each
/// line, for whose worker the kernel takes a processor away. A thread that had the lock and had to
/// wait until others let it run would have it for seconds.
const HALF: Duration = Duration::from_millis(20);
const MOST: Duration = Duration::from_millis(500);

/// The same for a call that preserves a file and takes it back, or that takes one of the previous
/// kernel's back: each wants the engine's lock several times, and Kexec HandOver's for each page.
const KEEPING_HALF: Duration = Duration::from_millis(100);
const KEEPING_MOST: Duration = Duration::from_secs(2);

/// How often an update is tried beside them.
const ROUNDS: u32 = 3;

/// Bytes of a file of the administrator's.
const LENGTH: u64 = 64 << 12;

/// The session whose files the administrator takes back beside them, and how many those are.
const BESIDE: &str = "beside";
const TAKEN: usize = 64;

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

    /// Leaves files for [`take_back_beside`], and has the program leave its own.
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

/// In the next kernel: threads without a processor take memory back, and so does the
/// administrator.
pub(super) fn take_back_beside(device: &Device, groups: &Groups) -> Result<()> {
    let session = device.retrieve_session(&name(BESIDE))?;
    let mut program = groups.start(IDLE, idle::AFTER, &[])?;
    program.says(READY, 1, PATIENCE)?;
    groups::storm_of(&mut program, idle::AFTER)?;
    let next = AtomicU64::new(0);
    let took = Took::of(TAKEN, || {
        let token = next.fetch_add(1, Ordering::Relaxed);
        Ok(session.retrieve_fd(Token(token)).map(drop)?)
    })?;
    ensure!(program.runs()?, "it has ended");
    program.kill()?;
    session.finish()?;
    is_in_time("to take back", &took, KEEPING_HALF, KEEPING_MOST)
}

fn is_in_time(what: &str, took: &Took, half: Duration, most: Duration) -> Result<()> {
    port::progress(format!(
        "{what} takes the administrator {:?}, {:?} at most, beside threads without a processor",
        took.half, took.longest
    ));
    ensure!(took.half <= half, "{what}: {:?} of {half:?}", took.half);
    ensure!(
        took.longest <= most,
        "{what}: {:?} of {most:?}",
        took.longest
    );
    Ok(())
}
