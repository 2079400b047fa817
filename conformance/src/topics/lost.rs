// SPDX-License-Identifier: MIT OR Apache-2.0
//! What cannot go with a reboot is lost alone, and the next kernel is told.

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Errno, FileStatus, Needed, Session, State, Token};

use super::tools::{NO_CONTRACT, enter, incoming, memory, retrieve, session, state_is};
use crate::case::{Case, Context, alone};
use crate::check::{device, name, refused, same};
use crate::difference::missing;
use crate::forge::{self, Fault, ODD};

/// The token of the file that is lost.
const BAD: Token = Token(7);

pub(super) const CASES: &[Case] = &[
    alone("a-veto-loses-the-file-alone", &[leave_bad, told]).but(&[missing(NO_CONTRACT)]),
    alone("after-the-events-too", &[leave_frozen, told]).but(&[missing(NO_CONTRACT)]),
    alone("with-those-that-need-it", &[leave_needed, dependents_too]).but(&[missing(NO_CONTRACT)]),
    alone("who-misses-another-is-lost", &[leave_missing, missed]).but(&[missing(NO_CONTRACT)]),
    alone("a-registered-file", &[leave_registered, registered_lost]).but(&[missing(NO_CONTRACT)]),
    alone("what-cannot-be-carried", &[leave_good, fail_to_carry, told])
        .but(&[missing(NO_CONTRACT)]),
    alone(
        "it-is-told-until-it-is-finished",
        &[leave_bad, untouched, told_again],
    )
    .but(&[missing(NO_CONTRACT)]),
];

/// A session with a memfd, and with a file of the driver.
fn with_bad() -> Result<Session> {
    let device = device()?;
    // What mainline lacks is said first.
    device.info()?;
    let session = session(&device, "lost", 1)?;
    session.preserve_fd(forge::open()?, BAD)?;
    Ok(session)
}

fn leave_bad(context: &mut Context<'_>) -> Result<()> {
    context.hold(with_bad()?);
    context.hold(Fault::Freeze(ODD).inject()?);
    Ok(())
}

fn leave_frozen(context: &mut Context<'_>) -> Result<()> {
    context.hold(with_bad()?);
    enter(&device()?, State::Frozen)?;
    context.hold(Fault::Freeze(ODD).inject()?);
    Ok(())
}

fn leave_good(context: &mut Context<'_>) -> Result<()> {
    context.hold(with_bad()?);
    Ok(())
}

/// The session is there without it.
fn look(session: &Session) -> Result<()> {
    refused(session.retrieve_fd(BAD), Errno::ENOTRECOVERABLE)?;
    refused(session.retrieve_fd(BAD), Errno::ENOTRECOVERABLE).context("again")?;
    refused(session.retrieve_fd(Token(9)), Errno::ENOENT)?;
    let files = session.list_files()?;
    let lost = files.iter().find(|file| file.token == BAD);
    let lost = lost.context("it is not listed")?;
    same("the status", lost.status, FileStatus::Lost)?;
    same("the error", lost.error, Some(ODD))?;
    retrieve(session, "lost", 1)?;
    Ok(())
}

fn told(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let info = device.info()?;
    same("lost files", info.lost_files, 1)?;
    same("lost sessions", info.lost_sessions, 0)?;
    let session = device.retrieve_session(&name("lost"))?;
    look(&session)?;
    session.finish()?;
    state_is(&device, State::Normal)
}

fn leave_needed(context: &mut Context<'_>) -> Result<()> {
    let session = with_bad()?;
    session.preserve_fd(memory("lost", 2)?, Token(2))?;
    session.add_dependency(Token(2), Needed::Here(BAD))?;
    context.hold(session);
    context.hold(Fault::Freeze(ODD).inject()?);
    Ok(())
}

fn dependents_too(_: &mut Context<'_>) -> Result<()> {
    same("lost files", device()?.info()?.lost_files, 2)?;
    let session = incoming("lost")?;
    look(&session)?;
    refused(session.retrieve_fd(Token(2)), Errno::ENOTRECOVERABLE)?;
    Ok(session.finish()?)
}

fn leave_missing(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    device.info()?;
    let session = session(&device, "misses", 3)?;
    session.add_dependency(Token(1), Needed::Here(Token(2)))?;
    session.unpreserve_fd(Token(2))?;
    context.hold(session);
    Ok(())
}

fn missed(_: &mut Context<'_>) -> Result<()> {
    let session = incoming("misses")?;
    refused(session.retrieve_fd(Token(1)), Errno::ENOTRECOVERABLE)?;
    refused(session.retrieve_fd(Token(2)), Errno::ENOENT)?;
    retrieve(&session, "misses", 3)?;
    Ok(session.finish()?)
}

fn leave_registered(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    device.info()?;
    let good = device.fd_preserve(memory("registered", 1)?)?;
    let bad = device.fd_preserve(forge::open()?)?;
    context.note("good", good.0);
    context.note("bad", bad.0);
    context.hold(device);
    context.hold(Fault::Preserve(ODD).inject()?);
    Ok(())
}

fn registered_lost(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let bad = Token(context.noted("bad")?);
    refused(device.fd_restore(bad), Errno::ENOTRECOVERABLE)?;
    let arrived = device.list_arrived_files()?;
    let lost = arrived.iter().find(|file| file.token == bad);
    same(
        "the status",
        lost.map(|file| file.status),
        Some(FileStatus::Lost),
    )?;
    device.fd_restore(Token(context.noted("good")?))?;
    Ok(device.finish_update()?)
}

fn fail_to_carry(context: &mut Context<'_>) -> Result<()> {
    same("lost files", device()?.info()?.lost_files, 0)?;
    context.hold(Fault::Preserve(ODD).inject()?);
    Ok(())
}

/// A kernel that looks at nothing.
#[expect(clippy::unnecessary_wraps, reason = "a step like any other")]
fn untouched(_: &mut Context<'_>) -> Result<()> {
    Ok(())
}

/// The reboot between has lost nothing.
fn told_again(_: &mut Context<'_>) -> Result<()> {
    let info = device()?.info()?;
    ensure!(info.lost_files == 0, "lost anew: {}", info.lost_files);
    let session = incoming("lost")?;
    look(&session)?;
    Ok(session.finish()?)
}
