// SPDX-License-Identifier: MIT OR Apache-2.0
//! kill -9 of the owner, at each step of an update: what it leaves behind.

use std::fs::File;

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Device, Errno, SessionState, State, Token, Which};

use super::tools::{
    FIRST, NO_EVENTS, NO_RFC, enter, incoming, is_free, is_held, memory, retrieve, session,
    state_is, verify,
};
use crate::case::{Case, Context, alone, here, shared};
use crate::check::{device, name, refused, same};
use crate::child::{Child, Role, Step};
use crate::difference::{answers, missing};
use crate::forge::{self, Fault};
use crate::look;

pub(super) const CASES: &[Case] = &[
    here("with-the-device-open", open),
    here("after-create", create),
    here("after-preserve", preserve),
    here("after-register", register).but(&[missing(NO_RFC)]),
    here("after-prepare", |_| transition(Step::Prepare)).but(&[missing(NO_EVENTS)]),
    here("after-freeze", |_| transition(Step::Freeze)).but(&[missing(NO_EVENTS)]),
    here("again-and-again", again),
    alone("after-prepare-goes-over", &[leave_prepared, gone_over]).but(&[missing(NO_EVENTS)]),
    alone("after-freeze-goes-over", &[leave_frozen, gone_over]).but(&[missing(NO_EVENTS)]),
    shared("before-retrieve", leave, before_retrieve),
    shared("after-retrieve-session", leave, |context| {
        incoming_ends(context, Step::RetrieveSession)
    }),
    shared("after-retrieve-fd", leave, |context| {
        incoming_ends(context, Step::RetrieveFd)
    }),
    shared("after-finish", leave, |context| {
        incoming_ends(context, Step::Finish)
    }),
    shared("while-its-handler-refuses", leave_forge, refuses).but(&[answers(
        Errno::EINVAL,
        "mainline keeps what it cannot finish where nobody can reach it",
    )]),
];

/// Has an owner go as far as a step, and kills it.
fn kill_at(
    step: Step,
    text: &str,
    file: &File,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let mut owner = Child::start(Role::Own(step), text, file.try_clone()?)?;
    owner.ready()?;
    meanwhile()?;
    owner.kill()
}

fn open(_: &mut Context<'_>) -> Result<()> {
    kill_at(Step::Open, "", &memory("open", 1)?, || {
        refused(Device::open(), Errno::EBUSY)
    })?;
    drop(device()?);
    Ok(())
}

fn create(_: &mut Context<'_>) -> Result<()> {
    kill_at(Step::Create, "owner", &memory("create", 1)?, || Ok(()))?;
    session(&device()?, "owner", 1)?;
    Ok(())
}

fn preserve(_: &mut Context<'_>) -> Result<()> {
    let file = memory("preserve", 1)?;
    kill_at(Step::Preserve, "owner", &file, || is_held(&file))?;
    is_free(&file)?;
    let session = session(&device()?, "owner", 0)?;
    Ok(session.preserve_fd(&file, FIRST)?)
}

fn register(_: &mut Context<'_>) -> Result<()> {
    state_is(&device()?, State::Normal)?;
    let file = memory("register", 1)?;
    kill_at(Step::Register, "", &file, || Ok(()))?;
    let device = device()?;
    same("files", device.info()?.files, 0)?;
    enter(&device, State::Prepared)?;
    is_free(&file)?;
    device.cancel()?;
    device.fd_preserve(&file)?;
    Ok(())
}

/// The machine stays where it is, and what everybody agreed to with it, until
/// somebody cancels.
fn transition(step: Step) -> Result<()> {
    state_is(&device()?, State::Normal)?;
    let file = memory("transition", 1)?;
    kill_at(step, "owner", &file, || is_held(&file))?;
    is_held(&file)?;
    let device = device()?;
    let state = match step {
        Step::Freeze => State::Frozen,
        _ => State::Prepared,
    };
    state_is(&device, state)?;
    let entry = look::session(&device, Which::Outgoing, "owner")?;
    let entry = entry.context("its session is gone")?;
    same("its session", entry.state, SessionState::Closed)?;
    device.cancel()?;
    is_free(&file)?;
    session(&device, "owner", 1)?;
    Ok(())
}

/// By the time its end is known everything is closed.
fn again(_: &mut Context<'_>) -> Result<()> {
    let file = memory("again", 1)?;
    for _ in 0..10 {
        kill_at(Step::Preserve, "owner", &file, || Ok(()))?;
        is_free(&file)?;
    }
    session(&device()?, "owner", 0)?;
    Ok(())
}

fn leave_killed(step: Step) -> Result<()> {
    state_is(&device()?, State::Normal)?;
    kill_at(step, "owner", &memory("owner", 1)?, || Ok(()))
}

fn leave_prepared(_: &mut Context<'_>) -> Result<()> {
    leave_killed(Step::Prepare)
}

fn leave_frozen(_: &mut Context<'_>) -> Result<()> {
    leave_killed(Step::Freeze)
}

/// Only the kernel held it.
fn gone_over(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Updated)?;
    let session = device.retrieve_session(&name("owner"))?;
    retrieve(&session, "owner", 1)?;
    session.finish()?;
    state_is(&device, State::Normal)
}

fn leave(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, context.own_name(), 2)?;
    context.hold(session);
    Ok(())
}

/// A program that only opened the device has not claimed anything.
fn before_retrieve(context: &mut Context<'_>) -> Result<()> {
    kill_at(Step::Open, "", &memory("open", 1)?, || Ok(()))?;
    let session = incoming(context.own_name())?;
    retrieve(&session, context.own_name(), 1)?;
    retrieve(&session, context.own_name(), 2)?;
    Ok(session.finish()?)
}

/// Its session is finished like one that is closed, and leaves others alone.
fn incoming_ends(context: &mut Context<'_>, step: Step) -> Result<()> {
    let text = context.own_name();
    kill_at(step, text, &memory("unused", 1)?, || {
        refused(Device::open(), Errno::EBUSY)
    })?;
    let device = device()?;
    refused(device.retrieve_session(&name(text)), Errno::ENOENT)?;
    let new = session(&device, text, 1)?;
    same("the name", new.name()?, name(text))
}

fn leave_forge(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, context.own_name(), 0)?;
    session.preserve_fd(forge::open()?, FIRST)?;
    session.preserve_fd(memory(context.own_name(), 2)?, Token(2))?;
    context.hold(session);
    Ok(())
}

/// What cannot be finished is not lost: whoever comes next finds it.
fn refuses(context: &mut Context<'_>) -> Result<()> {
    let text = context.own_name();
    let fault = Fault::FinishRefusals(100).inject()?;
    kill_at(Step::RetrieveFd, text, &memory("unused", 1)?, || Ok(()))?;
    let session = incoming(text)?;
    drop(fault);
    session.retrieve_fd(FIRST)?;
    let file = File::from(session.retrieve_fd(Token(2))?);
    verify(&file, text, 2)?;
    session.finish()?;
    ensure!(session.retrieve_fd(FIRST).is_err(), "it is still there");
    Ok(())
}
