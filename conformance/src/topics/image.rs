// SPDX-License-Identifier: MIT OR Apache-2.0
//! An image that kexec_load has loaded takes nothing over: a reboot into it is refused while
//! something is preserved.

use std::fs;

use anyhow::{Context as _, Result};
use luo_sys::{Cause, Errno, State, Token, kexec};

use super::tools::{NO_CONTRACT, NO_SYSFS, enter, memory, session, state_is};
use crate::case::{Case, Context, alone, here};
use crate::check::{device, same};
use crate::difference::{absent, missing};
use crate::kmsg::Reader;
use crate::look::{SYSFS, sysfs};

pub(super) const CASES: &[Case] = &[
    here("a-legacy-image-is-refused", of_session).but(&[missing(NO_CONTRACT)]),
    here("with-a-registered-file", of_device).but(&[missing(NO_CONTRACT)]),
    here("nothing-is-undone", in_frozen).but(&[missing(NO_CONTRACT)]),
    here("its-kind-is-shown", shown).but(&[absent(NO_SYSFS)]),
    alone("unclaimed-sessions-count", &[leave, unclaimed, arrived]).but(&[missing(NO_CONTRACT)]),
    alone("by-parameter", &[boot_wanted, boot]).but(&[absent(NO_SYSFS)]),
];

/// Where there is memory on every machine.
const ADDRESS: usize = 0x200_0000;

/// Drops the image, also if the case fails: nothing must jump into it.
struct Loaded;

impl Loaded {
    fn new() -> Result<Self> {
        kexec::load_legacy(&[0; 4096], ADDRESS)?;
        Ok(Self)
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let _ = kexec::unload();
    }
}

/// The reboot is refused, and the device says why.
fn is_refused(state: State) -> Result<()> {
    // What mainline lacks is said first: it would jump.
    device()?.info()?;
    let mut log = Reader::from_now()?;
    let loaded = Loaded::new()?;
    same("the error", kexec::execute().errno(), Errno::EOPNOTSUPP)?;
    drop(loaded);
    let device = device()?;
    state_is(&device, state)?;
    let failure = device.failure()?;
    same("the cause", failure.cause, Cause::Image)?;
    same("its error", failure.error, Some(Errno::EOPNOTSUPP))?;
    let said = log.read()?;
    let said = said
        .iter()
        .any(|message| message.text.contains("kexec_load"));
    same("the log says it", said, true)
}

fn of_session(_: &mut Context<'_>) -> Result<()> {
    let session = {
        let device = device()?;
        device.info()?;
        session(&device, "legacy", 1)?
    };
    is_refused(State::Normal)?;
    // It goes on as before.
    session.preserve_fd(memory("legacy", 2)?, Token(2))?;
    is_refused(State::Normal)
}

fn of_device(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    device.info()?;
    device.fd_preserve(memory("legacy", 1)?)?;
    let loaded = Loaded::new()?;
    same("the error", kexec::execute().errno(), Errno::EOPNOTSUPP)?;
    drop(loaded);
    same("the cause", device.failure()?.cause, Cause::Image)?;
    state_is(&device, State::Normal)
}

/// Nobody is asked, so nothing is undone: what was frozen is so still.
fn in_frozen(_: &mut Context<'_>) -> Result<()> {
    let session = {
        let device = device()?;
        device.info()?;
        let session = session(&device, "legacy", 1)?;
        enter(&device, State::Frozen)?;
        session
    };
    is_refused(State::Frozen)?;
    drop(session);
    Ok(device()?.cancel()?)
}

fn shown(_: &mut Context<'_>) -> Result<()> {
    sysfs("image")?;
    kexec::unload()?;
    same("without one", sysfs("image")?.as_str(), "none\n")?;
    let loaded = Loaded::new()?;
    same("by kexec_load", sysfs("image")?.as_str(), "legacy\n")?;
    drop(loaded);
    same("unloaded", sysfs("image")?.as_str(), "none\n")
}

fn leave(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    device.info()?;
    context.hold(session(&device, "legacy", 1)?);
    Ok(())
}

fn unclaimed(_: &mut Context<'_>) -> Result<()> {
    is_refused(State::Updated)
}

fn arrived(_: &mut Context<'_>) -> Result<()> {
    let session = super::tools::incoming("legacy")?;
    super::tools::retrieve(&session, "legacy", 1)?;
    Ok(session.finish()?)
}

fn boot_wanted(context: &mut Context<'_>) -> Result<()> {
    sysfs("legacy")?;
    context.boot_with("liveupdate_legacy", "boot");
    Ok(())
}

fn boot(_: &mut Context<'_>) -> Result<()> {
    same("the word", sysfs("legacy")?.as_str(), "boot\n")?;
    fs::write(format!("{SYSFS}/legacy"), "refuse").context("refuse")?;
    same("the word", sysfs("legacy")?.as_str(), "refuse\n")
}
