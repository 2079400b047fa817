// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers that fail: what is undone, what is told, what can be repeated.

use anyhow::{Context as _, Result, ensure};
use luo_abi::uapi::{self, RetrieveSession};
use luo_sys::{Device, Errno, Token, raw};
use zerocopy::IntoBytes;

use super::tools::{FIRST, incoming, is_free, memory, session};
use crate::case::{Case, Context, here, shared};
use crate::check::{device, name, refused, same};
use crate::difference::{Differs, answers};
use crate::forge::{self, Fault, ODD};
use crate::kmsg;

const UNREACHABLE: &[Differs] = &[answers(
    Errno::EINVAL,
    "mainline keeps what it cannot finish where nobody can reach it",
)];

pub(super) const CASES: &[Case] = &[
    here("at-preserve-nothing-is-preserved", preserve),
    here("a-veto-refuses-the-kexec", veto),
    here("a-veto-thaws-what-was-frozen", thaw),
    shared("at-retrieve-it-is-final", leave, retrieve),
    shared("at-finish-nothing-is-finished", leave, finish),
    shared("at-close-the-session-stays", leave, close).but(UNREACHABLE),
    shared("at-close-the-next-open-finishes-it", leave, reopen).but(UNREACHABLE),
];

fn preserve(_: &mut Context<'_>) -> Result<()> {
    let file = forge::open()?;
    let session = session(&device()?, "fault", 0)?;
    let fault = Fault::Preserve(ODD).inject()?;
    for _ in 0..2 {
        refused(session.preserve_fd(&file, Token(1)), ODD)?;
        same("preserved and frozen", forge::counts()?, (0, 0))?;
    }
    drop(fault);
    session.preserve_fd(&file, Token(1))?;
    same("preserved and frozen", forge::counts()?, (1, 0))?;
    refused(session.preserve_fd(&file, Token(2)), Errno::EBUSY)?;
    drop(session);
    same("preserved and frozen", forge::counts()?, (0, 0))
}

/// As often as it is tried, and everything is usable afterwards.
fn veto(context: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "veto", 1)?;
    session.preserve_fd(forge::open()?, Token(7))?;
    let fault = Fault::Freeze(ODD).inject()?;
    for _ in 0..2 {
        same("the error", context.refused_kexec()?.errno(), ODD)?;
    }
    drop(fault);
    same("preserved and frozen", forge::counts()?, (1, 0))?;
    session.preserve_fd(memory("veto", 2)?, Token(2))?;
    usable()
}

/// All but the last one freeze, over sessions.
fn thaw(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let (first, second) = (
        session(&device, "first", 0)?,
        session(&device, "second", 0)?,
    );
    for token in 1..=2 {
        first.preserve_fd(forge::open()?, Token(token))?;
        second.preserve_fd(forge::open()?, Token(token))?;
    }
    drop(device);
    let passes = Fault::FreezePasses(3).inject()?;
    let fault = Fault::Freeze(ODD).inject()?;
    let error = context.refused_kexec()?;
    drop((fault, passes));
    same("the error", error.errno(), ODD)?;
    same("preserved and frozen", forge::counts()?, (4, 0))?;
    usable()
}

/// Everything still works after a kexec that was refused.
fn usable() -> Result<()> {
    let (device, file) = (device()?, memory("usable", 1)?);
    let session = session(&device, "usable", 0)?;
    session.preserve_fd(&file, Token(1))?;
    refused(device.create_session(&name("usable")), Errno::EEXIST)?;
    drop(session);
    is_free(&file)
}

fn leave(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, context.own_name(), 0)?;
    session.preserve_fd(forge::open()?, FIRST)?;
    context.hold(session);
    Ok(())
}

fn retrieve(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let fault = Fault::Retrieve(ODD).inject()?;
    refused(session.retrieve_fd(FIRST), ODD)?;
    drop(fault);
    refused(session.retrieve_fd(FIRST), ODD).context("the second time")?;
    Ok(session.finish()?)
}

fn finish(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let fault = Fault::FinishRefusals(2).inject()?;
    refused(session.finish(), Errno::EBUSY)?;
    session.retrieve_fd(FIRST).context("after the refusal")?;
    refused(session.finish(), Errno::EBUSY)?;
    session.finish().context("the handler is ready now")?;
    drop(fault);
    refused(session.retrieve_fd(FIRST), Errno::ENOENT)
}

/// Closes a retrieved session while its handler says no. The kernel tells of it in
/// its log, from where the reader stands: close(2) has nobody to tell.
fn close_refused(device: &Device, text: &str) -> Result<kmsg::Reader> {
    let session = device.retrieve_session(&name(text))?;
    let log = kmsg::Reader::from_now()?;
    let _fault = Fault::FinishRefusals(1).inject()?;
    drop(session);
    // Where a close is noticed by those who call, it must be before the fault goes.
    refused(device.retrieve_session(&name("nobody")), Errno::ENOENT)?;
    Ok(log)
}

/// Asserts that the kernel has warned of a session.
fn told(mut log: kmsg::Reader, text: &str) -> Result<()> {
    let messages = log.read()?;
    let told = |message: &kmsg::Message| {
        message.is_luo() && message.is_warning() && message.text.contains(text)
    };
    ensure!(messages.iter().any(told), "no warning among {messages:?}");
    Ok(())
}

fn close(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let text = context.own_name();
    told(close_refused(&device, text)?, text)?;
    let session = device.retrieve_session(&name(text))?;
    session.retrieve_fd(FIRST)?;
    session.finish()?;
    drop(session);
    refused(device.retrieve_session(&name(text)), Errno::ENOENT)
}

fn reopen(context: &mut Context<'_>) -> Result<()> {
    let first = device()?;
    let text = context.own_name();
    told(close_refused(&first, text)?, text)?;
    // Whether it is there shows without retrieving it: a lost one is ENOENT
    // before the answer is written.
    let argument = RetrieveSession {
        size: size_of::<RetrieveSession>() as u32,
        fd: 0,
        name: *name(text).as_field(),
    };
    let result = raw::ioctl_read_only(&first, uapi::RETRIEVE_SESSION, argument.as_bytes());
    refused(result, Errno::EFAULT).context("looking for the session")?;
    drop(first);
    let again = device()?.retrieve_session(&name(text));
    refused(again, Errno::ENOENT).context("the next open finishes it")
}
