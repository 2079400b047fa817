// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors live until the last of them is closed, whoever has it.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Device, Errno, Session, Token};
use rustix::io::FdFlags;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use super::tools::{incoming, is_free, is_held, memory, retrieve, session};
use crate::case::{Case, Context, here, shared};
use crate::check::{device, name, refused, same};
use crate::child::{Child, Role, TOKEN};

pub(super) const CASES: &[Case] = &[
    here("close-unpreserves", close),
    here("sessions-outlive-the-device", outlive),
    here("a-duplicate-keeps-the-session", duplicate),
    here("a-child-keeps-the-session", child),
    here("a-child-can-use-the-session", child_uses),
    here("a-message-keeps-the-session", on_its_way),
    here("who-is-passed-the-session-keeps-it", passed_on),
    here("exec-closes-the-session", exec_closes),
    here("exec-keeps-what-it-is-told-to", exec_keeps),
    here("a-duplicate-keeps-the-device", device_duplicate),
    here("a-fork-keeps-the-device", device_fork),
    here("exec-closes-the-device", device_exec),
    shared(
        "a-retrieved-session-is-no-different",
        leave_retrieved,
        retrieved,
    ),
    shared("held-by-a-message-arrives", leave_message, message_arrived),
    shared("held-by-a-child-arrives", leave_child, child_arrived),
];

/// Asserts whether there is an outgoing session of that name.
fn is_there(device: &Device, text: &str, there: bool) -> Result<()> {
    let created = device.create_session(&name(text));
    if there {
        refused(created, Errno::EEXIST).context("it is gone")
    } else {
        created.map(drop).context("it is still there")
    }
}

fn close(_: &mut Context<'_>) -> Result<()> {
    let (device, file) = (device()?, memory("close", 1)?);
    for round in 0..3 {
        let session = session(&device, "close", 0)?;
        session.preserve_fd(&file, Token(round))?;
        is_held(&file)?;
        drop(session);
        is_free(&file)?;
    }
    super::tools::verify(&file, "close", 1)
}

fn outlive(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "outlive", 1)?;
    let device = device()?;
    same("the name", session.name()?, name("outlive"))?;
    session.preserve_fd(memory("outlive", 2)?, Token(2))?;
    is_there(&device, "outlive", true)
}

fn duplicate(_: &mut Context<'_>) -> Result<()> {
    let (device, file) = (device()?, memory("duplicate", 1)?);
    let session = session(&device, "duplicate", 0)?;
    session.preserve_fd(&file, Token(1))?;
    let duplicate = session.try_clone()?;
    drop(session);
    is_there(&device, "duplicate", true)?;
    refused(duplicate.preserve_fd(&file, Token(2)), Errno::EBUSY)?;
    drop(duplicate);
    is_there(&device, "duplicate", false)?;
    is_free(&file)
}

fn child(_: &mut Context<'_>) -> Result<()> {
    let (device, file) = (device()?, memory("child", 1)?);
    let session = session(&device, "child", 0)?;
    session.preserve_fd(&file, Token(1))?;
    let mut child = Child::start(Role::Hold, "", session.into_fd())?;
    child.ready()?;
    is_there(&device, "child", true)?;
    is_held(&file)?;
    child.kill()?;
    is_there(&device, "child", false)?;
    is_free(&file)
}

fn child_uses(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "uses", 0)?;
    let child = Child::start(Role::Preserve, "", session.try_clone()?.into_fd())?;
    same("its end", child.ended()?.code(), Some(0))?;
    // What it preserved stays after its end: the session is ours, too.
    refused(
        session.preserve_fd(memory("uses", 1)?, TOKEN),
        Errno::EEXIST,
    )
}

/// Sends a descriptor over a socket; gives the end that it can be received from.
fn send(session: &Session) -> Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    let fds = [session.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ensure!(
        ancillary.push(SendAncillaryMessage::ScmRights(&fds)),
        "no room for a descriptor"
    );
    let bytes = [IoSlice::new(b"x")];
    rustix::net::sendmsg(&ours, &bytes, &mut ancillary, SendFlags::empty())?;
    Ok(theirs)
}

fn receive(from: &UnixStream) -> Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    rustix::net::recvmsg(from, &mut bytes, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let fd = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    fd.context("no descriptor came")
}

/// Nobody has it open; a message that nobody has read yet does.
fn on_its_way(_: &mut Context<'_>) -> Result<()> {
    let (device, file) = (device()?, memory("way", 1)?);
    let session = session(&device, "way", 0)?;
    session.preserve_fd(&file, Token(1))?;
    let socket = send(&session)?;
    drop(session);
    is_there(&device, "way", true)?;
    is_held(&file)?;
    // The message goes with the socket.
    drop(socket);
    is_there(&device, "way", false)?;
    is_free(&file)
}

fn passed_on(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "passed", 1)?;
    let socket = send(&session)?;
    drop(session);
    let session = Session::from_fd(receive(&socket)?);
    drop(socket);
    is_there(&device, "passed", true)?;
    same("the name", session.name()?, name("passed"))?;
    session.preserve_fd(memory("passed", 2)?, Token(2))?;
    drop(session);
    is_there(&device, "passed", false)
}

/// Has a program running while `check` is made: it was executed before, and has
/// what it was not told to close.
fn beside(check: impl FnOnce() -> Result<()>) -> Result<()> {
    let mut program = Child::start(Role::Hold, "", Stdio::null())?;
    program.ready()?;
    check()?;
    program.kill()
}

fn exec_closes(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "closes", 0)?;
    let flags = rustix::io::fcntl_getfd(&session)?;
    ensure!(flags.contains(FdFlags::CLOEXEC), "the flags are {flags:?}");
    beside(|| {
        drop(session);
        is_there(&device, "closes", false)
    })
}

fn exec_keeps(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "keeps", 0)?;
    rustix::io::fcntl_setfd(&session, FdFlags::empty())?;
    beside(|| {
        drop(session);
        is_there(&device, "keeps", true)
    })?;
    is_there(&device, "keeps", false)
}

fn device_duplicate(_: &mut Context<'_>) -> Result<()> {
    let first = device()?;
    let duplicate = rustix::io::fcntl_dupfd_cloexec(&first, 0)?;
    drop(first);
    refused(Device::open(), Errno::EBUSY)?;
    drop(duplicate);
    drop(device()?);
    Ok(())
}

fn device_fork(_: &mut Context<'_>) -> Result<()> {
    let input = device()?.as_fd().try_clone_to_owned()?;
    let mut child = Child::start(Role::Hold, "", input)?;
    child.ready()?;
    refused(Device::open(), Errno::EBUSY)?;
    child.kill()?;
    drop(device()?);
    Ok(())
}

fn device_exec(_: &mut Context<'_>) -> Result<()> {
    let first = device()?;
    beside(|| {
        drop(first);
        drop(device()?);
        Ok(())
    })
}

fn leave_retrieved(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, context.own_name(), 2)?;
    context.hold(session);
    Ok(())
}

/// Its last close finishes it.
fn retrieved(context: &mut Context<'_>) -> Result<()> {
    let text = context.own_name();
    let session = incoming(text)?;
    let flags = rustix::io::fcntl_getfd(&session)?;
    ensure!(flags.contains(FdFlags::CLOEXEC), "the flags are {flags:?}");
    let duplicate = session.try_clone()?;
    drop(session);
    let file = retrieve(&duplicate, text, 1)?;
    let socket = send(&duplicate)?;
    drop(duplicate);
    let device = device()?;
    refused(device.retrieve_session(&name(text)), Errno::EINVAL).context("on its way")?;
    let session = Session::from_fd(receive(&socket)?);
    retrieve(&session, text, 2)?;
    let mut child = Child::start(Role::Hold, "", session.into_fd())?;
    child.ready()?;
    refused(device.retrieve_session(&name(text)), Errno::EINVAL).context("in a child")?;
    child.kill()?;
    refused(device.retrieve_session(&name(text)), Errno::ENOENT).context("finished")?;
    is_free(&file)
}

fn leave_message(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, context.own_name(), 1)?;
    let socket = send(&session)?;
    context.hold(socket);
    Ok(())
}

fn message_arrived(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    retrieve(&session, context.own_name(), 1)?;
    Ok(session.finish()?)
}

fn leave_child(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, context.own_name(), 1)?;
    let mut child = Child::start(Role::Hold, "", session.into_fd())?;
    child.ready()?;
    context.hold(child);
    Ok(())
}

fn child_arrived(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    retrieve(&session, context.own_name(), 1)?;
    Ok(session.finish()?)
}
