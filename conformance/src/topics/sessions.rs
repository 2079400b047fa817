// SPDX-License-Identifier: MIT OR Apache-2.0
//! Named sessions, as mainline has them.

use std::fs::File;

use anyhow::{Context as _, Result, ensure};
use luo_abi::uapi::SESSION_LINK_PREFIX;
use luo_sys::{Errno, Token};
use rustix::fd::{AsFd, AsRawFd};
use rustix::io::FdFlags;

use super::tools::{incoming, is_free, is_held, memory, retrieve, session};
use crate::case::{Case, Context, here, shared};
use crate::check::{device, name, refused, same};

pub(super) const CASES: &[Case] = &[
    here("name-taken-is-eexist", name_taken),
    here("name-is-free-after-close", name_free),
    here("unknown-name-is-enoent", unknown_name),
    here("token-taken-is-eexist", token_taken),
    here("memfd-twice-is-ebusy", memfd_twice),
    here("no-handler-is-enoent", no_handler),
    here("close-unpreserves", close),
    here("outgoing-retrieves-nothing", outgoing),
    here("descriptor-names-the-session", link),
    shared("comes-back-whole", leave_whole, whole),
    shared("retrieve-twice-is-einval", leave_twice, twice),
    shared("file-twice-is-the-same-file", leave_same, same_file),
    shared("unknown-token-is-enoent", leave_unknown, unknown_token),
    shared("retrieved-preserves-nothing", leave_retrieved, retrieved),
    shared("finish-ends-it", leave_finish, finish),
    shared("close-finishes-it", leave_close, close_finishes),
];

fn name_taken(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let _session = device.create_session(&name("taken"))?;
    refused(device.create_session(&name("taken")), Errno::EEXIST)?;
    device.create_session(&name("take"))?;
    Ok(())
}

fn name_free(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    for _ in 0..3 {
        drop(device.create_session(&name("again"))?);
    }
    Ok(())
}

fn unknown_name(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let _outgoing = device.create_session(&name("outgoing"))?;
    refused(device.retrieve_session(&name("nobody")), Errno::ENOENT)?;
    refused(device.retrieve_session(&name("outgoing")), Errno::ENOENT)
}

fn token_taken(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "tokens", 1)?;
    refused(
        session.preserve_fd(memory("tokens", 2)?, Token(1)),
        Errno::EEXIST,
    )?;
    Ok(session.preserve_fd(memory("tokens", 2)?, Token(2))?)
}

fn memfd_twice(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let (first, second) = (session(&device, "one", 0)?, session(&device, "two", 0)?);
    let file = memory("one", 1)?;
    first.preserve_fd(&file, Token(1))?;
    refused(first.preserve_fd(&file, Token(2)), Errno::EBUSY)?;
    refused(second.preserve_fd(&file, Token(1)), Errno::EBUSY)
}

fn no_handler(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "handlers", 0)?;
    let (reader, _writer) = rustix::pipe::pipe()?;
    refused(session.preserve_fd(reader, Token(1)), Errno::ENOENT)?;
    let null = File::open("/dev/null")?;
    refused(session.preserve_fd(null, Token(1)), Errno::ENOENT)
}

fn close(_: &mut Context<'_>) -> Result<()> {
    let file = memory("close", 1)?;
    let session = session(&device()?, "close", 0)?;
    session.preserve_fd(&file, Token(1))?;
    is_held(&file)?;
    drop(session);
    is_free(&file)
}

fn outgoing(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "outgoing", 1)?;
    refused(session.retrieve_fd(Token(1)), Errno::EINVAL)?;
    refused(session.finish(), Errno::EINVAL)
}

fn link(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "link", 0)?;
    let path = format!("/proc/self/fd/{}", session.as_fd().as_raw_fd());
    let text = std::fs::read_link(path)?;
    let expected = format!("{SESSION_LINK_PREFIX}link");
    same("the link", text.to_string_lossy().as_ref(), &expected)?;
    let flags = rustix::io::fcntl_getfd(&session)?;
    ensure!(flags.contains(FdFlags::CLOEXEC), "the flags are {flags:?}");
    Ok(())
}

/// Leaves a session with two memfds under the case's own name.
fn leave(context: &mut Context<'_>, text: &str) -> Result<()> {
    let session = session(&*context.device()?, text, 2)?;
    context.hold(session);
    Ok(())
}

fn leave_whole(context: &mut Context<'_>) -> Result<()> {
    leave(context, "whole")
}

fn whole(_: &mut Context<'_>) -> Result<()> {
    let session = incoming("whole")?;
    same("the name", session.name()?, name("whole"))?;
    for token in [2, 1] {
        let file = retrieve(&session, "whole", token)?;
        let flags = rustix::io::fcntl_getfd(&file)?;
        ensure!(flags.contains(FdFlags::CLOEXEC), "the flags are {flags:?}");
    }
    Ok(session.finish()?)
}

fn leave_twice(context: &mut Context<'_>) -> Result<()> {
    leave(context, "twice")
}

fn twice(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = device.retrieve_session(&name("twice"))?;
    refused(device.retrieve_session(&name("twice")), Errno::EINVAL)?;
    Ok(session.finish()?)
}

fn leave_same(context: &mut Context<'_>) -> Result<()> {
    leave(context, "same")
}

fn same_file(_: &mut Context<'_>) -> Result<()> {
    use std::os::unix::fs::FileExt;
    let session = incoming("same")?;
    let (first, second) = (
        retrieve(&session, "same", 1)?,
        retrieve(&session, "same", 1)?,
    );
    first.write_all_at(b"one file", 4096)?;
    let mut bytes = [0; 8];
    second.read_exact_at(&mut bytes, 4096)?;
    same("what the other wrote", &bytes, b"one file")?;
    Ok(session.finish()?)
}

fn leave_unknown(context: &mut Context<'_>) -> Result<()> {
    leave(context, "unknown-token")
}

fn unknown_token(_: &mut Context<'_>) -> Result<()> {
    let session = incoming("unknown-token")?;
    refused(session.retrieve_fd(Token(3)), Errno::ENOENT)?;
    retrieve(&session, "unknown-token", 1)?;
    Ok(session.finish()?)
}

fn leave_retrieved(context: &mut Context<'_>) -> Result<()> {
    leave(context, "retrieved")
}

fn retrieved(_: &mut Context<'_>) -> Result<()> {
    let session = incoming("retrieved")?;
    let result = session.preserve_fd(memory("retrieved", 3)?, Token(3));
    refused(result, Errno::EINVAL)?;
    Ok(session.finish()?)
}

fn leave_finish(context: &mut Context<'_>) -> Result<()> {
    leave(context, "finish")
}

fn finish(_: &mut Context<'_>) -> Result<()> {
    let session = incoming("finish")?;
    let file = retrieve(&session, "finish", 1)?;
    session.finish()?;
    refused(session.retrieve_fd(Token(1)), Errno::ENOENT)?;
    drop(session);
    refused(device()?.retrieve_session(&name("finish")), Errno::ENOENT)?;
    is_free(&file).context("what was retrieved belongs to its owner")
}

fn leave_close(context: &mut Context<'_>) -> Result<()> {
    leave(context, "close-finishes")
}

fn close_finishes(_: &mut Context<'_>) -> Result<()> {
    let session = incoming("close-finishes")?;
    let file = retrieve(&session, "close-finishes", 2)?;
    drop(session);
    let device = device()?;
    refused(
        device.retrieve_session(&name("close-finishes")),
        Errno::ENOENT,
    )?;
    is_free(&file)
}
