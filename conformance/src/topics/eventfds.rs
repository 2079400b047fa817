// SPDX-License-Identifier: MIT OR Apache-2.0
//! Eventfds come back: with their count, and with how it is read.

use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Errno, Needed, Session, State, Token};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::OFlags;

use super::tools::{FIRST, NO_HANDLER, enter, incoming, memory, session, state_is, verify};
use crate::case::{Case, Context, here, shared};
use crate::check::{device, kept, refused, same};
use crate::forge::{self, Fault, ODD};

pub(super) const CASES: &[Case] = &[
    here("one-open-file-is-preserved-once", once).but(NO_HANDLER),
    here("taken-out-it-can-be-preserved-again", again).but(NO_HANDLER),
    here("it-is-usable-while-it-is-preserved", usable).but(NO_HANDLER),
    here("a-refused-kexec-leaves-it-as-it-is", vetoed).but(NO_HANDLER),
    here("a-cancelled-update-leaves-it-as-it-is", cancelled).but(NO_HANDLER),
    shared("the-count-comes-back", leave_count, count).but(NO_HANDLER),
    shared("the-largest-count-comes-back", leave_largest, largest).but(NO_HANDLER),
    shared("a-semaphore-stays-one", leave_semaphore, semaphore).but(NO_HANDLER),
    shared("a-read-that-waits-still-waits", leave_waiting, waiting).but(NO_HANDLER),
    shared("poll-wakes-afterwards", leave_empty, poll_wakes).but(NO_HANDLER),
    shared("what-is-added-later-arrives", leave_late, late).but(NO_HANDLER),
    shared("each-retrieve-gives-the-same", leave_count, same_each_time).but(NO_HANDLER),
    shared("one-that-nobody-wants-is-let-go-of", leave_count, unwanted).but(NO_HANDLER),
    shared("a-memfd-can-need-one", leave_needed, needed).but(NO_HANDLER),
    shared("it-goes-on-once-more", leave_count, leave_again).but(NO_HANDLER),
];

const NONBLOCK: EventfdFlags = EventfdFlags::NONBLOCK.union(EventfdFlags::CLOEXEC);

fn own() -> Result<Session> {
    session(&device()?, "eventfds", 0)
}

fn add(file: impl AsFd, more: u64) -> Result<()> {
    rustix::io::write(file, &more.to_ne_bytes())?;
    Ok(())
}

/// What a read takes; `None` if there is nothing.
fn take(file: impl AsFd) -> Result<Option<u64>> {
    let mut count = [0; 8];
    match rustix::io::read(file, &mut count) {
        Ok(_) => Ok(Some(u64::from_ne_bytes(count))),
        Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether it can be read, within so many seconds.
fn readable(file: impl AsFd, seconds: i64) -> Result<bool> {
    let mut fds = [PollFd::new(&file, PollFlags::IN)];
    let patience = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&patience))?;
    Ok(fds[0].revents().contains(PollFlags::IN))
}

fn once(_: &mut Context<'_>) -> Result<()> {
    let (session, file) = (own()?, eventfd(0, NONBLOCK)?);
    session.preserve_fd(&file, Token(1))?;
    refused(session.preserve_fd(&file, Token(2)), Errno::EBUSY)?;
    refused(
        session.preserve_fd(file.try_clone()?, Token(2)),
        Errno::EBUSY,
    )?;
    // All of them have one inode.
    session.preserve_fd(eventfd(0, NONBLOCK)?, Token(2))?;
    Ok(())
}

fn again(_: &mut Context<'_>) -> Result<()> {
    let file = eventfd(3, NONBLOCK)?;
    for _ in 0..2 {
        let session = own()?;
        session.preserve_fd(&file, Token(1))?;
        drop(session);
    }
    same("the count", take(&file)?, Some(3))
}

fn usable(_: &mut Context<'_>) -> Result<()> {
    let (session, file) = (own()?, eventfd(3, NONBLOCK)?);
    session.preserve_fd(&file, Token(1))?;
    same("the count", take(&file)?, Some(3))?;
    add(&file, 4)?;
    ensure!(readable(&file, 0)?, "it cannot be read");
    same("the count", take(&file)?, Some(4))
}

fn vetoed(context: &mut Context<'_>) -> Result<()> {
    let (session, file) = (own()?, eventfd(3, NONBLOCK)?);
    session.preserve_fd(&file, Token(1))?;
    session.preserve_fd(forge::open()?, Token(2))?;
    let fault = Fault::Freeze(ODD).inject()?;
    same("the error", context.refused_kexec()?.errno(), ODD)?;
    drop(fault);
    add(&file, 4)?;
    same("the count", take(&file)?, Some(7))
}

fn cancelled(_: &mut Context<'_>) -> Result<()> {
    let (session, file) = (own()?, eventfd(3, NONBLOCK)?);
    session.preserve_fd(&file, Token(1))?;
    let device = device()?;
    enter(&device, State::Frozen)?;
    add(&file, 4)?;
    device.cancel()?;
    state_is(&device, State::Normal)?;
    same("the count", take(&file)?, Some(7))
}

/// Leaves an eventfd, and what it is in afterwards.
fn leave(context: &mut Context<'_>, count: u64, flags: EventfdFlags) -> Result<OwnedFd> {
    let file = eventfd(0, flags)?;
    if count > 0 {
        add(&file, count)?;
    }
    let session = session(&*context.device()?, context.own_name(), 0)?;
    session.preserve_fd(&file, FIRST)?;
    context.hold(session);
    Ok(file)
}

/// Takes it back, and ends its session.
fn arrived(context: &mut Context<'_>) -> Result<OwnedFd> {
    let session = incoming(context.own_name())?;
    let file = session.retrieve_fd(FIRST)?;
    session.finish()?;
    Ok(file)
}

fn leave_count(context: &mut Context<'_>) -> Result<()> {
    leave(context, 77, NONBLOCK).map(drop)
}

fn count(context: &mut Context<'_>) -> Result<()> {
    let file = arrived(context)?;
    let flags = rustix::fs::fcntl_getfl(&file)?;
    ensure!(flags.contains(OFlags::NONBLOCK), "O_NONBLOCK is gone");
    let kind = rustix::fs::readlink(fd_path(&file), Vec::new())?;
    same("what it is", kind.to_str()?, "anon_inode:[eventfd]")?;
    kept("the count", take(&file)?, Some(77))?;
    same("the count afterwards", take(&file)?, None)
}

fn fd_path(file: &OwnedFd) -> String {
    use std::os::fd::AsRawFd as _;
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn leave_largest(context: &mut Context<'_>) -> Result<()> {
    leave(context, u64::MAX - 1, NONBLOCK).map(drop)
}

fn largest(context: &mut Context<'_>) -> Result<()> {
    let file = arrived(context)?;
    let full = rustix::io::write(&file, &1_u64.to_ne_bytes());
    same("a write", full, Err(rustix::io::Errno::AGAIN))?;
    kept("the count", take(&file)?, Some(u64::MAX - 1))
}

fn leave_semaphore(context: &mut Context<'_>) -> Result<()> {
    leave(context, 2, NONBLOCK.union(EventfdFlags::SEMAPHORE)).map(drop)
}

fn semaphore(context: &mut Context<'_>) -> Result<()> {
    let file = arrived(context)?;
    for expected in [Some(1), Some(1), None] {
        kept("what a read takes", take(&file)?, expected)?;
    }
    Ok(())
}

fn leave_waiting(context: &mut Context<'_>) -> Result<()> {
    leave(context, 0, EventfdFlags::CLOEXEC).map(drop)
}

fn waiting(context: &mut Context<'_>) -> Result<()> {
    let file = arrived(context)?;
    let flags = rustix::fs::fcntl_getfl(&file)?;
    ensure!(!flags.contains(OFlags::NONBLOCK), "it has O_NONBLOCK");
    let reader = file.try_clone()?;
    let reader = thread::spawn(move || take(reader));
    add(&file, 5)?;
    let taken = reader
        .join()
        .map_err(|_| anyhow::anyhow!("the reader is gone"))?;
    same("what the read takes", taken?, Some(5))
}

fn leave_empty(context: &mut Context<'_>) -> Result<()> {
    leave(context, 0, NONBLOCK).map(drop)
}

fn poll_wakes(context: &mut Context<'_>) -> Result<()> {
    let file = arrived(context)?;
    ensure!(!readable(&file, 0)?, "it can be read at once");
    let other = file.try_clone()?;
    let waits = thread::spawn(move || readable(other, 60));
    add(&file, 1)?;
    let woken = waits
        .join()
        .map_err(|_| anyhow::anyhow!("who polls is gone"))?;
    ensure!(woken?, "poll does not wake");
    Ok(())
}

fn leave_late(context: &mut Context<'_>) -> Result<()> {
    let file = leave(context, 3, NONBLOCK)?;
    add(&file, 4)?;
    rustix::fs::fcntl_setfl(&file, OFlags::empty())?;
    context.hold(file);
    Ok(())
}

fn late(context: &mut Context<'_>) -> Result<()> {
    let file = arrived(context)?;
    let flags = rustix::fs::fcntl_getfl(&file)?;
    ensure!(!flags.contains(OFlags::NONBLOCK), "it has O_NONBLOCK again");
    kept("the count", take(&file)?, Some(7))
}

fn same_each_time(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let (one, other) = (session.retrieve_fd(FIRST)?, session.retrieve_fd(FIRST)?);
    same("the count", take(&one)?, Some(77))?;
    same("the other's", take(&other)?, None)?;
    add(&other, 2)?;
    same("what is added there", take(&one)?, Some(2))?;
    Ok(session.finish()?)
}

fn unwanted(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    session.finish()?;
    refused(session.retrieve_fd(FIRST), Errno::ENOENT).context("after the finish")
}

fn leave_needed(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, context.own_name(), 0)?;
    session.preserve_fd(eventfd(9, NONBLOCK)?, FIRST)?;
    session.preserve_fd(memory("needed", 1)?, Token(2))?;
    session.add_dependency(Token(2), Needed::Here(FIRST))?;
    context.hold(session);
    Ok(())
}

/// The memfd is asked for, and the eventfd is restored with it.
fn needed(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    verify(&session.retrieve_fd(Token(2))?.into(), "needed", 1)?;
    let files = session.list_files()?;
    let first = files.iter().find(|file| file.token == FIRST);
    let status = first.context("it is not listed")?.status;
    same("its status", status, luo_sys::FileStatus::Retrieved)?;
    same("the count", take(session.retrieve_fd(FIRST)?)?, Some(9))?;
    Ok(session.finish()?)
}

/// What has come back can be preserved like any other.
fn leave_again(context: &mut Context<'_>) -> Result<()> {
    let file = arrived(context)?;
    let session = own()?;
    session.preserve_fd(&file, FIRST)?;
    refused(session.preserve_fd(&file, Token(2)), Errno::EBUSY)?;
    drop(session);
    kept("the count", take(&file)?, Some(77))
}
