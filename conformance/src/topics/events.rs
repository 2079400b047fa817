// SPDX-License-Identifier: MIT OR Apache-2.0
//! The events: when they are legal, who can veto them, what a veto undoes.

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Cause, Errno, Event, State, Token, Tried};

use super::tools::{NO_EVENTS, NO_RFC, enter, is_free, is_held, memory, session, state_is};
use crate::case::{Case, Context, here};
use crate::check::{device, name, refused, same};
use crate::child::send;
use crate::difference::missing;
use crate::forge::{self, Fault, HANDLER, ODD};

pub(super) const CASES: &[Case] = &[
    here("illegal-events-are-einval", illegal).but(&[missing(NO_EVENTS)]),
    here("prepared-refuses-changes", |context| {
        changes(context, State::Prepared)
    })
    .but(&[missing(NO_EVENTS)]),
    here("frozen-refuses-changes", |context| {
        changes(context, State::Frozen)
    })
    .but(&[missing(NO_EVENTS)]),
    here("cancel-makes-all-usable", usable).but(&[missing(NO_EVENTS)]),
    here("veto-at-prepare-undoes-prepare", veto_prepare).but(&[missing(NO_RFC)]),
    here("veto-at-freeze-undoes-all", veto_freeze).but(&[missing(NO_EVENTS)]),
    here("veto-at-freeze-thaws-the-frozen", thaw).but(&[missing(NO_EVENTS)]),
    here("failures-are-counted", counted).but(&[missing(NO_EVENTS)]),
];

/// All pairs of state and event, but those of updated, which need a kexec.
fn illegal(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    for (state, legal) in [
        (State::Normal, &[Event::Prepare][..]),
        (State::Prepared, &[Event::Freeze, Event::Cancel]),
        (State::Frozen, &[Event::Cancel]),
    ] {
        enter(&device, state)?;
        for event in Event::ALL {
            if !legal.contains(&event) {
                refused(send(&device, event), Errno::EINVAL)
                    .with_context(|| format!("{event} in {state}"))?;
                state_is(&device, state).with_context(|| format!("after {event}"))?;
            }
        }
        if state != State::Normal {
            device.cancel()?;
        }
    }
    Ok(())
}

/// What took part is fixed.
fn changes(_: &mut Context<'_>, state: State) -> Result<()> {
    let device = device()?;
    let session = session(&device, "fixed", 2)?;
    let token = device.fd_preserve(memory("fixed", 3)?)?;
    enter(&device, state)?;
    refused(session.unpreserve_fd(Token(1)), Errno::EBUSY).context("unpreserve")?;
    refused(device.fd_preserve(memory("fixed", 5)?), Errno::EBUSY).context("FD_PRESERVE")?;
    refused(device.fd_unpreserve(token), Errno::EBUSY).context("FD_UNPRESERVE")?;
    refused(device.fd_restore(token), Errno::EBUSY).context("FD_RESTORE")?;
    same("the name", session.name()?, name("fixed"))?;
    device.cancel()?;
    device.fd_unpreserve(token)?;
    Ok(session.unpreserve_fd(Token(1))?)
}

fn usable(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    for state in [State::Prepared, State::Frozen] {
        let file = memory("usable", 1)?;
        let session = session(&device, "usable", 0)?;
        session.preserve_fd(&file, Token(1))?;
        enter(&device, state)?;
        device.cancel()?;
        is_held(&file)?;
        session.preserve_fd(memory("usable", 2)?, Token(2))?;
        drop(session);
        is_free(&file)?;
    }
    Ok(())
}

/// Registered files are preserved at prepare: the first one is, the second one
/// vetoes, and both are registered again.
fn veto_prepare(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let file = memory("veto", 1)?;
    let tokens = [
        device.fd_preserve(&file)?,
        device.fd_preserve(forge::open()?)?,
    ];
    let before = device.failure()?.sequence;
    let fault = Fault::Preserve(ODD).inject()?;
    refused(device.prepare(), ODD)?;
    drop(fault);
    state_is(&device, State::Normal)?;
    same("preserved and frozen", forge::counts()?, (0, 0))?;
    is_free(&file)?;
    let failure = device.failure()?;
    same("failures", failure.sequence, before + 1)?;
    same("the event", failure.event, Tried::Prepare)?;
    same("the error", failure.error, Some(ODD))?;
    same("the cause", failure.cause, Cause::Handler)?;
    same("the token", failure.token, tokens[1])?;
    same("the participant", failure.participant.as_str(), HANDLER)?;
    enter(&device, State::Prepared)?;
    is_held(&file)?;
    same("preserved and frozen", forge::counts()?, (1, 0))?;
    device.cancel()?;
    is_free(&file)?;
    same("preserved and frozen", forge::counts()?, (0, 0))?;
    tokens
        .into_iter()
        .try_for_each(|token| Ok(device.fd_unpreserve(token)?))
}

fn veto_freeze(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "veto", 1)?;
    session.preserve_fd(forge::open()?, Token(7))?;
    enter(&device, State::Prepared)?;
    let fault = Fault::Freeze(ODD).inject()?;
    refused(device.freeze(), ODD)?;
    drop(fault);
    state_is(&device, State::Normal)?;
    let failure = device.failure()?;
    same("the event", failure.event, Tried::Freeze)?;
    same("the error", failure.error, Some(ODD))?;
    same("the cause", failure.cause, Cause::Handler)?;
    same("the session", failure.session, Some(name("veto")))?;
    same("the token", failure.token, Token(7))?;
    same("the participant", failure.participant.as_str(), HANDLER)?;
    session.preserve_fd(memory("veto", 8)?, Token(8))?;
    enter(&device, State::Frozen)?;
    Ok(device.cancel()?)
}

fn thaw(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "thaw", 0)?;
    for token in 1..=3 {
        session.preserve_fd(forge::open()?, Token(token))?;
    }
    device.prepare()?;
    let passes = Fault::FreezePasses(2).inject()?;
    let fault = Fault::Freeze(ODD).inject()?;
    refused(device.freeze(), ODD)?;
    drop((fault, passes));
    same("preserved and frozen", forge::counts()?, (3, 0))?;
    same("the token", device.failure()?.token, Token(3))?;
    drop(session);
    same("preserved and frozen", forge::counts()?, (0, 0))
}

fn counted(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let session = session(&device, "counted", 0)?;
    session.preserve_fd(forge::open()?, Token(1))?;
    let before = device.failure()?.sequence;
    // What is illegal has not begun, and is no failure of anybody.
    refused(device.freeze(), Errno::EINVAL)?;
    same("failures", device.failure()?.sequence, before)?;
    for round in 1..=2 {
        device.prepare()?;
        let fault = Fault::Freeze(ODD).inject()?;
        refused(device.freeze(), ODD)?;
        drop(fault);
        same("failures", device.failure()?.sequence, before + round)?;
    }
    ensure!(device.failure()?.error == Some(ODD), "the error is lost");
    Ok(())
}
