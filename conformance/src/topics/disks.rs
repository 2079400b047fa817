// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memfds and disks: pages that are swapped out when a file is preserved, or afterwards, and pages
//! that a disk writes into meanwhile.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use luo_abi::uapi::SESSION_PRESERVE_FD;
use luo_sys::{Errno, MappedFile, Session, cached, memfd};

use super::tools::{FIRST, MOVES_AT_ONCE, NO_SYSFS, NOT_SIMULATED, incoming, session};
use crate::case::{Case, Context, shared};
use crate::check::{same, seen};
use crate::difference::{Differs, Expect, absent, answers, simulated};
use crate::disk::{Disk, Swap};
use crate::implementation::Implementation;
use crate::look::set_sysfs;
use crate::scratch;
use crate::waiting::{Call, Caller};

const PAGE: usize = 4096;

/// Pages of a file that is swapped out, half of which may be written later.
const PAGES: usize = 64;
const HALF: usize = PAGES / 2;

/// Bytes that a disk takes seconds for.
const MUCH: usize = 2 << 20;

/// Bytes that one takes less time for than a page that has to be moved is waited for.
const LITTLE: usize = 512 << 10;

const OF_THE_MACHINE: Differs = simulated(Expect::Unseen(NOT_SIMULATED));

/// Why what is written to a hole of a preserved file is not swapped out on mainline.
const FILLED: &str = "its holes are filled when it is preserved, so they cannot be swapped out";

pub(super) const CASES: &[Case] = &[
    shared("swapped-out", leave_out, out).but(&[OF_THE_MACHINE]),
    shared("swapped-out-in-runs", leave_out_in_runs, out).but(&[absent(NO_SYSFS), OF_THE_MACHINE]),
    shared("swapped-out-after-it-was-preserved", leave_out_later, out).but(&[
        Differs {
            on: Implementation::CKernel,
            expect: Expect::Unseen(FILLED),
        },
        OF_THE_MACHINE,
    ]),
    shared("a-disk-writes-into-it", leave_written, written).but(&[OF_THE_MACHINE]),
    shared(
        "a-disk-writes-where-it-cannot-stay",
        leave_written_in_scratch,
        written_in_scratch,
    )
    .but(&[answers(Errno::ENOMEM, MOVES_AT_ONCE), OF_THE_MACHINE]),
];

/// What is written into a page.
const fn mark(page: usize) -> u64 {
    !(page as u64)
}

fn write_marks(memory: &MappedFile, pages: core::ops::Range<usize>) -> Result<Vec<usize>> {
    for page in pages.clone() {
        memory.store(page * PAGE, mark(page))?;
        memory.store((page + 1) * PAGE - 8, mark(page))?;
    }
    Ok(pages.collect())
}

fn has_marks(memory: &MappedFile) -> Result<()> {
    for page in 0..PAGES {
        for at in [page * PAGE, (page + 1) * PAGE - 8] {
            let seen = memory.load(at)?;
            ensure!(
                seen == mark(page),
                "byte {at} of page {page} is of {seen:#x}"
            );
        }
    }
    Ok(())
}

/// The file, of holes.
fn file_of(bytes: usize) -> Result<(File, MappedFile)> {
    let file = memfd::create("disks", bytes as u64)?;
    let memory = MappedFile::new(&file, bytes)?;
    Ok((file, memory))
}

fn preserve(context: &Context<'_>, file: &File) -> Result<Session> {
    let session = session(&*context.device()?, context.own_name(), 0)?;
    session.preserve_fd(file, FIRST)?;
    Ok(session)
}

/// The room to swap to has the name of its case.
fn leave_out_in(context: &mut Context<'_>, name: &str) -> Result<()> {
    let swap = Swap::new(name)?;
    let (file, memory) = file_of(PAGES * PAGE)?;
    let pages = write_marks(&memory, 0..PAGES)?;
    swap.put_out(&file, &memory, &pages)?;
    let session = preserve(context, &file)?;
    same(
        "pages in memory",
        cached::pages(&file)?.present,
        PAGES as u64,
    )?;
    context.hold(session);
    Ok(())
}

fn leave_out(context: &mut Context<'_>) -> Result<()> {
    seen(context.implementation.is_kernel(), NOT_SIMULATED)?;
    leave_out_in(context, "luo-swap")
}

/// The same while the kernel hands memfds over in runs.
fn leave_out_in_runs(context: &mut Context<'_>) -> Result<()> {
    seen(context.implementation.is_kernel(), NOT_SIMULATED)?;
    set_sysfs("memfd", "runs")?;
    let left = leave_out_in(context, "luo-swap-runs");
    set_sysfs("memfd", "memfd-v2")?;
    left
}

/// Half of it comes after it was preserved, and goes out before the freeze.
fn leave_out_later(context: &mut Context<'_>) -> Result<()> {
    seen(context.implementation.is_kernel(), NOT_SIMULATED)?;
    let (file, memory) = file_of(PAGES * PAGE)?;
    write_marks(&memory, 0..HALF)?;
    let session = preserve(context, &file)?;
    let blocks = file.metadata()?.blocks();
    seen(blocks == (HALF * PAGE / 512) as u64, FILLED)?;
    let pages = write_marks(&memory, HALF..PAGES)?;
    let swap = Swap::new("luo-swap-later")?;
    swap.put_out(&file, &memory, &pages)?;
    context.hold((session, swap));
    Ok(())
}

/// All of it is there, and its pages go out and come in again as those of any file.
fn out(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let file = File::from(session.retrieve_fd(FIRST)?);
    session.finish()?;
    let memory = MappedFile::new(&file, PAGES * PAGE)?;
    has_marks(&memory)?;
    let swap = Swap::new("luo-swap")?;
    let pages: Vec<_> = (0..PAGES).collect();
    swap.put_out(&file, &memory, &pages)?;
    has_marks(&memory).context("after it was swapped out")
}

/// A disk of zeros.
fn slow_disk(name: &str) -> Result<(Disk, File)> {
    let disk = Disk::slow(name, 4)?;
    let reads = disk.direct()?;
    Ok((disk, reads))
}

/// Asserts that no page of a part has what it had before the disk wrote.
fn is_zero(file: &File, from: usize, bytes: usize) -> Result<()> {
    let mut seen = vec![0xff; bytes];
    file.read_exact_at(&mut seen, from as u64)?;
    let other = seen.iter().position(|&byte| byte != 0);
    same("the first byte that is not of the disk", other, None)
}

fn arrived(context: &Context<'_>) -> Result<File> {
    let session = incoming(context.own_name())?;
    let file = File::from(session.retrieve_fd(FIRST)?);
    session.finish()?;
    Ok(file)
}

/// The disk is in the middle of it when the file is preserved, and goes on.
fn leave_written(context: &mut Context<'_>) -> Result<()> {
    seen(context.implementation.is_kernel(), NOT_SIMULATED)?;
    let (file, memory) = file_of(MUCH)?;
    file.write_all_at(&vec![0xff; MUCH], 0)?;
    // Pages that lie where none can stay are moved now.
    let before = session(&*context.device()?, "disks-before", 0)?;
    before.preserve_fd(&file, FIRST)?;
    drop(before);
    let (_disk, reads) = slow_disk("luo-slow")?;
    let session = thread::scope(|scope| {
        let read = Caller::begin(scope, || memory.read_from(&reads, 0, MUCH))?;
        let goes_on = read.waits_in(Call::Read(reads.as_raw_fd()));
        let session = preserve(context, &file);
        let too_late = read.has_ended();
        let read = read.outcome()?;
        goes_on?;
        let session = session?;
        ensure!(!too_late, "the disk was done before");
        same("bytes that were read", read?, MUCH)?;
        anyhow::Ok(session)
    })?;
    is_zero(&file, 0, MUCH)?;
    context.hold(session);
    Ok(())
}

fn written(context: &mut Context<'_>) -> Result<()> {
    is_zero(&arrived(context)?, 0, MUCH)
}

/// A page that has to be moved is waited for until the disk has written.
fn leave_written_in_scratch(context: &mut Context<'_>) -> Result<()> {
    seen(context.implementation.is_kernel(), NOT_SIMULATED)?;
    let (file, memory, page) = scratch::file()?;
    let from = page * PAGE / LITTLE * LITTLE;
    file.write_all_at(&vec![0xff; LITTLE], from as u64)?;
    let (_disk, reads) = slow_disk("luo-slow-scratch")?;
    let session = session(&*context.device()?, context.own_name(), 0)?;
    thread::scope(|scope| {
        let read = Caller::begin(scope, || memory.read_from(&reads, from, LITTLE))?;
        let goes_on = read.waits_in(Call::Read(reads.as_raw_fd()));
        let preserves = Caller::begin(scope, || session.preserve_fd(&file, FIRST))?;
        let waits = preserves.waits_in(Call::Ioctl(SESSION_PRESERVE_FD));
        let preserved = preserves.outcome()?;
        let read = read.outcome()?;
        goes_on?;
        preserved?;
        waits?;
        same("bytes that were read", read?, LITTLE)
    })?;
    is_zero(&file, from, LITTLE)?;
    context.note("from", from as u64);
    context.hold(session);
    Ok(())
}

fn written_in_scratch(context: &mut Context<'_>) -> Result<()> {
    let from = usize::try_from(context.noted("from")?)?;
    is_zero(&arrived(context)?, from, LITTLE)
}
