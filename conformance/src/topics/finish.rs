// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a session of the previous kernel: FINISH, or its last close.

use anyhow::{Context as _, Result};
use luo_abi::uapi::{self, Finish};
use luo_sys::{Errno, Token, raw};
use zerocopy::IntoBytes;

use super::tools::{incoming, is_free, retrieve, session, verify};
use crate::case::{Case, Context, shared};
use crate::check::{device, name, refused};

pub(super) const CASES: &[Case] = &[
    shared("reserved-must-be-zero", leave, reserved),
    shared("what-was-retrieved-is-its-owners", leave, keeps),
    shared("nothing-is-there-afterwards", leave, gone),
    shared("a-finished-session-can-be-finished-again", leave, twice),
    shared("the-device-need-not-be-open", leave, without_device),
    shared("close-finishes-what-was-retrieved", leave, close_all),
    shared("close-finishes-what-was-half-retrieved", leave, close_half),
    shared("close-finishes-what-was-not-retrieved", leave, close_none),
];

fn leave(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, context.own_name(), 2)?;
    context.hold(session);
    Ok(())
}

fn reserved(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let mut argument = Finish {
        size: size_of::<Finish>() as u32,
        reserved: 1,
    };
    let result = raw::ioctl(&session, uapi::SESSION_FINISH, argument.as_mut_bytes());
    refused(result, Errno::EINVAL)?;
    retrieve(&session, context.own_name(), 1)?;
    Ok(session.finish()?)
}

fn keeps(context: &mut Context<'_>) -> Result<()> {
    let text = context.own_name();
    let session = incoming(text)?;
    let kept = retrieve(&session, text, 1)?;
    session.finish()?;
    drop(session);
    verify(&kept, text, 1)?;
    is_free(&kept)
}

fn gone(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    retrieve(&session, context.own_name(), 1)?;
    session.finish()?;
    for token in 1..=2 {
        refused(session.retrieve_fd(Token(token)), Errno::ENOENT)?;
    }
    drop(session);
    refused(incoming_again(context)?, Errno::ENOENT)
}

fn incoming_again(context: &Context<'_>) -> Result<luo_sys::Result<luo_sys::Session>> {
    Ok(device()?.retrieve_session(&name(context.own_name())))
}

/// There is nothing left to do, and nothing to complain of.
fn twice(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    session.finish()?;
    Ok(session.finish()?)
}

fn without_device(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    // Another opener, while the session's has gone.
    let _other = device()?;
    retrieve(&session, context.own_name(), 2)?;
    Ok(session.finish()?)
}

fn close(context: &mut Context<'_>, tokens: &[u64]) -> Result<()> {
    let text = context.own_name();
    let session = incoming(text)?;
    let files: Result<Vec<_>> = tokens
        .iter()
        .map(|&token| retrieve(&session, text, token))
        .collect();
    let files = files?;
    drop(session);
    for (file, &token) in files.iter().zip(tokens) {
        verify(file, text, token)?;
        is_free(file)?;
    }
    let device = device()?;
    refused(device.retrieve_session(&name(text)), Errno::ENOENT)?;
    // What was retrieved is an ordinary memfd now, and the name is free.
    let new = self::session(&device, text, 0)?;
    for (file, &token) in files.iter().zip(tokens) {
        new.preserve_fd(file, Token(token))
            .context("preserved anew")?;
    }
    Ok(())
}

fn close_all(context: &mut Context<'_>) -> Result<()> {
    close(context, &[1, 2])
}

fn close_half(context: &mut Context<'_>) -> Result<()> {
    close(context, &[2])
}

fn close_none(context: &mut Context<'_>) -> Result<()> {
    close(context, &[])
}
