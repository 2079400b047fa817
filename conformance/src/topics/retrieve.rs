// SPDX-License-Identifier: MIT OR Apache-2.0
//! Taking back sessions and files of the previous kernel.

use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result, ensure};
use luo_abi::uapi::{self, RetrieveFd, RetrieveSession};
use luo_sys::{Errno, Session, Token, raw};
use rustix::io::FdFlags;
use zerocopy::IntoBytes;

use super::tools::{incoming, is_free, memory, retrieve, session};
use crate::case::{Case, Context, here, shared};
use crate::check::{device, name, refused, same};
use crate::difference::{Differs, answers};
use crate::look::open_descriptors;

const LOST: &[Differs] = &[answers(
    Errno::ENOENT,
    "mainline finishes a session that it could not give out",
)];

pub(super) const CASES: &[Case] = &[
    here("of-an-outgoing-session-is-einval", outgoing),
    shared("in-order", leave, |context| {
        in_order(context, &[1, 2, 3, 4, 5])
    }),
    shared("in-reverse", leave, |context| {
        in_order(context, &[5, 4, 3, 2, 1])
    }),
    shared("in-any-order", leave, |context| {
        in_order(context, &[3, 5, 1, 4, 2])
    }),
    shared("only-some", leave, |context| in_order(context, &[4, 2])),
    shared("nothing", leave, |context| in_order(context, &[])),
    shared("a-session-twice-is-einval", leave, session_twice),
    shared("a-file-twice-is-the-same-file", leave, same_file),
    shared("unknown-tokens-are-enoent", leave, unknown_tokens),
    shared("odd-tokens-come-back", leave_odd, odd_tokens),
    shared("descriptors-are-close-on-exec", leave, close_on_exec),
    shared(
        "close-on-exec-is-the-holders-choice",
        leave_over_exec,
        over_exec,
    ),
    shared("a-retrieved-session-preserves-nothing", leave, preserves),
    shared("its-name-comes-back", leave, its_name),
    shared("an-empty-session-comes-back", leave_empty, empty),
    shared(
        "a-session-survives-a-failed-answer",
        leave,
        session_unanswered,
    )
    .but(LOST),
    shared("a-file-survives-a-failed-answer", leave, file_unanswered),
    shared("what-came-back-can-be-preserved", leave, preserved_again),
];

const FILES: u64 = 5;

fn outgoing(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "outgoing", 1)?;
    refused(session.retrieve_fd(Token(1)), Errno::EINVAL)?;
    refused(session.retrieve_fd(Token(2)), Errno::EINVAL)?;
    refused(session.finish(), Errno::EINVAL)
}

/// Leaves a session with memfds under the case's own name.
fn leave(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, context.own_name(), FILES)?;
    context.hold(session);
    Ok(())
}

fn in_order(context: &mut Context<'_>, tokens: &[u64]) -> Result<()> {
    let text = context.own_name();
    let session = incoming(text)?;
    let files: Result<Vec<_>> = tokens
        .iter()
        .map(|&token| retrieve(&session, text, token))
        .collect();
    let files = files?;
    session.finish()?;
    for (file, &token) in files.iter().zip(tokens) {
        super::tools::verify(file, text, token).context("after finish")?;
        is_free(file)?;
    }
    refused(session.retrieve_fd(Token(1)), Errno::ENOENT)
}

fn session_twice(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let wanted = name(context.own_name());
    let session = device.retrieve_session(&wanted)?;
    for _ in 0..2 {
        refused(device.retrieve_session(&wanted), Errno::EINVAL)?;
    }
    retrieve(&session, context.own_name(), 1)?;
    session.finish()?;
    drop(session);
    refused(device.retrieve_session(&wanted), Errno::ENOENT)
}

fn same_file(context: &mut Context<'_>) -> Result<()> {
    let text = context.own_name();
    let session = incoming(text)?;
    let first = retrieve(&session, text, 1)?;
    let second = retrieve(&session, text, 1)?;
    first.write_all_at(b"one file", 4096)?;
    let mut bytes = [0; 8];
    second.read_exact_at(&mut bytes, 4096)?;
    same("what the other wrote", &bytes, b"one file")?;
    drop((first, second));
    // The session has it as long as it is not finished.
    let third = std::fs::File::from(session.retrieve_fd(Token(1))?);
    third.read_exact_at(&mut bytes, 4096)?;
    same("what is left", &bytes, b"one file")?;
    Ok(session.finish()?)
}

fn unknown_tokens(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    for token in [0, FILES + 1, u64::MAX] {
        refused(session.retrieve_fd(Token(token)), Errno::ENOENT)
            .with_context(|| format!("token {token:#x}"))?;
    }
    retrieve(&session, context.own_name(), 1)?;
    Ok(session.finish()?)
}

const ODD: [u64; 4] = [0, u64::MAX, 1 << 63, 0xffff_ffff];

fn leave_odd(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, context.own_name(), 0)?;
    for token in ODD {
        session.preserve_fd(memory(context.own_name(), token)?, Token(token))?;
    }
    context.hold(session);
    Ok(())
}

fn odd_tokens(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    for token in ODD {
        retrieve(&session, context.own_name(), token)?;
    }
    Ok(session.finish()?)
}

fn close_on_exec(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    for flags in [
        rustix::io::fcntl_getfd(&session)?,
        rustix::io::fcntl_getfd(session.retrieve_fd(Token(1))?)?,
    ] {
        ensure!(flags.contains(FdFlags::CLOEXEC), "the flags are {flags:?}");
    }
    Ok(session.finish()?)
}

/// A file whose descriptor stays open over an exec.
fn leave_over_exec(context: &mut Context<'_>) -> Result<()> {
    let file = memory(context.own_name(), 1)?;
    rustix::io::fcntl_setfd(&file, FdFlags::empty())?;
    let session = session(&*context.device()?, context.own_name(), 0)?;
    session.preserve_fd(&file, Token(1))?;
    context.hold(session);
    Ok(())
}

/// It is of the descriptor, not of the file: each that is given out has it, whatever that of the old
/// kernel had, and whoever has it takes it away.
fn over_exec(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let first = session.retrieve_fd(Token(1))?;
    same(
        "at first",
        rustix::io::fcntl_getfd(&first)?,
        FdFlags::CLOEXEC,
    )?;
    rustix::io::fcntl_setfd(&first, FdFlags::empty())?;
    let second = session.retrieve_fd(Token(1))?;
    same(
        "another",
        rustix::io::fcntl_getfd(&second)?,
        FdFlags::CLOEXEC,
    )?;
    session.finish()?;
    same(
        "the first",
        rustix::io::fcntl_getfd(&first)?,
        FdFlags::empty(),
    )
}

fn preserves(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let file = memory(context.own_name(), 9)?;
    refused(session.preserve_fd(&file, Token(9)), Errno::EINVAL)?;
    is_free(&file)?;
    Ok(session.finish()?)
}

fn its_name(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    same("the name", session.name()?, name(context.own_name()))?;
    session.finish()?;
    same("after finish", session.name()?, name(context.own_name()))
}

fn leave_empty(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, context.own_name(), 0)?;
    context.hold(session);
    Ok(())
}

fn empty(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    refused(session.retrieve_fd(Token(0)), Errno::ENOENT)?;
    Ok(session.finish()?)
}

fn session_unanswered(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let argument = RetrieveSession {
        size: size_of::<RetrieveSession>() as u32,
        fd: 0,
        name: *name(context.own_name()).as_field(),
    };
    let before = open_descriptors()?;
    for _ in 0..2 {
        let result = raw::ioctl_read_only(&device, uapi::RETRIEVE_SESSION, argument.as_bytes());
        refused(result, Errno::EFAULT)?;
    }
    same("the number of open files", open_descriptors()?, before)?;
    let session = device.retrieve_session(&name(context.own_name()))?;
    all(&session, context.own_name())
}

fn file_unanswered(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let argument = RetrieveFd {
        size: size_of::<RetrieveFd>() as u32,
        fd: 0,
        token: 1,
    };
    let before = open_descriptors()?;
    for _ in 0..2 {
        let result = raw::ioctl_read_only(&session, uapi::SESSION_RETRIEVE_FD, argument.as_bytes());
        refused(result, Errno::EFAULT)?;
    }
    same("the number of open files", open_descriptors()?, before)?;
    all(&session, context.own_name())
}

fn all(session: &Session, text: &str) -> Result<()> {
    for token in 1..=FILES {
        retrieve(session, text, token)?;
    }
    Ok(session.finish()?)
}

/// It is an ordinary memfd then.
fn preserved_again(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let text = context.own_name();
    let old = device.retrieve_session(&name(text))?;
    let file = retrieve(&old, text, 2)?;
    old.finish()?;
    let new = session(&device, text, 0)?;
    new.preserve_fd(&file, Token(2))?;
    drop(new);
    is_free(&file)
}
