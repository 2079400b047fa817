// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pipes come back: both ends or one, with what they hold.

mod apart;
mod carried;
mod ends;
mod held;

use std::fs::File;
use std::io::Write as _;
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Errno, Session, State, Token};
use rustix::fs::OFlags;
use rustix::pipe::{
    PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice,
};

pub(super) use self::ends::{READ, WRITE, pipe};
use self::ends::{TEXT, drain};
use super::owners::{Quota, create};
use super::tools::{NO_CHOICE, NO_HANDLER, enter, session, state_is};
use crate::case::{Case, Context, alone, here, shared};
use crate::check::{device, refused, same, seen, skip};
use crate::difference::{Expect, answers, simulated};
use crate::forge::{self, Fault, ODD};
use crate::user::{AllKinds, Delegated, USERS};

pub(super) const CASES: &[Case] = &[
    here("each-end-is-preserved-once", once).but(NO_HANDLER),
    here("both-ends-go-into-one-session", one_session).but(NO_HANDLER),
    here("taken-out-it-can-be-preserved-again", again).but(NO_HANDLER),
    here("it-is-usable-while-it-is-preserved", usable).but(NO_HANDLER),
    here("a-refused-kexec-leaves-it-as-it-is", vetoed).but(NO_HANDLER),
    here("a-cancelled-update-leaves-it-as-it-is", cancelled).but(NO_HANDLER),
    here("one-with-a-name-is-refused", named),
    here("one-with-more-than-its-size-is-refused", overfull).but(NO_HANDLER),
    here("one-of-notifications-is-refused", of_notifications).but(NO_HANDLER),
    here("one-with-a-page-that-never-comes-is-refused", never_comes).but(&[
        answers(Errno::ENOENT, "mainline has handlers of memfds only"),
        simulated(Expect::Unseen("its driver has no such pages")),
    ]),
    here(
        "a-writer-that-stands-still-holds-nobody-up",
        held::nobody_waits,
    )
    .but(NO_HANDLER),
    here("a-writer-of-a-users-is-passed-over", held::users).but(NO_CHOICE),
    here(
        "who-closes-an-end-waits-for-no-writer",
        held::closed_by_root,
    )
    .but(NO_CHOICE),
    here(
        "who-closes-an-end-waits-for-no-line-of-writers",
        held::closed_in_line,
    )
    .but(NO_CHOICE),
    alone(
        "a-busy-one-comes-along-beside-held-ones",
        &[held::leave_busy, held::busy],
    )
    .but(NO_CHOICE),
    here("what-it-may-hold-counts-for-its-user", counts).but(NO_CHOICE),
    shared(
        "what-it-holds-comes-back",
        carried::leave_text,
        carried::text,
    )
    .but(NO_HANDLER),
    shared(
        "what-is-written-later-arrives",
        carried::leave_late,
        carried::late,
    )
    .but(NO_HANDLER),
    shared(
        "a-full-one-comes-back-full",
        carried::leave_full,
        carried::full,
    )
    .but(NO_HANDLER),
    shared(
        "packets-stay-packets",
        carried::leave_packets,
        carried::packets,
    )
    .but(NO_HANDLER),
    shared("size-and-flags-stay", carried::leave_large, carried::large).but(NO_HANDLER),
    shared(
        "the-end-that-reads-alone",
        apart::leave_reader,
        apart::reader,
    )
    .but(NO_HANDLER),
    shared(
        "the-end-that-writes-alone",
        apart::leave_writer,
        apart::writer,
    )
    .but(NO_HANDLER),
    shared(
        "an-end-that-nobody-wants-is-closed",
        carried::leave_text,
        carried::unwanted,
    )
    .but(NO_HANDLER),
    shared(
        "the-other-end-can-come-first",
        carried::leave_text,
        carried::other_first,
    )
    .but(NO_HANDLER),
    shared(
        "both-ends-can-come-at-once",
        carried::leave_text,
        carried::at_once,
    )
    .but(NO_HANDLER),
    shared(
        "ends-of-different-owners-go-alone",
        apart::leave_ends,
        apart::alone_each,
    )
    .but(NO_CHOICE),
    shared(
        "a-size-that-its-user-may-not-have-waits",
        apart::leave_huge,
        apart::too_huge,
    )
    .but(NO_CHOICE),
];

fn own() -> Result<Session> {
    session(&device()?, "pipes", 0)
}

/// Asserts that a pipe holds this and no more, and takes it out.
fn holds(reads: &mut File, text: &[u8]) -> Result<()> {
    same("what it holds", drain(reads)?, vec![text.to_vec()])
}

fn once(_: &mut Context<'_>) -> Result<()> {
    let (session, ends) = (own()?, pipe()?);
    session.preserve_fd(&ends.reads, READ)?;
    refused(session.preserve_fd(&ends.reads, WRITE), Errno::EBUSY)?;
    session.preserve_fd(&ends.writes, WRITE)?;
    refused(session.preserve_fd(&ends.writes, Token(3)), Errno::EBUSY)?;
    session.preserve_fd(pipe()?.reads, Token(3))?;
    Ok(())
}

fn one_session(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let (one, other) = (session(&device, "one", 0)?, session(&device, "other", 0)?);
    let ends = pipe()?;
    one.preserve_fd(&ends.reads, READ)?;
    refused(other.preserve_fd(&ends.writes, WRITE), Errno::EBUSY)?;
    one.preserve_fd(&ends.writes, WRITE)?;
    drop(one);
    other.preserve_fd(&ends.writes, WRITE)?;
    Ok(())
}

fn again(_: &mut Context<'_>) -> Result<()> {
    let mut ends = pipe()?;
    ends.writes.write_all(TEXT)?;
    for _ in 0..2 {
        let session = own()?;
        session.preserve_fd(&ends.writes, WRITE)?;
        session.preserve_fd(&ends.reads, READ)?;
        drop(session);
    }
    holds(&mut ends.reads, TEXT)
}

fn usable(_: &mut Context<'_>) -> Result<()> {
    let (session, mut ends) = (own()?, pipe()?);
    ends.writes.write_all(TEXT)?;
    session.preserve_fd(&ends.reads, READ)?;
    session.preserve_fd(&ends.writes, WRITE)?;
    holds(&mut ends.reads, TEXT)?;
    ends.writes.write_all(b"more")?;
    holds(&mut ends.reads, b"more")
}

fn vetoed(context: &mut Context<'_>) -> Result<()> {
    let (session, mut ends) = (own()?, pipe()?);
    session.preserve_fd(&ends.reads, READ)?;
    session.preserve_fd(&ends.writes, WRITE)?;
    session.preserve_fd(forge::open()?, Token(3))?;
    ends.writes.write_all(TEXT)?;
    let fault = Fault::Freeze(ODD).inject()?;
    same("the error", context.refused_kexec()?.errno(), ODD)?;
    drop(fault);
    holds(&mut ends.reads, TEXT)
}

fn cancelled(_: &mut Context<'_>) -> Result<()> {
    let (session, mut ends) = (own()?, pipe()?);
    session.preserve_fd(&ends.reads, READ)?;
    session.preserve_fd(&ends.writes, WRITE)?;
    let device = device()?;
    enter(&device, State::Frozen)?;
    ends.writes.write_all(TEXT)?;
    device.cancel()?;
    state_is(&device, State::Normal)?;
    holds(&mut ends.reads, TEXT)
}

/// The end that is read from counts for a full pipe, and each for a page.
fn counts(_: &mut Context<'_>) -> Result<()> {
    let _delegated = Delegated::new()?;
    let _kinds = AllKinds::new()?;
    let ends = pipe()?;
    let size = fcntl_getpipe_size(&ends.reads)? as u64;
    let least = size + 4096;
    // Half of a tenth more, for what the records take.
    let _few = Quota::set("bytes", least + least / 10 + 3 * 4096)?;
    let session = create(USERS[0], "counts")?;
    session.preserve_fd(&ends.reads, READ)?;
    session.preserve_fd(&ends.writes, WRITE)?;
    refused(session.preserve_fd(pipe()?.reads, Token(3)), Errno::EDQUOT)?;
    let of = |token| -> Result<u64> {
        let files = session.list_files()?;
        let found = files.iter().find(|file| file.token == token);
        Ok(found.context("it is not listed")?.bytes)
    };
    ensure!(of(READ)? > least, "it counts for {} bytes", of(READ)?);
    same("the other end", of(WRITE)?, 4096)?;
    // As much as it may hold at the freeze.
    fcntl_setpipe_size(&ends.writes, 4096)?;
    let device = device()?;
    enter(&device, State::Frozen)?;
    device.cancel()?;
    ensure!(of(READ)? < size, "it still counts for {} bytes", of(READ)?);
    Ok(())
}

fn named(_: &mut Context<'_>) -> Result<()> {
    let path = std::env::temp_dir().join(format!("luo-conformance-{}", std::process::id()));
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0)?;
    let opened = rustix::fs::open(&path, OFlags::RDONLY | OFlags::NONBLOCK, mode);
    std::fs::remove_file(&path)?;
    refused(own()?.preserve_fd(opened?, READ), Errno::ENOENT)
}

/// What a socket has is spliced into it in pieces that are larger than a page.
fn overfull(context: &mut Context<'_>) -> Result<()> {
    let session = own()?;
    let mut ends = pipe()?;
    session.preserve_fd(&ends.reads, READ)?;
    session.preserve_fd(&ends.writes, WRITE)?;
    let (mut from, to) = UnixStream::pair()?;
    let size = fcntl_getpipe_size(&ends.writes)?;
    from.write_all(&vec![7; 2 * size])?;
    drop(from);
    while splice(&to, None, &ends.writes, None, size, SpliceFlags::NONBLOCK).is_ok_and(|n| n > 0) {}
    let holds = rustix::io::ioctl_fionread(&ends.reads)?;
    if holds <= size as u64 {
        return Err(skip(
            "sockets here have no pieces that are larger than a page",
        ));
    }
    same("the error", context.refused_kexec()?.errno(), Errno::EFBIG)?;
    let device = device()?;
    enter(&device, State::Prepared)?;
    refused(device.freeze(), Errno::EFBIG)?;
    same("the file", device.failure()?.token, READ)?;
    session.unpreserve_fd(READ)?;
    refused(session.preserve_fd(&ends.reads, READ), Errno::EFBIG)?;
    same(
        "what it holds",
        drain(&mut ends.reads)?.concat().len(),
        holds as usize,
    )?;
    session.preserve_fd(&ends.reads, READ)?;
    enter(&device, State::Frozen)?;
    Ok(device.cancel()?)
}

/// One into which the kernel puts what it has to tell (`O_NOTIFICATION_PIPE`).
fn of_notifications(_: &mut Context<'_>) -> Result<()> {
    let flags = PipeFlags::from_bits_retain(OFlags::EXCL.bits()) | PipeFlags::CLOEXEC;
    let (reads, writes) = match pipe_with(flags) {
        Err(rustix::io::Errno::NOPKG) => return Err(skip("there are no such pipes here")),
        made => made?,
    };
    let session = own()?;
    for end in [reads, writes] {
        refused(session.preserve_fd(end, READ), Errno::EOPNOTSUPP)?;
    }
    Ok(session.preserve_fd(pipe()?.reads, READ)?)
}

/// A page of a file that is on its way: who reads it waits for it, or hears that it does not come.
fn never_comes(context: &mut Context<'_>) -> Result<()> {
    seen(
        context.implementation.is_kernel(),
        "the simulator's driver has no such pages",
    )?;
    let session = own()?;
    let ends = pipe()?;
    // Nobody looks through this one.
    session.preserve_fd(&ends.writes, WRITE)?;
    session.preserve_fd(&ends.reads, READ)?;
    let from = forge::open()?;
    let page = splice(&from, None, &ends.writes, None, 4096, SpliceFlags::NONBLOCK)?;
    same("bytes of the page", page, 4096)?;
    let device = device()?;
    enter(&device, State::Prepared)?;
    refused(device.freeze(), Errno::ENODATA)?;
    same("the file", device.failure()?.token, READ)?;
    session.unpreserve_fd(READ)?;
    refused(session.preserve_fd(&ends.reads, READ), Errno::ENODATA)?;
    enter(&device, State::Frozen)?;
    Ok(device.cancel()?)
}
