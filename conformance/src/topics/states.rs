// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the machine is, and how it gets there.

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Errno, State, Token};

use super::tools::{NO_CONTRACT, NO_EVENTS, enter, incoming, memory, retrieve, session, state_is};
use crate::case::{Case, Context, alone, here, shared};
use crate::check::{device, name, refused, same};
use crate::difference::missing;

pub(super) const CASES: &[Case] = &[
    here("normal-at-first", normal).but(&[missing(NO_EVENTS)]),
    here("each-event-moves-on", moves).but(&[missing(NO_EVENTS)]),
    here("changes-are-counted", changes).but(&[missing(NO_EVENTS)]),
    here("state-belongs-to-the-machine", machine).but(&[missing(NO_EVENTS)]),
    shared("updated-after-an-update", leave_updated, updated).but(&[missing(NO_EVENTS)]),
    shared("update-count-goes-up-by-one", leave_count, count).but(&[missing(NO_CONTRACT)]),
    alone("plain-kexec-is-normal", &[leave_nothing, plain]).but(&[missing(NO_EVENTS)]),
    alone("last-finish-ends-updated", &[leave_two, last_finish]).but(&[missing(NO_EVENTS)]),
    alone("last-close-ends-updated", &[leave_two, last_close]).but(&[missing(NO_EVENTS)]),
    alone("finish-releases-the-rest", &[leave_two, finish]).but(&[missing(NO_EVENTS)]),
    alone("empty-session-is-an-update", &[leave_empty, empty]).but(&[missing(NO_EVENTS)]),
];

fn normal(_: &mut Context<'_>) -> Result<()> {
    state_is(&device()?, State::Normal)
}

fn moves(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let _session = session(&device, "moves", 2)?;
    for _ in 0..2 {
        enter(&device, State::Prepared)?;
        device.cancel()?;
        state_is(&device, State::Normal)?;
        enter(&device, State::Frozen)?;
        device.cancel()?;
        state_is(&device, State::Normal)?;
    }
    Ok(())
}

fn changes(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let before = device.info()?.state_changes;
    device.prepare()?;
    refused(device.prepare(), Errno::EINVAL)?;
    device.freeze()?;
    device.cancel()?;
    same("changes", device.info()?.state_changes, before + 3)
}

/// Closing the device changes nothing, and the next opener sees the same.
fn machine(_: &mut Context<'_>) -> Result<()> {
    enter(&device()?, State::Prepared)?;
    let device = device()?;
    state_is(&device, State::Prepared)?;
    Ok(device.cancel()?)
}

fn leave_updated(context: &mut Context<'_>) -> Result<()> {
    let device = context.device()?;
    state_is(&device, State::Normal)?;
    context.hold(session(&device, "updated", 1)?);
    Ok(())
}

fn updated(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Updated)?;
    refused(device.prepare(), Errno::EINVAL)?;
    refused(device.freeze(), Errno::EINVAL)?;
    refused(device.cancel(), Errno::EINVAL)?;
    same("info", device.info()?.state, Some(State::Updated))
}

fn leave_count(context: &mut Context<'_>) -> Result<()> {
    let count = context.device()?.info()?.update_count;
    context.note("count", count);
    Ok(())
}

fn count(context: &mut Context<'_>) -> Result<()> {
    let before = context.noted("count")?;
    same("the count", device()?.info()?.update_count, before + 1)
}

fn leave_nothing(_: &mut Context<'_>) -> Result<()> {
    state_is(&device()?, State::Normal)
}

fn plain(_: &mut Context<'_>) -> Result<()> {
    state_is(&device()?, State::Normal)
}

fn leave_two(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    context.hold(session(&device, "first", 2)?);
    context.hold(session(&device, "second", 1)?);
    Ok(())
}

fn last_finish(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Updated)?;
    let first = device.retrieve_session(&name("first"))?;
    first.finish()?;
    state_is(&device, State::Updated)?;
    let second = device.retrieve_session(&name("second"))?;
    state_is(&device, State::Updated)?;
    second.finish()?;
    state_is(&device, State::Normal)?;
    refused(device.finish_update(), Errno::EINVAL)
}

fn last_close(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    drop(device.retrieve_session(&name("first"))?);
    state_is(&device, State::Updated)?;
    drop(device.retrieve_session(&name("second"))?);
    state_is(&device, State::Normal)
}

/// One session is claimed and half retrieved, one is unclaimed.
fn finish(_: &mut Context<'_>) -> Result<()> {
    let first = incoming("first")?;
    let kept = retrieve(&first, "first", 1)?;
    let device = device()?;
    device.finish_update()?;
    state_is(&device, State::Normal)?;
    refused(first.retrieve_fd(Token(2)), Errno::ENOENT)?;
    refused(device.retrieve_session(&name("second")), Errno::ENOENT)?;
    let info = device.info()?;
    same("incoming sessions", info.incoming, 0)?;
    same("unclaimed sessions", info.unclaimed, 0)?;
    ensure!(kept.metadata()?.len() > 0, "what was retrieved is empty");
    let session = device.create_session(&name("first"))?;
    session
        .preserve_fd(&kept, Token(1))
        .context("what was retrieved belongs to its owner")?;
    session.preserve_fd(memory("first", 9)?, Token(2))?;
    Ok(())
}

fn leave_empty(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    context.hold(session(&device, "empty", 0)?);
    Ok(())
}

fn empty(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Updated)?;
    device.retrieve_session(&name("empty"))?.finish()?;
    state_is(&device, State::Normal)
}
