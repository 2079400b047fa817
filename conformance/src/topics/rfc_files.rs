// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files that are registered on the device: the proposal's own calls.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context as _, Result, ensure};
use luo_abi::rfc::{self, LiveupdateFd};
use luo_sys::{Errno, FileStatus, State, Token, raw};
use rustix::fs::{Mode, OFlags};
use rustix::io::FdFlags;
use zerocopy::IntoBytes;

use super::tools::{NO_RFC, enter, is_free, is_held, memory, session, verify};
use crate::case::{Case, Context, alone, here, shared};
use crate::check::{device, refused, same};
use crate::difference::{answers, missing};
use crate::forge::{self, Fault, ODD};

/// How many ask for one token at once.
const RACERS: usize = 8;

pub(super) const CASES: &[Case] = &[
    here("registering-pins-nothing", pins_nothing).but(&[missing(NO_RFC)]),
    here("flags-must-be-zero", flags).but(&[answers(Errno::ENOTTY, NO_RFC)]),
    here("bad-descriptor-is-ebadf", bad_descriptor).but(&[missing(NO_RFC)]),
    here("no-handler-is-enoent", no_handler).but(&[missing(NO_RFC)]),
    here("twice-is-ebusy", twice).but(&[missing(NO_RFC)]),
    here("in-a-session-is-ebusy", in_session).but(&[missing(NO_RFC)]),
    here("unpreserve-takes-it-back", unpreserve).but(&[missing(NO_RFC)]),
    here("unknown-token-is-enoent", unknown).but(&[missing(NO_RFC)]),
    here("restore-in-normal-is-ebusy", restore_early).but(&[missing(NO_RFC)]),
    here("failed-answer-registers-nothing", failed_answer).but(&[answers(Errno::ENOTTY, NO_RFC)]),
    here("close-unregisters", close).but(&[missing(NO_RFC)]),
    shared("restored-once", leave_one, restored_once).but(&[missing(NO_RFC)]),
    shared("unknown-is-not-restored", leave_none, not_restored).but(&[missing(NO_RFC)]),
    shared("restore-survives-failed-answer", leave_one, restore_answer).but(&[missing(NO_RFC)]),
    shared("restore-flags-must-be-zero", leave_one, restore_flags).but(&[missing(NO_RFC)]),
    shared("handler-error-is-final", leave_forge, handler_error).but(&[missing(NO_RFC)]),
    shared("one-of-many-gets-it", leave_one, race).but(&[missing(NO_RFC)]),
    alone("finish-releases-the-rest", &[leave_two, finish]).but(&[missing(NO_RFC)]),
];

fn pins_nothing(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let file = memory("pins", 1)?;
    let token = device.fd_preserve(&file)?;
    is_free(&file)?;
    let listed = |status| -> Result<()> {
        let files = device.list_files()?;
        ensure!(files.len() == 1, "the device lists {files:?}");
        same("the token", files[0].token, token)?;
        same("the status", files[0].status, status)
    };
    listed(FileStatus::Registered)?;
    enter(&device, State::Prepared)?;
    is_held(&file)?;
    listed(FileStatus::Preserved)?;
    device.freeze()?;
    listed(FileStatus::Frozen)?;
    device.cancel()?;
    is_free(&file)?;
    listed(FileStatus::Registered)
}

fn call(command: u32, fd: i32, flags: u32, token: u64) -> luo_sys::Result<i32> {
    let mut argument = LiveupdateFd { fd, flags, token };
    raw::ioctl(&luo_sys::Device::open()?, command, argument.as_mut_bytes())
}

fn flags(_: &mut Context<'_>) -> Result<()> {
    let file = memory("flags", 1)?;
    for flags in [1, 0x8000_0000, u32::MAX] {
        let result = call(rfc::FD_PRESERVE, file.as_raw_fd(), flags, 0);
        refused(result, Errno::EINVAL).with_context(|| format!("flags {flags:#x}"))?;
    }
    let device = device()?;
    device.fd_preserve(&file)?;
    Ok(())
}

fn bad_descriptor(_: &mut Context<'_>) -> Result<()> {
    // Whether the call is there at all.
    device()?.fd_preserve(memory("bad", 1)?)?;
    for fd in [-1, 999_999, i32::MIN] {
        let result = call(rfc::FD_PRESERVE, fd, 0, 0);
        refused(result, Errno::EBADF).with_context(|| format!("descriptor {fd}"))?;
    }
    let path = rustix::fs::open("/tmp", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    refused(device()?.fd_preserve(path), Errno::EBADF).context("a descriptor of a path")
}

fn no_handler(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    refused(device.fd_preserve(File::open("/dev/null")?), Errno::ENOENT)?;
    refused(device.fd_preserve(&device), Errno::ENOENT)
}

fn twice(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let file = memory("twice", 1)?;
    let token = device.fd_preserve(&file)?;
    refused(device.fd_preserve(&file), Errno::EBUSY)?;
    refused(device.fd_preserve(file.try_clone()?), Errno::EBUSY)?;
    device.fd_unpreserve(token)?;
    device.fd_preserve(&file)?;
    Ok(())
}

fn in_session(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let file = memory("both", 1)?;
    let session = session(&device, "both", 0)?;
    session.preserve_fd(&file, Token(1))?;
    refused(device.fd_preserve(&file), Errno::EBUSY)?;
    drop(session);
    let token = device.fd_preserve(&file)?;
    let session = self::session(&device, "both", 0)?;
    refused(session.preserve_fd(&file, Token(1)), Errno::EBUSY)?;
    device.fd_unpreserve(token)?;
    Ok(session.preserve_fd(&file, Token(1))?)
}

fn unpreserve(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let file = memory("back", 1)?;
    let token = device.fd_preserve(&file)?;
    let other = device.fd_preserve(memory("back", 2)?)?;
    device.fd_unpreserve(token)?;
    refused(device.fd_unpreserve(token), Errno::ENOENT)?;
    let files = device.list_files()?;
    ensure!(
        files.len() == 1 && files[0].token == other,
        "the device lists {files:?}"
    );
    enter(&device, State::Prepared)?;
    is_free(&file)?;
    Ok(device.cancel()?)
}

fn unknown(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let token = device.fd_preserve(memory("unknown", 1)?)?;
    for number in [0, token.0 + 1, u64::MAX] {
        refused(device.fd_unpreserve(Token(number)), Errno::ENOENT)?;
    }
    Ok(())
}

fn restore_early(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let token = device.fd_preserve(memory("early", 1)?)?;
    refused(device.fd_restore(token), Errno::EBUSY)?;
    refused(device.fd_restore(Token(0)), Errno::EBUSY)
}

/// A program that never learns the token cannot use it, so nothing must be registered.
fn failed_answer(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let file = memory("answer", 1)?;
    let argument = LiveupdateFd {
        fd: file.as_raw_fd(),
        flags: 0,
        token: 0,
    };
    let result = raw::ioctl_read_only(&device, rfc::FD_PRESERVE, argument.as_bytes());
    refused(result, Errno::EFAULT)?;
    let files = device.list_files()?;
    ensure!(files.is_empty(), "the device lists {files:?}");
    device.fd_preserve(&file)?;
    Ok(())
}

/// The proposal's promise: who exits before prepare leaves nothing behind.
fn close(_: &mut Context<'_>) -> Result<()> {
    let file = memory("close", 1)?;
    let token = device()?.fd_preserve(&file)?;
    let device = device()?;
    refused(device.fd_unpreserve(token), Errno::ENOENT)?;
    same("files", device.info()?.files, 0)?;
    device.fd_preserve(&file)?;
    Ok(())
}

/// Registers a file on the device that the cases share.
fn leave(context: &mut Context<'_>, file: File) -> Result<()> {
    let token = context.device()?.fd_preserve(&file)?;
    context.note("token", token.0);
    Ok(())
}

fn leave_one(context: &mut Context<'_>) -> Result<()> {
    leave(context, memory("restore", 1)?)
}

fn leave_forge(context: &mut Context<'_>) -> Result<()> {
    leave(context, forge::open()?)
}

fn leave_none(context: &mut Context<'_>) -> Result<()> {
    let device = context.device()?;
    let token = device.fd_preserve(memory("none", 1)?)?;
    Ok(device.fd_unpreserve(token)?)
}

fn token(context: &Context<'_>) -> Result<Token> {
    Ok(Token(context.noted("token")?))
}

fn whole(fd: OwnedFd) -> Result<()> {
    let flags = rustix::io::fcntl_getfd(&fd)?;
    ensure!(flags.contains(FdFlags::CLOEXEC), "the flags are {flags:?}");
    verify(&File::from(fd), "restore", 1)
}

fn restored_once(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let token = token(context)?;
    whole(device.fd_restore(token)?)?;
    refused(device.fd_restore(token), Errno::EINVAL)?;
    refused(device.fd_restore(token), Errno::EINVAL)
}

fn not_restored(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    refused(device.fd_restore(Token(0)), Errno::ENOENT)?;
    refused(device.fd_restore(Token(u64::MAX)), Errno::ENOENT)
}

fn restore_answer(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let token = token(context)?;
    let argument = LiveupdateFd {
        fd: -1,
        flags: 0,
        token: token.0,
    };
    for _ in 0..2 {
        let result = raw::ioctl_read_only(&device, rfc::FD_RESTORE, argument.as_bytes());
        refused(result, Errno::EFAULT)?;
    }
    whole(device.fd_restore(token)?)
}

fn restore_flags(context: &mut Context<'_>) -> Result<()> {
    let token = token(context)?;
    refused(call(rfc::FD_RESTORE, -1, 1, token.0), Errno::EINVAL)?;
    whole(device()?.fd_restore(token)?)
}

/// A failed restore can be told from a done one, and fails the same each time.
fn handler_error(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let token = token(context)?;
    let fault = Fault::Retrieve(ODD).inject()?;
    refused(device.fd_restore(token), ODD)?;
    drop(fault);
    refused(device.fd_restore(token), ODD).context("the second time")
}

fn race(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let token = token(context)?;
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..RACERS)
            .map(|_| scope.spawn(|| device.fd_restore(token)))
            .collect();
        let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.flatten().collect()
    });
    same("who has an answer", results.len(), RACERS)?;
    let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    same("who got it", won.len(), 1)?;
    for result in lost {
        refused(result, Errno::EINVAL)?;
    }
    won.into_iter().try_for_each(|fd| whole(fd?))
}

fn leave_two(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    for number in 1..=2 {
        let token = device.fd_preserve(memory("restore", number)?)?;
        context.note(&format!("token{number}"), token.0);
    }
    context.hold(device);
    Ok(())
}

fn finish(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let tokens = [context.noted("token1")?, context.noted("token2")?].map(Token);
    let kept = File::from(device.fd_restore(tokens[0])?);
    device.finish_update()?;
    verify(&kept, "restore", 1)?;
    is_free(&kept)?;
    refused(device.fd_restore(tokens[1]), Errno::EBUSY)?;
    let info = device.info()?;
    same("incoming sessions", info.incoming, 0)?;
    same("files", info.files, 0)
}
