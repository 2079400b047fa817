// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memfds of huge pages (hugetlb): they come back as they were, and the pools of both kernels
//! count each page once.

mod groups;
mod pools;
mod tools;

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result, ensure};
use luo_sys::memfd::{self, Seals};
use luo_sys::{Errno, MappedFile, Token};
use rustix::fs::{FallocateFlags, Mode, OFlags};

use super::tools::{FIRST, NO_CONTRACT, incoming, session, untouched};
use crate::case::{Case, Context, alone, here, shared};
use crate::check::{device, refused, refused_file, same};
use crate::difference::{Differs, answers, missing};
use tools::{HUGE, Pool, fill, huge, is_filled, provide};

/// What mainline does with all of them.
const REFUSED: &[Differs] = &[answers(
    Errno::ENOENT,
    "mainline has no handler of huge pages",
)];

pub(super) const CASES: &[Case] = &[
    shared("all-is-as-it-was", leave, as_it_was).but(REFUSED),
    shared("empty-and-without-pages", leave_empty, empty).but(REFUSED),
    shared("written-into-a-hole-afterwards", leave_late, late).but(REFUSED),
    shared("each-file-has-its-own", leave_two, two).but(REFUSED),
    here("held-still-while-it-is-preserved", held_still).but(REFUSED),
    here("preserved-once", once).but(REFUSED),
    here("let-go-of-the-pool-is-as-before", let_go).but(REFUSED),
    here("vetoed-and-cancelled-the-pool-is-as-before", cancelled).but(REFUSED),
    alone(
        "the-pool-leaves-room",
        &[pools::leave_to_a_pool, pools::room],
    )
    .but(REFUSED),
    alone(
        "no-places-for-a-users-lost-file",
        &[pools::leave_lost, pools::whole],
    )
    .but(&[missing(NO_CONTRACT)]),
    alone(
        "without-a-pool-pages-are-surplus",
        &[pools::leave, pools::surplus],
    )
    .but(REFUSED),
    alone(
        "unclaimed-goes-on",
        &[pools::leave_one, untouched, pools::gone_on],
    )
    .but(REFUSED),
    alone("its-group-pays", &[groups::leave, groups::pays]).but(REFUSED),
];

/// The pages that have been written, of as many as a file has.
const USED: [u64; 3] = [1, 4, 5];
const PAGES: u64 = 8;

fn leave(context: &mut Context<'_>) -> Result<()> {
    provide(context, PAGES)?;
    let mut file = huge("guest ram", PAGES)?;
    fill(&file, &USED)?;
    rustix::fs::fchmod(&file, Mode::from_bits_retain(0o640))?;
    rustix::fs::fcntl_setfl(&file, OFlags::RDWR | OFlags::NONBLOCK)?;
    let session = session(&*context.device()?, context.own_name(), 0)?;
    session.preserve_fd(&file, FIRST)?;
    memfd::add_seals(&file, Seals::SHRINK)?;
    file.seek(SeekFrom::Start(77))?;
    context.hold(session);
    context.hold(file);
    Ok(())
}

fn as_it_was(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let mut file = File::from(session.retrieve_fd(FIRST)?);
    session.finish()?;
    let seen = file.metadata()?;
    same("the size", seen.len(), PAGES * HUGE)?;
    same("the mode", seen.mode() & 0o7777, 0o640)?;
    same("the seals", memfd::seals(&file)?, Seals::SHRINK)?;
    same("the position", file.stream_position()?, 77)?;
    let flags = rustix::fs::fcntl_getfl(&file)?;
    ensure!(flags.contains(OFlags::NONBLOCK), "the flags are {flags:?}");
    let link = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let link = link.to_string_lossy().into_owned();
    same("the name", link.as_str(), "/memfd:guest ram (deleted)")?;
    same("the block size", seen.blksize(), HUGE)?;
    same("the blocks", seen.blocks(), USED.len() as u64 * HUGE / 512)?;
    is_filled(&file, &USED)?;
    // It does what such a file does: holes have pages when they are written, and are punched.
    // What a mapping has reserved before, one reserves again.
    provide(context, 1)?;
    fill(&file, &[0])?;
    rustix::fs::fallocate(
        &file,
        FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        4 * HUGE,
        HUGE,
    )?;
    is_filled(&file, &[0, 1, 5])?;
    refused_file(file.set_len(HUGE), Errno::EPERM).context("its seal")
}

fn leave_empty(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, context.own_name(), 0)?;
    session.preserve_fd(huge("empty", 0)?, FIRST)?;
    session.preserve_fd(huge("holes", 1 << 20)?, Token(2))?;
    context.hold(session);
    Ok(())
}

fn empty(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    for (token, pages) in [(FIRST, 0), (Token(2), 1 << 20)] {
        let file = File::from(session.retrieve_fd(token)?);
        let seen = file.metadata()?;
        same("the size", seen.len(), pages * HUGE)?;
        same("the block size", seen.blksize(), HUGE)?;
        same("the blocks", seen.blocks(), 0)?;
    }
    Ok(session.finish()?)
}

fn leave_late(context: &mut Context<'_>) -> Result<()> {
    provide(context, PAGES)?;
    let file = huge("late", PAGES)?;
    fill(&file, &[3])?;
    let session = session(&*context.device()?, context.own_name(), 0)?;
    session.preserve_fd(&file, FIRST)?;
    // A hole before and one behind.
    fill(&file, &[2, 7])?;
    context.hold(session);
    context.hold(file);
    Ok(())
}

fn late(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let file = File::from(session.retrieve_fd(FIRST)?);
    session.finish()?;
    same("the blocks", file.metadata()?.blocks(), 3 * HUGE / 512)?;
    is_filled(&file, &[2, 3, 7])
}

fn leave_two(context: &mut Context<'_>) -> Result<()> {
    provide(context, 4)?;
    let session = session(&*context.device()?, context.own_name(), 0)?;
    for (token, pages) in [(FIRST, &[0][..]), (Token(2), &[1, 2][..])] {
        let file = huge("one of two", 3)?;
        fill(&file, pages)?;
        session.preserve_fd(&file, token)?;
    }
    context.hold(session);
    Ok(())
}

/// One is taken back, and the other is nobody's: its pages are the machine's again.
fn two(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let before = Pool::look(context)?;
    let file = File::from(session.retrieve_fd(FIRST)?);
    is_filled(&file, &[0])?;
    session.finish()?;
    drop(file);
    Pool::has_lent(context, before, 0)
}

fn held_still(context: &mut Context<'_>) -> Result<()> {
    provide(context, 2)?;
    let file = huge("still", 2)?;
    fill(&file, &[0])?;
    let session = session(&device()?, "still", 0)?;
    session.preserve_fd(&file, FIRST)?;
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let fallocate = |flags, at| {
        let done = rustix::fs::fallocate(&file, flags, at, HUGE);
        done.map_err(std::io::Error::from)
    };
    refused_file(file.set_len(HUGE), Errno::EPERM).context("shrinking")?;
    refused_file(file.set_len(3 * HUGE), Errno::EPERM).context("growing")?;
    file.set_len(2 * HUGE).context("the size that it has")?;
    refused_file(fallocate(punch, 0), Errno::EPERM).context("a hole")?;
    refused_file(fallocate(FallocateFlags::empty(), HUGE), Errno::EPERM).context("memory")?;
    // Mapping more than there is makes a file of huge pages larger.
    if context.implementation.is_kernel() {
        ensure!(
            MappedFile::new(&file, 3 * HUGE as usize).is_err(),
            "a mapping makes it larger"
        );
        same("the size", file.metadata()?.len(), 2 * HUGE)?;
    }
    // What can be written can still be.
    fill(&file, &[0, 1])?;
    session.unpreserve_fd(FIRST)?;
    fallocate(punch, 0)?;
    Ok(file.set_len(HUGE)?)
}

fn once(context: &mut Context<'_>) -> Result<()> {
    provide(context, 1)?;
    let file = huge("once", 1)?;
    fill(&file, &[0])?;
    let device = device()?;
    let (one, other) = (session(&device, "one", 0)?, session(&device, "other", 0)?);
    one.preserve_fd(&file, FIRST)?;
    refused(one.preserve_fd(&file, Token(2)), Errno::EBUSY)?;
    refused(other.preserve_fd(&file, FIRST), Errno::EBUSY)?;
    one.unpreserve_fd(FIRST)?;
    Ok(other.preserve_fd(&file, FIRST)?)
}

fn let_go(context: &mut Context<'_>) -> Result<()> {
    provide(context, 3)?;
    let before = Pool::look(context)?;
    for by_close in [false, true] {
        let session = session(&device()?, "let go", 0)?;
        let file = huge("let go", 3)?;
        fill(&file, &[0, 2])?;
        session.preserve_fd(&file, FIRST)?;
        // Preserved, it lives without its owner.
        drop(file);
        Pool::has_lent(context, before, 2)?;
        if !by_close {
            session.unpreserve_fd(FIRST)?;
        }
        drop(session);
        same("the pool", Pool::look(context)?, before)?;
    }
    Ok(())
}

fn cancelled(context: &mut Context<'_>) -> Result<()> {
    provide(context, 3)?;
    let before = Pool::look(context)?;
    let device = device()?;
    let session = session(&device, "cancelled", 0)?;
    let file = huge("cancelled", 3)?;
    fill(&file, &[0])?;
    session.preserve_fd(&file, FIRST)?;
    device.prepare()?;
    fill(&file, &[1])?;
    device.freeze()?;
    device.cancel()?;
    is_filled(&file, &[0, 1])?;
    drop(session);
    file.set_len(0).context("it is still held")?;
    same("the pool", Pool::look(context)?, before)
}
