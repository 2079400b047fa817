// SPDX-License-Identifier: MIT OR Apache-2.0
//! What becomes of a session, or of the device's files, when they are closed.

use std::fs::File;

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Device, Errno, SessionState, State, Token, Which};

use super::tools::{
    NO_EVENTS, NO_RFC, enter, is_free, is_held, memory, retrieve, session, state_is, verify,
};
use crate::case::{Case, Context, alone, here};
use crate::check::{device, name, refused, same};
use crate::difference::missing;
use crate::look;

pub(super) const CASES: &[Case] = &[
    here("session-in-prepared-stays-until-cancel", |context| {
        session_stays(context, State::Prepared)
    })
    .but(&[missing(NO_EVENTS)]),
    here("session-in-frozen-stays-until-cancel", |context| {
        session_stays(context, State::Frozen)
    })
    .but(&[missing(NO_EVENTS)]),
    here("device-before-prepare-unregisters", before).but(&[missing(NO_RFC)]),
    here("device-in-prepared-keeps-until-cancel", |context| {
        device_keeps(context, State::Prepared)
    })
    .but(&[missing(NO_RFC)]),
    here("device-in-frozen-keeps-until-cancel", |context| {
        device_keeps(context, State::Frozen)
    })
    .but(&[missing(NO_RFC)]),
    alone("closed-in-prepared-goes-over", &[leave_prepared, arrived]).but(&[missing(NO_RFC)]),
    alone("closed-in-frozen-goes-over", &[leave_frozen, arrived]).but(&[missing(NO_RFC)]),
];

fn session_stays(_: &mut Context<'_>, state: State) -> Result<()> {
    let device = device()?;
    let file = memory("stays", 1)?;
    let session = session(&device, "stays", 0)?;
    session.preserve_fd(&file, Token(1))?;
    enter(&device, state)?;
    drop(session);
    is_held(&file)?;
    let entry = look::session(&device, Which::Outgoing, "stays")?;
    let entry = entry.context("it is not there any more")?;
    same("the session", entry.state, SessionState::Closed)?;
    device.cancel()?;
    is_free(&file)?;
    let entry = look::session(&device, Which::Outgoing, "stays")?;
    ensure!(entry.is_none(), "it is still there");
    device.create_session(&name("stays"))?;
    Ok(())
}

fn before(_: &mut Context<'_>) -> Result<()> {
    let file = memory("before", 1)?;
    device()?.fd_preserve(&file)?;
    let device = device()?;
    enter(&device, State::Prepared)?;
    is_free(&file)?;
    Ok(device.cancel()?)
}

fn device_keeps(_: &mut Context<'_>, state: State) -> Result<()> {
    let file = memory("keeps", 1)?;
    let first = device()?;
    let token = first.fd_preserve(&file)?;
    enter(&first, state)?;
    drop(first);
    is_held(&file)?;
    let device = device()?;
    let sessions = device.list_sessions(Which::Outgoing)?;
    let closed = sessions.iter().find(|session| session.of_device);
    let closed = closed.context("its files are not there any more")?;
    same("the session", closed.state, SessionState::Closed)?;
    device.cancel()?;
    is_free(&file)?;
    same("files", device.info()?.files, 0)?;
    refused(device.fd_unpreserve(token), Errno::ENOENT)
}

/// Everything is closed: only the kernel holds it now.
fn leave(context: &mut Context<'_>, state: State) -> Result<()> {
    let device = device()?;
    let token = device.fd_preserve(memory("over", 9)?)?;
    context.note("token", token.0);
    let session = session(&device, "over", 2)?;
    enter(&device, state)?;
    drop(session);
    drop(device);
    Ok(())
}

fn leave_prepared(context: &mut Context<'_>) -> Result<()> {
    leave(context, State::Prepared)
}

fn leave_frozen(context: &mut Context<'_>) -> Result<()> {
    leave(context, State::Frozen)
}

fn arrived(context: &mut Context<'_>) -> Result<()> {
    let device: Device = device()?;
    state_is(&device, State::Updated)?;
    let session = device.retrieve_session(&name("over"))?;
    retrieve(&session, "over", 1)?;
    retrieve(&session, "over", 2)?;
    let file = File::from(device.fd_restore(Token(context.noted("token")?))?);
    verify(&file, "over", 9)?;
    session.finish()?;
    // The device's files are finished by the event alone.
    state_is(&device, State::Updated)?;
    device.finish_update()?;
    state_is(&device, State::Normal)
}
