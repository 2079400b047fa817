// SPDX-License-Identifier: MIT OR Apache-2.0
//! Taking one file back out of a session.

use anyhow::{Context as _, Result, ensure};
use luo_abi::contract::{self, UnpreserveFd};
use luo_sys::{Errno, Token, raw};
use zerocopy::IntoBytes;

use super::tools::{NO_CONTRACT, incoming, is_free, is_held, memory, retrieve, session};
use crate::case::{Case, Context, here, shared};
use crate::check::{device, refused, same};
use crate::difference::missing;
use crate::forge;

pub(super) const CASES: &[Case] = &[
    here("one-goes-the-others-stay", one).but(&[missing(NO_CONTRACT)]),
    here("handler-is-called-once", handler).but(&[missing(NO_CONTRACT)]),
    here("unknown-token-is-enoent", unknown).but(&[missing(NO_CONTRACT)]),
    here("token-is-free-again", free).but(&[missing(NO_CONTRACT)]),
    here("reserved-must-be-zero", reserved).but(&[missing(NO_CONTRACT)]),
    here("short-argument-is-einval", short).but(&[missing(NO_CONTRACT)]),
    shared("incoming-is-einval", leave, incoming_session).but(&[missing(NO_CONTRACT)]),
    shared("what-went-does-not-arrive", leave_rest, rest).but(&[missing(NO_CONTRACT)]),
];

fn one(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "one", 0)?;
    let files = [memory("one", 1)?, memory("one", 2)?, memory("one", 3)?];
    for (token, file) in (1..).zip(&files) {
        session.preserve_fd(file, Token(token))?;
    }
    session.unpreserve_fd(Token(2))?;
    is_held(&files[0])?;
    is_free(&files[1])?;
    is_held(&files[2])?;
    let tokens: Vec<_> = session
        .list_files()?
        .iter()
        .map(|file| file.token)
        .collect();
    same("the tokens", tokens, vec![Token(1), Token(3)])
}

fn handler(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "handler", 0)?;
    session.preserve_fd(forge::open()?, Token(1))?;
    session.preserve_fd(forge::open()?, Token(2))?;
    session.unpreserve_fd(Token(1))?;
    same("preserved and frozen", forge::counts()?, (1, 0))?;
    drop(session);
    same("preserved and frozen", forge::counts()?, (0, 0))
}

fn unknown(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "unknown", 1)?;
    refused(session.unpreserve_fd(Token(2)), Errno::ENOENT)?;
    session.unpreserve_fd(Token(1))?;
    refused(session.unpreserve_fd(Token(1)), Errno::ENOENT)
}

fn free(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "free", 0)?;
    let (first, second) = (memory("free", 1)?, memory("free", 2)?);
    for file in [&first, &second, &first] {
        session.preserve_fd(file, Token(1))?;
        session.unpreserve_fd(Token(1))?;
    }
    ensure!(session.list_files()?.is_empty(), "something is left");
    Ok(())
}

fn argument(size: u32, reserved: u32) -> UnpreserveFd {
    UnpreserveFd {
        size,
        reserved,
        token: 1,
    }
}

fn reserved(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "reserved", 2)?;
    session.unpreserve_fd(Token(2))?;
    let mut argument = argument(16, 1);
    let result = raw::ioctl(&session, contract::UNPRESERVE_FD, argument.as_mut_bytes());
    refused(result, Errno::EINVAL)?;
    Ok(session.unpreserve_fd(Token(1))?)
}

fn short(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "short", 2)?;
    session.unpreserve_fd(Token(2))?;
    for size in [0, 8, 15] {
        let mut argument = argument(size, 0);
        let result = raw::ioctl(&session, contract::UNPRESERVE_FD, argument.as_mut_bytes());
        refused(result, Errno::EINVAL).with_context(|| format!("size {size}"))?;
    }
    Ok(session.unpreserve_fd(Token(1))?)
}

fn leave(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, "unpreserve-incoming", 2)?;
    session.unpreserve_fd(Token(2))?;
    context.hold(session);
    Ok(())
}

fn incoming_session(_: &mut Context<'_>) -> Result<()> {
    let session = incoming("unpreserve-incoming")?;
    refused(session.unpreserve_fd(Token(1)), Errno::EINVAL)?;
    retrieve(&session, "unpreserve-incoming", 1)?;
    refused(session.unpreserve_fd(Token(1)), Errno::EINVAL)?;
    Ok(session.finish()?)
}

fn leave_rest(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, "unpreserve-rest", 3)?;
    session.unpreserve_fd(Token(2))?;
    context.hold(session);
    Ok(())
}

fn rest(_: &mut Context<'_>) -> Result<()> {
    let session = incoming("unpreserve-rest")?;
    refused(session.retrieve_fd(Token(2)), Errno::ENOENT)?;
    retrieve(&session, "unpreserve-rest", 1)?;
    retrieve(&session, "unpreserve-rest", 3)?;
    Ok(session.finish()?)
}
