// SPDX-License-Identifier: MIT OR Apache-2.0
//! A call that does not end: whom an event waits for in vain is named.

use std::thread::scope;

use anyhow::{Context as _, Result};
use luo_sys::{Cause, Device, Errno, Event, SessionName, State, Token};

use super::super::tools::{enter, passed_over, session, state_is};
use super::stage::{PREPARE, ready};
use crate::case::Context;
use crate::check::{device, name, refused, same};
use crate::child::send;
use crate::forge::{self, Hold};
use crate::user::{AllKinds, Delegated, USERS, as_user};
use crate::waiting::Caller;

/// So that the cases need not wait for long.
pub(super) fn impatient_wanted(context: &mut Context<'_>) -> Result<()> {
    context.boot_with("liveupdate_patience", "1");
    Ok(())
}

/// Holds a call up in the callback of a file. An event that waits for it is told that it waits
/// in vain, and for whom; what waited behind the event goes on.
pub(super) fn in_vain(
    device: &Device,
    file: u32,
    call: impl Fn() -> luo_sys::Result<()> + Copy + Send,
    event: Event,
    whose: Option<SessionName>,
) -> Result<()> {
    scope(|scope| {
        let hold = Hold::on(format!("preserve:{file}"))?;
        let held = Caller::begin(scope, call)?;
        hold.reached()?;
        let waits = Caller::begin(scope, move || send(device, event))?;
        refused(waits.outcome()?, Errno::EBUSY)?;
        let failure = Caller::begin(scope, || device.failure())?.outcome()??;
        same("the cause", failure.cause, Cause::Busy)?;
        same("whose call it is", failure.session, whose)?;
        if whose.is_some() {
            let behind = Caller::begin(scope, || device.create_session(&name("behind")))?;
            behind.outcome()?.context("behind the event")?;
        }
        hold.holds()?;
        drop(hold);
        Ok(held.outcome()??)
    })
}

/// A call on a session does not end.
pub(super) fn busy(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "slow", 0)?;
    let file = forge::open()?;
    let preserve = || session.preserve_fd(&file, Token(1));
    let whose = Some(name("slow"));
    in_vain(&device, forge::id(&file)?, preserve, Event::Prepare, whose)?;
    enter(&device, State::Frozen)?;
    Ok(device.cancel()?)
}

/// A user's call does not end: each event passes over it, and it goes on afterwards.
pub(super) fn of_a_user(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let [user, _] = USERS;
    let file = forge::open()?;
    let delegated = Delegated::new()?;
    let session = as_user(user, || Ok(Device::open()?.create_session(&name("slow"))?))?;
    drop(delegated);
    let _kinds = AllKinds::new()?;
    let callback = format!("preserve:{}", forge::id(&file)?);
    let preserve = || as_user(user, || Ok(session.preserve_fd(&file, Token(1))?));
    let events = [Event::Prepare, Event::Freeze, Event::Cancel, Event::Prepare];
    passed_over(&device, callback, preserve, &events)?;
    // It was not there when the others had agreed: its owner may take it back.
    same("files", session.list_files()?.len(), 1)?;
    session.unpreserve_fd(Token(1))?;
    Ok(device.cancel()?)
}

/// A handler does not return from the prepare: who wants to cancel is told.
pub(super) fn twice(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let id = ready(&device, PREPARE)?;
    in_vain(&device, id, || device.prepare(), Event::Cancel, None)?;
    state_is(&device, State::Prepared)?;
    Ok(device.cancel()?)
}
