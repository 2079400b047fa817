// SPDX-License-Identifier: MIT OR Apache-2.0
//! Updates that nobody announced: the reboot runs prepare and freeze.

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Cause, Errno, Needed, State, Token};

use super::tools::{
    NO_DEPENDENCIES, NO_EVENTS, NO_RFC, enter, incoming, is_free, is_held, memory, retrieve,
    session, state_is,
};
use crate::case::{Case, Context, alone, here};
use crate::check::{device, name, refused, same};
use crate::difference::missing;
use crate::forge::{self, Fault, ODD};

pub(super) const CASES: &[Case] = &[
    here("kexec-without-an-image-changes-nothing", no_image),
    here("veto-leaves-the-state-normal", veto_state).but(&[missing(NO_EVENTS)]),
    here("veto-of-a-registered-file", veto_registered).but(&[missing(NO_RFC)]),
    here("missing-dependency-refuses-the-kexec", dependency).but(&[missing(NO_DEPENDENCIES)]),
    here("veto-in-prepared-undoes-all", veto_prepared).but(&[missing(NO_EVENTS)]),
    alone("in-normal", &[leave_normal, arrived]),
    alone("in-prepared", &[leave_prepared, arrived]).but(&[missing(NO_EVENTS)]),
    alone("in-frozen", &[leave_frozen, arrived]).but(&[missing(NO_EVENTS)]),
    alone("in-updated", &[leave_normal, leave_updated, arrived_new]),
];

/// There is nothing to jump into.
fn no_image(_: &mut Context<'_>) -> Result<()> {
    let (device, file) = (device()?, memory("no-image", 1)?);
    let session = session(&device, "no-image", 0)?;
    session.preserve_fd(&file, Token(1))?;
    luo_sys::kexec::unload()?;
    let error = luo_sys::kexec::execute();
    same("the error", error.errno(), Errno::EINVAL)?;
    same("the name", session.name()?, name("no-image"))?;
    session.preserve_fd(memory("no-image", 2)?, Token(2))?;
    device.create_session(&name("another"))?;
    drop(session);
    is_free(&file)
}

fn veto_state(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let session = session(&device, "veto", 1)?;
    session.preserve_fd(forge::open()?, Token(7))?;
    let fault = Fault::Freeze(ODD).inject()?;
    same("the error", context.refused_kexec()?.errno(), ODD)?;
    drop(fault);
    state_is(&device, State::Normal)?;
    let failure = device.failure()?;
    same("the cause", failure.cause, Cause::Handler)?;
    same("the token", failure.token, Token(7))?;
    enter(&device, State::Frozen)?;
    Ok(device.cancel()?)
}

fn veto_registered(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let file = memory("veto", 1)?;
    device.fd_preserve(&file)?;
    device.fd_preserve(forge::open()?)?;
    let fault = Fault::Preserve(ODD).inject()?;
    same("the error", context.refused_kexec()?.errno(), ODD)?;
    drop(fault);
    state_is(&device, State::Normal)?;
    is_free(&file)?;
    same("files", device.list_files()?.len(), 2)?;
    enter(&device, State::Prepared)?;
    is_held(&file)?;
    Ok(device.cancel()?)
}

fn dependency(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "misses", 2)?;
    session.add_dependency(Token(1), Needed::Here(Token(2)))?;
    session.unpreserve_fd(Token(2))?;
    let error = context.refused_kexec()?;
    same("the error", error.errno(), Errno::ENOLINK)?;
    state_is(&device, State::Normal)?;
    same("the cause", device.failure()?.cause, Cause::Dependency)
}

fn veto_prepared(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "veto", 1)?;
    session.preserve_fd(forge::open()?, Token(7))?;
    enter(&device, State::Prepared)?;
    let fault = Fault::Freeze(ODD).inject()?;
    same("the error", context.refused_kexec()?.errno(), ODD)?;
    drop(fault);
    state_is(&device, State::Normal)?;
    Ok(session.preserve_fd(memory("veto", 2)?, Token(2))?)
}

fn leave_normal(context: &mut Context<'_>) -> Result<()> {
    context.hold(session(&device()?, "implicit", 2)?);
    Ok(())
}

fn leave_in(context: &mut Context<'_>, state: State) -> Result<()> {
    let device = device()?;
    let session = session(&device, "implicit", 2)?;
    enter(&device, state)?;
    context.hold(session);
    Ok(())
}

fn leave_prepared(context: &mut Context<'_>) -> Result<()> {
    leave_in(context, State::Prepared)
}

fn leave_frozen(context: &mut Context<'_>) -> Result<()> {
    leave_in(context, State::Frozen)
}

fn arrived(_: &mut Context<'_>) -> Result<()> {
    let session = incoming("implicit")?;
    retrieve(&session, "implicit", 1)?;
    retrieve(&session, "implicit", 2)?;
    Ok(session.finish()?)
}

/// A claimed session is its owner's: it does not go on by itself, but what its
/// owner preserves anew does.
fn leave_updated(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let old = device.retrieve_session(&name("implicit"))?;
    let file = retrieve(&old, "implicit", 1)?;
    old.finish()?;
    let new = session(&device, "new", 0)?;
    new.preserve_fd(file, Token(1))?;
    context.hold(new);
    Ok(())
}

fn arrived_new(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    refused(device.retrieve_session(&name("implicit")), Errno::ENOENT)?;
    let session = device.retrieve_session(&name("new"))?;
    let file = std::fs::File::from(session.retrieve_fd(Token(1))?);
    super::tools::verify(&file, "implicit", 1).context("carried by its owner")?;
    ensure!(session.retrieve_fd(Token(2)).is_err(), "there is more");
    Ok(session.finish()?)
}
