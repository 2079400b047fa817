// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who is killed or stopped while it waits, and who waits behind it.

use std::os::fd::AsFd as _;
use std::thread::scope;

use anyhow::{Context as _, Result, ensure};
use luo_abi::uapi;
use luo_sys::{Device, Event, State, Token};
use rustix::process::Signal;

use super::super::tools::{enter, memory, session, state_is};
use super::stage::{PREPARE, ready};
use crate::case::Context;
use crate::check::{device, name, same};
use crate::child::{Child, Role, TOKEN};
use crate::forge::{self, Fault, Hold};
use crate::patience::{PATIENCE, until};
use crate::waiting::{Call, Caller};

/// Freeze, asked for while prepare is under way, follows it.
pub(super) fn second(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let id = ready(&device, PREPARE)?;
    let child = during_prepare(&device, id, Event::Freeze, |child, hold| {
        hold.holds()?;
        Ok(child)
    })?;
    same("what it got", child.ended()?.code(), Some(0))?;
    state_is(&device, State::Frozen)?;
    Ok(device.cancel()?)
}

/// Holds prepare up; once another process waits with its event, `meanwhile` runs.
pub(super) fn during_prepare<T>(
    device: &Device,
    id: u32,
    event: Event,
    meanwhile: impl FnOnce(Child, &Hold) -> Result<T>,
) -> Result<T> {
    scope(|scope| {
        let hold = Hold::on(format!("preserve:{id}"))?;
        let prepare = Caller::begin(scope, || device.prepare())?;
        hold.reached()?;
        let child = Child::ask(device, event)?;
        child.waits()?;
        let result = meanwhile(child, &hold)?;
        drop(hold);
        prepare.outcome()?.context("the transition")?;
        Ok(result)
    })
}

/// Its event has not happened, and its end did not wait for the transition's.
pub(super) fn killed(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let id = ready(&device, PREPARE)?;
    during_prepare(&device, id, Event::Freeze, |child, hold| {
        child.signal(Signal::KILL)?;
        let status = child.ended()?;
        ensure!(!status.success(), "it was not killed");
        hold.holds()
    })?;
    state_is(&device, State::Prepared)?;
    device.freeze()?;
    device.cancel()?;
    device.prepare()?;
    Ok(device.cancel()?)
}

/// Kills a program that waits behind a transition which is held up. The program is gone while
/// the transition is still held up.
pub(super) fn kill_waiting(child: Child, hold: &Hold) -> Result<()> {
    child.waits()?;
    child.signal(Signal::KILL)?;
    let status = child.ended()?;
    ensure!(status.code().is_none(), "it was not killed: {status}");
    hold.holds()
}

/// A program that is killed while its call waits for a transition has done nothing.
pub(super) fn killed_calls(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let session = session(&device, "killed", 0)?;
    let id = ready(&device, PREPARE)?;
    scope(|scope| {
        let hold = Hold::on(format!("preserve:{id}"))?;
        let prepare = Caller::begin(scope, || device.prepare())?;
        hold.reached()?;
        let create = device.as_fd().try_clone_to_owned()?;
        let preserve = session.as_fd().try_clone_to_owned()?;
        for (role, input) in [(Role::Create, create), (Role::Preserve, preserve)] {
            let child = Child::start(role, "late", input)?;
            kill_waiting(child, &hold).with_context(|| role.to_string())?;
        }
        drop(hold);
        prepare.outcome()?.context("the transition")
    })?;
    same("files", session.list_files()?.len(), 0)?;
    session.preserve_fd(memory("killed", 1)?, TOKEN)?;
    drop(device.create_session(&name("late"))?);
    Ok(device.cancel()?)
}

/// A file of the driver's.
pub(super) fn leave_stuck(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let session = session(&device, "stuck", 0)?;
    session.preserve_fd(forge::open()?, TOKEN)?;
    context.hold(session);
    Ok(())
}

/// The session has outlived the update it came with, and the machine is prepared anew. A
/// RETRIEVE_FD that waits for that can be killed, and the handler has not been asked.
pub(super) fn killed_retrieve(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let fault = Fault::FinishRefusals(9).inject()?;
    drop(device.retrieve_session(&name("stuck"))?);
    device.finish_update()?;
    drop(fault);
    let session = device.retrieve_session(&name("stuck"))?;
    let id = ready(&device, PREPARE)?;
    forge::clear_calls()?;
    scope(|scope| {
        let hold = Hold::on(format!("preserve:{id}"))?;
        let prepare = Caller::begin(scope, || device.prepare())?;
        hold.reached()?;
        let input = session.as_fd().try_clone_to_owned()?;
        kill_waiting(Child::start(Role::Retrieve, "", input)?, &hold)?;
        drop(hold);
        prepare.outcome()?.context("the transition")
    })?;
    let calls = forge::calls()?;
    let asked = calls.iter().any(|call| call.starts_with("retrieve:"));
    ensure!(!asked, "the handler was asked: {calls:?}");
    session.retrieve_fd(TOKEN)?;
    session.finish()?;
    Ok(device.cancel()?)
}

/// A preservation is under way. An event waits for its end, and others for that of
/// the event: if it is killed they need not wait any more.
pub(super) fn killed_first(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let session = session(&device, "slow", 0)?;
    let file = forge::open()?;
    let id = forge::id(&file)?;
    scope(|scope| {
        let hold = Hold::on(format!("preserve:{id}"))?;
        let preserve = Caller::begin(scope, || session.preserve_fd(&file, Token(1)))?;
        hold.reached()?;
        let child = Child::ask(&device, Event::Prepare)?;
        child.waits()?;
        let create = Caller::begin(scope, || device.create_session(&name("late")))?;
        create.waits_in(Call::Ioctl(uapi::CREATE_SESSION))?;
        child.signal(Signal::KILL)?;
        ensure!(!child.ended()?.success(), "it was not killed");
        create
            .outcome()?
            .context("behind the one that was killed")?;
        hold.holds()?;
        drop(hold);
        Ok(preserve.outcome()??)
    })?;
    same("files", session.list_files()?.len(), 1)?;
    enter(&device, State::Frozen)?;
    Ok(device.cancel()?)
}

/// It is stopped while it waits, and its event comes about all the same.
pub(super) fn stopped(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let id = ready(&device, PREPARE)?;
    let child = during_prepare(&device, id, Event::Freeze, |child, _| {
        child.signal(Signal::STOP)?;
        Ok(child)
    })?;
    until("the event of the one that is stopped", || {
        Ok(device.state()? == State::Frozen || !device.wait_for_change(PATIENCE)?)
    })?;
    state_is(&device, State::Frozen)?;
    child.signal(Signal::CONT)?;
    same("what it got", child.ended()?.code(), Some(0))?;
    Ok(device.cancel()?)
}
