// SPDX-License-Identifier: MIT OR Apache-2.0
//! The administrator takes files back beside threads without a processor ([`super::idle`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use luo_sys::{Device, Token};

use super::cast::{IDLE, PATIENCE};
use super::groups::Groups;
use super::took::Took;
use super::{groups, idle};
use crate::check::name;
use crate::port;
use crate::program::READY;

/// The same for a call that preserves a file and takes it back, or that takes one of the previous
/// kernel's back: each wants the engine's lock several times, and Kexec HandOver's for each page.
pub(super) const KEEPING_HALF: Duration = Duration::from_millis(100);
pub(super) const KEEPING_MOST: Duration = Duration::from_secs(2);

/// Bytes of a file of the administrator's.
pub(super) const LENGTH: u64 = 64 << 12;

/// The session whose files the administrator takes back beside them, and how many those are.
pub(super) const BESIDE: &str = "beside";
pub(super) const TAKEN: usize = 64;

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

pub(super) fn is_in_time(what: &str, took: &Took, half: Duration, most: Duration) -> Result<()> {
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
