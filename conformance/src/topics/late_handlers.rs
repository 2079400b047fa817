// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files whose handler comes after the kexec, as one in a module does. The test driver's is
//! registered on request where the kernel is told so.

use std::fs::File;
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result, ensure};
use luo_sys::{
    Cause, Device, Errno, FileStatus, Needed, ParticipantKind, Session, SessionState, State, Token,
    Which,
};

use super::owners::create;
use super::tools::{
    FIRST, NO_CHOICE, NO_DEPENDENCIES, NO_RFC, incoming, memory, retrieve, session, state_is,
};
use crate::case::{Case, Context, alone};
use crate::check::{device, name, refused, same};
use crate::difference::{Differs, Expect, answers, missing, simulated};
use crate::forge;
use crate::kmsg::Reader;
use crate::look;
use crate::user::{AllKinds, Delegated, USERS, as_user};

/// What mainline does: no session can be had, then or ever.
const ALL_WAIT: &str = "mainline takes nothing over if a handler is missing, now or later";
const DIFFERS: &[Differs] = &[answers(Errno::EIO, ALL_WAIT)];

pub(super) const CASES: &[Case] = &[
    alone("other-files-come-at-once", &[leave, others]).but(DIFFERS),
    alone("it-comes-with-its-handler", &[leave_needed, comes]).but(&[missing(NO_DEPENDENCIES)]),
    alone("a-handler-that-goes-is-waited-for-again", &[leave, again]).but(DIFFERS),
    alone("its-session-is-finished-with-it", &[leave, finished]).but(DIFFERS),
    alone("finish-by-event-leaves-it", &[leave, left]).but(DIFFERS),
    alone("a-file-of-the-device-waits", &[leave_device, restored]).but(&[missing(NO_RFC)]),
    alone("its-flb-comes-with-it", &[leave_alone, flb]).but(&[
        answers(Errno::EIO, ALL_WAIT),
        simulated(Expect::Absent("the simulator has no FLBs")),
    ]),
    alone("the-next-update-loses-it-alone", &[leave, onward, lost]).but(DIFFERS),
    alone("a-users-file-waits", &[leave_users, users]).but(NO_CHOICE),
    alone(
        "a-users-file-keeps-no-machine-from-its-update",
        &[leave_users, users_onward, users_lost],
    )
    .but(NO_CHOICE),
];

/// The file whose handler comes late; beside it is a memfd under [`FIRST`].
const LATE: Token = Token(2);

/// The session of it, and what the memfd's contents belong to.
const TEXT: &str = "late handler";

/// The next kernel has the handler on request only.
fn comes_late(context: &mut Context<'_>) {
    context.boot_with("luo_forge.late", "1");
}

/// A session with a memfd and a file of the test driver's, whose number is noted.
fn leave(context: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, TEXT, 1)?;
    preserve(context, &session)?;
    context.hold(session);
    comes_late(context);
    Ok(())
}

fn preserve(context: &mut Context<'_>, session: &Session) -> Result<()> {
    let file = forge::open()?;
    session.preserve_fd(&file, LATE)?;
    context.note("id", forge::id(&file)?.into());
    Ok(())
}

/// Asserts that it is the file that was left.
fn is_it(context: &Context<'_>, file: OwnedFd) -> Result<()> {
    let id = forge::id(&File::from(file))?;
    same("the file's number", u64::from(id), context.noted("id")?)
}

/// The handlers that files wait for, and how many do.
fn awaited(device: &Device) -> Result<Vec<(String, u64)>> {
    let all = device.list_participants()?.into_iter();
    let awaited = all.filter(|entry| entry.kind == ParticipantKind::Awaited);
    Ok(awaited.map(|entry| (entry.name, entry.files)).collect())
}

fn others(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = device.retrieve_session(&name(TEXT))?;
    retrieve(&session, TEXT, 1)?;
    refused(session.retrieve_fd(LATE), Errno::EAGAIN)?;
    let files = session.list_files()?.into_iter();
    let files: Vec<_> = files
        .map(|file| (file.token, file.status, file.error))
        .collect();
    let expected = vec![
        (FIRST, FileStatus::Retrieved, None),
        (LATE, FileStatus::Incoming, Some(Errno::EAGAIN)),
    ];
    same("its files", files, expected)?;
    let handler = session.list_files()?[1].handler.clone();
    same("the handler of the one", handler.as_str(), forge::HANDLER)?;
    let waits = vec![(forge::HANDLER.to_owned(), 1)];
    same("what is waited for", awaited(&device)?, waits)?;
    forge::register(true)?;
    same("what is waited for", awaited(&device)?, vec![])?;
    same("its error", session.list_files()?[1].error, None)?;
    is_it(context, session.retrieve_fd(LATE)?)?;
    session.finish()?;
    state_is(&device, State::Normal)
}

/// A memfd that needs the file, and one that does not.
fn leave_needed(context: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, TEXT, 1)?;
    preserve(context, &session)?;
    session.preserve_fd(memory(TEXT, 3)?, Token(3))?;
    session.add_dependency(Token(3), Needed::Here(LATE))?;
    context.hold(session);
    comes_late(context);
    Ok(())
}

fn comes(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(TEXT)?;
    for _ in 0..2 {
        for token in [LATE, Token(3)] {
            refused(session.retrieve_fd(token), Errno::EAGAIN)?;
        }
    }
    retrieve(&session, TEXT, 1)?;
    forge::clear_calls()?;
    forge::register(true)?;
    same("calls at its registration", forge::calls()?, vec![])?;
    retrieve(&session, TEXT, 3)?;
    let restored = format!("retrieve:{}", context.noted("id")?);
    same("the calls", forge::calls()?, vec![restored])?;
    is_it(context, session.retrieve_fd(LATE)?)?;
    Ok(session.finish()?)
}

fn again(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(TEXT)?;
    for _ in 0..2 {
        refused(session.retrieve_fd(LATE), Errno::EAGAIN)?;
        forge::register(true)?;
        forge::register(false)?;
    }
    refused(session.retrieve_fd(LATE), Errno::EAGAIN)?;
    forge::register(true)?;
    is_it(context, session.retrieve_fd(LATE)?)?;
    retrieve(&session, TEXT, 1)?;
    Ok(session.finish()?)
}

/// FINISH and close refuse, as they do where a handler does not let go: nothing of the session is
/// lost, and it can be taken back until the handler is there.
fn finished(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = device.retrieve_session(&name(TEXT))?;
    refused(session.finish(), Errno::EBUSY)?;
    retrieve(&session, TEXT, 1)?;
    drop(session);
    let entry = look::session(&device, Which::Incoming, TEXT)?;
    let entry = entry.context("it is gone")?;
    same("the session", entry.state, SessionState::Unfinished)?;
    let session = device.retrieve_session(&name(TEXT))?;
    retrieve(&session, TEXT, 1)?;
    refused(session.retrieve_fd(LATE), Errno::EAGAIN)?;
    drop(session);
    drop(device);
    forge::clear_calls()?;
    forge::register(true)?;
    // The first call finishes it, and the update is over.
    let device = self::device()?;
    state_is(&device, State::Normal)?;
    let released = format!("finish:{}", context.noted("id")?);
    same("the calls", forge::calls()?, vec![released])?;
    refused(device.retrieve_session(&name(TEXT)), Errno::ENOENT)
}

fn left(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    device.finish_update()?;
    state_is(&device, State::Normal)?;
    // Nor does it stand in the way of the next one.
    device.prepare()?;
    device.cancel()?;
    let session = device.retrieve_session(&name(TEXT))?;
    refused(session.retrieve_fd(FIRST), Errno::ENOENT)?;
    refused(session.retrieve_fd(LATE), Errno::EAGAIN)?;
    forge::register(true)?;
    is_it(context, session.retrieve_fd(LATE)?)?;
    Ok(session.finish()?)
}

fn leave_device(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let file = forge::open()?;
    context.note("id", forge::id(&file)?.into());
    context.note("late", device.fd_preserve(&file)?.0);
    context.note("other", device.fd_preserve(memory(TEXT, 1)?)?.0);
    context.hold(device);
    comes_late(context);
    Ok(())
}

fn restored(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let late = Token(context.noted("late")?);
    refused(device.fd_restore(late), Errno::EAGAIN)?;
    device.fd_restore(Token(context.noted("other")?))?;
    forge::register(true)?;
    is_it(context, device.fd_restore(late)?)?;
    device.finish_update()?;
    state_is(&device, State::Normal)
}

/// A session with nothing but a file of the test driver's.
fn leave_alone(context: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, TEXT, 0)?;
    preserve(context, &session)?;
    context.hold(session);
    comes_late(context);
    Ok(())
}

/// The kernel's own test has FLBs of each handler, and says when they are finished.
fn flb(context: &mut Context<'_>) -> Result<()> {
    forge::has_flbs()?;
    let session = incoming(TEXT)?;
    refused(session.retrieve_fd(LATE), Errno::EAGAIN)?;
    forge::register(true)?;
    is_it(context, session.retrieve_fd(LATE)?)?;
    let mut log = Reader::from_boot()?;
    let mut finished = || -> Result<usize> {
        let messages = log.read()?.into_iter();
        let of_flbs = messages.filter(|line| line.text.contains("finish was triggered"));
        Ok(of_flbs.count())
    };
    same("FLBs that are finished", finished()?, 0)?;
    session.finish()?;
    ensure!(finished()? > 0, "no FLB is finished with its last file");
    Ok(())
}

/// Where what cannot go vetoes, this does, with the handler's name; else it is lost.
fn onward(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    same("the error", context.refused_kexec()?.errno(), Errno::ENOENT)?;
    let failure = device.failure()?;
    same("the cause", failure.cause, Cause::Carry)?;
    same("the file", failure.token, LATE)?;
    same("its handler", failure.participant.as_str(), forge::HANDLER)?;
    // It waits on, and nobody asks for it.
    let waits = vec![(forge::HANDLER.to_owned(), 1)];
    same("what is waited for", awaited(&device)?, waits)
}

fn lost(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    same("lost files", device.info()?.lost_files, 1)?;
    let session = device.retrieve_session(&name(TEXT))?;
    retrieve(&session, TEXT, 1)?;
    refused(session.retrieve_fd(LATE), Errno::ENOTRECOVERABLE)?;
    session.finish()?;
    state_is(&device, State::Normal)
}

fn leave_users(context: &mut Context<'_>) -> Result<()> {
    let _delegated = Delegated::new()?;
    let _kinds = AllKinds::new()?;
    let [user, _] = USERS;
    let session = create(user, TEXT)?;
    session.preserve_fd(memory(TEXT, 1)?, FIRST)?;
    preserve(context, &session)?;
    context.hold(session);
    comes_late(context);
    Ok(())
}

/// Takes the user's session as the user.
fn users_session() -> Result<Session> {
    let _delegated = Delegated::new()?;
    let [user, _] = USERS;
    as_user(user, || Ok(Device::open()?.retrieve_session(&name(TEXT))?))
}

fn users(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    same("lost files", device.info()?.lost_files, 0)?;
    let session = users_session()?;
    let [user, _] = USERS;
    as_user(user, || {
        retrieve(&session, TEXT, 1)?;
        refused(session.retrieve_fd(LATE), Errno::EAGAIN)?;
        let files = session.list_files()?;
        same("its error", files[1].error, Some(Errno::EAGAIN))?;
        refused(session.finish(), Errno::EBUSY)
    })?;
    forge::register(true)?;
    let file = as_user(user, || Ok(session.retrieve_fd(LATE)?))?;
    is_it(context, file)?;
    as_user(user, || Ok(session.finish()?))?;
    state_is(&device, State::Normal)
}

/// Even where the administrator's would veto.
fn users_onward(_: &mut Context<'_>) -> Result<()> {
    look::set_sysfs("reboot", "veto")?;
    let waits = vec![(forge::HANDLER.to_owned(), 1)];
    same("what is waited for", awaited(&device()?)?, waits)
}

fn users_lost(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    same("lost files", device.info()?.lost_files, 1)?;
    let session = users_session()?;
    let [user, _] = USERS;
    as_user(user, || {
        retrieve(&session, TEXT, 1)?;
        refused(session.retrieve_fd(LATE), Errno::ENOTRECOVERABLE)?;
        Ok(session.finish()?)
    })?;
    state_is(&device, State::Normal)
}
