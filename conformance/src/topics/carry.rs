// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sessions that nobody has claimed when the next update comes.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Errno, FileStatus, Needed, SessionState, State, Token, Which};

use super::tools::{
    NO_DEPENDENCIES, NO_RFC, NO_SYSFS, incoming, memory, retrieve, session, state_is, untouched,
    verify,
};
use crate::case::{Case, Context, alone};
use crate::check::{device, name, refused, same};
use crate::difference::{absent, answers, missing};
use crate::forge::{self, Fault, ODD};
use crate::look::{self, SYSFS};

const DROPPED: &str = "mainline drops what nobody has claimed";

pub(super) const CASES: &[Case] = &[
    alone("unclaimed-goes-on", &[leave, untouched, untouched, found])
        .but(&[answers(Errno::ENOENT, DROPPED)]),
    alone(
        "dependencies-go-on",
        &[leave_dependent, untouched, dependent],
    )
    .but(&[missing(NO_DEPENDENCIES)]),
    alone(
        "device-files-go-on",
        &[leave_device, untouched, device_files],
    )
    .but(&[missing(NO_RFC)]),
    alone("claimed-stays-behind", &[leave, claim_one, one_left])
        .but(&[answers(Errno::ENOENT, DROPPED)]),
    alone(
        "new-one-of-the-same-name-supersedes",
        &[leave, same_name, new_one],
    ),
    alone("what-cannot-go-on-vetoes", &[leave_forge, veto]).but(&[missing(NO_RFC)]),
    alone(
        "discard-loses-even-where-all-else-vetoes",
        &[leave_mixed, discard, gone],
    )
    .but(&[absent(NO_SYSFS)]),
];

fn leave(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    context.hold(session(&device, "carry", 2)?);
    context.hold(session(&device, "carry-too", 1)?);
    Ok(())
}

fn found(_: &mut Context<'_>) -> Result<()> {
    for (text, files) in [("carry", 2), ("carry-too", 1)] {
        let session = incoming(text)?;
        for token in 1..=files {
            retrieve(&session, text, token)?;
        }
        session.finish()?;
    }
    Ok(())
}

fn leave_dependent(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let dependent = session(&device, "carry", 1)?;
    let needed = session(&device, "carry-too", 1)?;
    dependent.add_dependency(Token(1), Needed::In(name("carry-too"), Token(1)))?;
    context.hold(dependent);
    context.hold(needed);
    Ok(())
}

fn dependent(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let entry = look::session(&device, Which::Incoming, "carry")?;
    let entry = entry.context("it is not there")?;
    same("the session", entry.state, SessionState::Unclaimed)?;
    let needed = device.retrieve_session(&name("carry-too"))?;
    refused(needed.finish(), Errno::EBUSY)?;
    let dependent = device.retrieve_session(&name("carry"))?;
    let needs = dependent.list_dependencies(Token(1))?;
    ensure!(needs.len() == 1, "it needs {needs:?}");
    same("its session", needs[0].session, Some(name("carry-too")))?;
    refused(dependent.retrieve_fd(Token(1)), Errno::ENOTCONN)?;
    let status = needed.list_files()?[0].status;
    same("what it needs", status, FileStatus::Incoming)?;
    retrieve(&needed, "carry-too", 1)?;
    retrieve(&dependent, "carry", 1)?;
    dependent.finish()?;
    Ok(needed.finish()?)
}

fn leave_device(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let token = device.fd_preserve(memory("carry", 9)?)?;
    context.note("token", token.0);
    context.hold(device);
    Ok(())
}

fn device_files(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let token = Token(context.noted("token")?);
    verify(&fs::File::from(device.fd_restore(token)?), "carry", 9)?;
    device.finish_update()?;
    state_is(&device, State::Normal)
}

/// One is claimed and left so, one is not.
fn claim_one(context: &mut Context<'_>) -> Result<()> {
    let session = incoming("carry")?;
    retrieve(&session, "carry", 1)?;
    context.hold(session);
    Ok(())
}

fn one_left(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    refused(device.retrieve_session(&name("carry")), Errno::ENOENT)?;
    let session = device.retrieve_session(&name("carry-too"))?;
    retrieve(&session, "carry-too", 1)?;
    same("lost sessions", device.info()?.lost_sessions, 1)?;
    Ok(session.finish()?)
}

/// Two sessions of one name cannot both be handed over: the old one, which nobody has
/// asked for, gives way.
fn same_name(context: &mut Context<'_>) -> Result<()> {
    let new = device()?.create_session(&name("carry"))?;
    new.preserve_fd(memory("new", 1)?, Token(1))?;
    context.hold(new);
    Ok(())
}

fn new_one(_: &mut Context<'_>) -> Result<()> {
    let session = incoming("carry")?;
    retrieve(&session, "new", 1)?;
    refused(session.retrieve_fd(Token(2)), Errno::ENOENT)?;
    Ok(session.finish()?)
}

fn leave_forge(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    device.info()?;
    let session = session(&device, "carry", 1)?;
    session.preserve_fd(forge::open()?, Token(7))?;
    context.hold(session);
    Ok(())
}

/// The machine stays updated, and the session where it was.
fn veto(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Updated)?;
    let fault = Fault::Preserve(ODD).inject()?;
    for _ in 0..2 {
        same("the error", context.refused_kexec()?.errno(), ODD)?;
    }
    drop(fault);
    state_is(&device, State::Updated)?;
    let entry = look::session(&device, Which::Incoming, "carry")?;
    let entry = entry.context("it is not there any more")?;
    same("the session", entry.state, SessionState::Unclaimed)?;
    let session = device.retrieve_session(&name("carry"))?;
    retrieve(&session, "carry", 1)?;
    session.retrieve_fd(Token(7))?;
    session.finish()?;
    state_is(&device, State::Normal)
}

/// One that can go on and one of which a file cannot, because its handler vetoes.
fn leave_mixed(context: &mut Context<'_>) -> Result<()> {
    look::sysfs("unclaimed")?;
    let device = device()?;
    let session = session(&device, "carry", 1)?;
    session.preserve_fd(forge::open()?, Token(7))?;
    context.hold(session);
    context.hold(self::session(&device, "carry-too", 1)?);
    Ok(())
}

fn discard(context: &mut Context<'_>) -> Result<()> {
    for (file, word) in [("unclaimed", "discard"), ("reboot", "veto")] {
        fs::write(format!("{SYSFS}/{file}"), word)?;
        same("the word", look::sysfs(file)?, format!("{word}\n"))?;
    }
    context.hold(Fault::Preserve(ODD).inject()?);
    Ok(())
}

fn gone(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Updated)?;
    let session = device.retrieve_session(&name("carry"))?;
    refused(session.retrieve_fd(Token(7)), Errno::ENOTRECOVERABLE)?;
    retrieve(&session, "carry", 1)?;
    session.finish()?;
    let session = device.retrieve_session(&name("carry-too"))?;
    retrieve(&session, "carry-too", 1)?;
    session.finish()?;
    state_is(&device, State::Normal)
}
