// SPDX-License-Identifier: MIT OR Apache-2.0
//! No wait for others is taken for a task that hangs.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, scope};
use std::time::Duration;

use anyhow::{Context as _, Result};
use luo_abi::{rfc, uapi};
use luo_sys::{State, Token, unanswered::Unanswered};

use super::super::tools::{memory, session, state_is};
use super::stage::{PREPARE, ready};
use crate::case::Context;
use crate::check::{Absent, device, name, same};
use crate::forge::Hold;
use crate::patience::until;
use crate::waiting::{Call, Caller};

/// A number of the kernel's that is another until it is dropped.
pub(super) struct Sysctl {
    path: String,
    before: String,
}

impl Sysctl {
    fn path(name: &str) -> String {
        format!("/proc/sys/kernel/{name}")
    }

    pub(super) fn set(name: &str, number: u32) -> Result<Self> {
        let path = Self::path(name);
        let before = fs::read_to_string(&path).with_context(|| path.clone())?;
        fs::write(&path, number.to_string())?;
        Ok(Self { path, before })
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        let _ = fs::write(&self.path, self.before.trim());
    }
}

/// Tasks that were taken for hung since boot.
pub(super) fn taken_for_hung() -> Result<u64> {
    let count = fs::read_to_string(Sysctl::path("hung_task_detect_count"))?;
    Ok(count.trim().parse()?)
}

/// For how long a task has to stand still to be taken for hung, in seconds.
pub(super) const HUNG: u32 = 1;

/// A close and calls that wait for others as long as they like are no hung tasks.
pub(super) fn not_hung(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    if !context.implementation.is_kernel() {
        return Err(Absent("the detector of hung tasks".to_owned()).into());
    }
    let session = session(&device, "closed", 1)?;
    let other = device.create_session(&name("other"))?;
    let id = ready(&device, PREPARE)?;
    // The detector counts what it finds, and is silent.
    let _silent = Sysctl::set("hung_task_warnings", 0)?;
    let _soon = Sysctl::set("hung_task_timeout_secs", HUNG)?;
    let before = taken_for_hung()?;
    let (device, other) = (&device, &other);
    scope(|scope| {
        let hold = Hold::on(format!("preserve:{id}"))?;
        let prepare = Caller::begin(scope, || device.prepare())?;
        hold.reached()?;
        let closed = session.into_fd();
        let fd = closed.as_raw_fd();
        let close = Caller::begin(scope, move || drop(closed))?;
        let file = memory("hung", 1)?;
        let preserve = Caller::begin(scope, move || other.preserve_fd(&file, Token(1)))?;
        let freeze = Caller::begin(scope, || device.freeze())?;
        close.waits_in(Call::Close(fd))?;
        preserve.waits_in(Call::Ioctl(uapi::SESSION_PRESERVE_FD))?;
        freeze.waits_in(Call::Ioctl(rfc::EVENT_FREEZE))?;
        // Nothing is waited for here: this is the time in which they must not be found.
        thread::sleep(Duration::from_secs(4 * u64::from(HUNG)));
        hold.holds()?;
        let after = taken_for_hung()?;
        drop(hold);
        prepare.outcome()?.context("the transition")?;
        close.outcome()?;
        preserve.outcome()??;
        freeze.outcome()??;
        same("tasks that were taken for hung", after, before)
    })?;
    device.cancel()?;
    looks_for_hung_tasks(before)
}

/// The detector is on, because it finds a task that does hang: a write that waits for the lock
/// of a file. Another write has the lock, and the memory that it reads is not there.
pub(super) fn looks_for_hung_tasks(before: u64) -> Result<()> {
    let file = memory("hung", 2)?;
    let unanswered = Unanswered::new()?;
    let over = AtomicBool::new(false);
    scope(|scope| {
        let first = Caller::begin(scope, || unanswered.write_to(&file))?;
        let second = Caller::begin(scope, || -> Result<()> {
            // The first write has the lock from some time on; this one hangs then.
            while !over.load(Ordering::Relaxed) {
                file.write_all_at(b"x", 0)?;
            }
            Ok(())
        });
        let found = until("a hung task", || Ok(taken_for_hung()? > before));
        over.store(true, Ordering::Relaxed);
        unanswered.answer();
        first.outcome()??;
        second?.outcome()??;
        found
    })
}
