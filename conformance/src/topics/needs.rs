// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a handler in C says that its file needs, and gets back: the test driver's files need
//! whatever the case wants.

use std::os::fd::AsFd;

use anyhow::{Result, ensure};
use luo_sys::{Cause, Errno, Needed, Session, State, Token};

use super::tools::{NOT_IN_C, enter, incoming, memory, retrieve, session, state_is};
use crate::case::{Case, Context, here, shared};
use crate::check::{device, refused, same};
use crate::difference::{Differs, Expect, answers, simulated};
use crate::forge;

/// Mainline's handlers do not know the session.
const DIFFERS: &[Differs] = &[
    answers(
        Errno::EOPNOTSUPP,
        "mainline does not tell a handler the session",
    ),
    simulated(Expect::Absent(NOT_IN_C)),
];

pub(super) const CASES: &[Case] = &[
    here("what-a-handler-says-is-a-dependency", said).but(DIFFERS),
    here("it-goes-with-the-file", goes).but(DIFFERS),
    here("of-its-own-session-only", own_session).but(DIFFERS),
    here("without-it-the-freeze-fails", missing_one).but(DIFFERS),
    shared("it-comes-back-first", leave, first).but(DIFFERS),
    shared("it-comes-back-once", leave, once).but(DIFFERS),
    shared(
        "what-nobody-has-said-is-not-given",
        leave_dropped,
        not_given,
    )
    .but(DIFFERS),
];

/// Preserves a new file of the driver's, which needs another; gives its number.
fn preserve_needing(session: &Session, token: u64, needed: impl AsFd) -> Result<u32> {
    let file = forge::open()?;
    let needs = forge::need(needed)?;
    session.preserve_fd(&file, Token(token))?;
    drop(needs);
    forge::id(&file)
}

fn needs(session: &Session, token: u64) -> Result<Vec<u64>> {
    let entries = session.list_dependencies(Token(token))?;
    Ok(entries.into_iter().map(|entry| entry.token.0).collect())
}

fn said(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "needs", 0)?;
    let (memory, file) = (memory("needs", 1)?, forge::open()?);
    session.preserve_fd(&memory, Token(1))?;
    session.preserve_fd(&file, Token(2))?;
    // A file of another handler, and one of the same.
    preserve_needing(&session, 3, &memory)?;
    preserve_needing(&session, 4, &file)?;
    same("what 3 needs", needs(&session, 3)?, vec![1])?;
    same("what 4 needs", needs(&session, 4)?, vec![2])?;
    let again = session.add_dependency(Token(3), Needed::Here(Token(1)));
    refused(again, Errno::EEXIST)?;
    let back = session.add_dependency(Token(2), Needed::Here(Token(4)));
    refused(back, Errno::ELOOP)
}

fn goes(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "needs", 1)?;
    let file = forge::open()?;
    session.preserve_fd(&file, Token(2))?;
    for _ in 0..2 {
        preserve_needing(&session, 3, &file)?;
        same("what 3 needs", needs(&session, 3)?, vec![2])?;
        session.unpreserve_fd(Token(3))?;
    }
    session.preserve_fd(forge::open()?, Token(3))?;
    same("what 3 needs", needs(&session, 3)?, vec![])
}

fn own_session(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let (session, other) = (session(&device, "needs", 0)?, session(&device, "other", 0)?);
    let file = forge::open()?;
    other.preserve_fd(&file, Token(1))?;
    let before = forge::counts()?;
    let none = std::fs::File::open("/dev/null")?;
    // In another session, preserved by nobody, and of no handler.
    for needed in [file.as_fd(), memory("needs", 1)?.as_fd(), none.as_fd()] {
        let one = forge::open()?;
        let _needs = forge::need(needed)?;
        refused(session.preserve_fd(&one, Token(2)), Errno::ENOENT)?;
        same("preserved and frozen", forge::counts()?, before)?;
    }
    // The file itself.
    let one = forge::open()?;
    let _needs = forge::need(&one)?;
    refused(session.preserve_fd(&one, Token(2)), Errno::ENOENT)?;
    same("files", session.list_files()?.len(), 0)
}

fn missing_one(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "needs", 0)?;
    let file = forge::open()?;
    session.preserve_fd(&file, Token(1))?;
    preserve_needing(&session, 2, &file)?;
    session.unpreserve_fd(Token(1))?;
    refused(device.prepare(), Errno::ENOLINK)?;
    let failure = device.failure()?;
    same("the cause", failure.cause, Cause::Dependency)?;
    same("the file", failure.token, Token(2))?;
    session.drop_dependency(Token(2), Needed::Here(Token(1)))?;
    enter(&device, State::Frozen)?;
    device.cancel()?;
    state_is(&device, State::Normal)
}

fn leave(context: &mut Context<'_>) -> Result<()> {
    let text = context.own_name().to_owned();
    let session = session(&*context.device()?, &text, 1)?;
    let file = forge::open()?;
    session.preserve_fd(&file, Token(2))?;
    context.note("needed", forge::id(&file)?.into());
    let same_kind = preserve_needing(&session, 3, &file)?;
    context.note("needs", same_kind.into());
    let memory = memory(&text, 4)?;
    session.preserve_fd(&memory, Token(4))?;
    preserve_needing(&session, 5, &memory)?;
    context.hold(session);
    Ok(())
}

/// The program asks for the one that needs another, and its handler has that one.
fn first(context: &mut Context<'_>) -> Result<()> {
    let text = context.own_name().to_owned();
    let (needed, needs) = (context.noted("needed")?, context.noted("needs")?);
    let session = incoming(&text)?;
    forge::clear_calls()?;
    let _file = session.retrieve_fd(Token(3))?;
    let calls = format!("retrieve:{needed} retrieve:{needs} with:{needed}");
    same("the calls", forge::calls()?.join(" "), calls)?;
    let _file = session.retrieve_fd(Token(5))?;
    let calls = forge::calls()?;
    same(
        "the last call",
        calls.last().map(String::as_str),
        Some("with:another"),
    )?;
    retrieve(&session, &text, 4)?;
    Ok(session.finish()?)
}

fn once(context: &mut Context<'_>) -> Result<()> {
    let needed = context.noted("needed")?;
    let session = incoming(context.own_name())?;
    forge::clear_calls()?;
    for token in [2, 3, 2] {
        session.retrieve_fd(Token(token))?;
    }
    let retrieved = format!("retrieve:{needed}");
    let calls = forge::calls()?;
    let times = calls.iter().filter(|call| **call == retrieved).count();
    same("times that it was restored", times, 1)?;
    ensure!(calls.contains(&format!("with:{needed}")), "{calls:?}");
    Ok(session.finish()?)
}

fn leave_dropped(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, context.own_name(), 1)?;
    let file = forge::open()?;
    session.preserve_fd(&file, Token(2))?;
    preserve_needing(&session, 3, &file)?;
    session.drop_dependency(Token(3), Needed::Here(Token(2)))?;
    context.hold(session);
    Ok(())
}

fn not_given(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    refused(session.retrieve_fd(Token(3)), Errno::ENOENT)?;
    session.retrieve_fd(Token(2))?;
    Ok(session.finish()?)
}
