// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memfds that somebody uses while they are preserved: another program has them mapped, a program
//! answers their faults (userfaultfd), a device or a pipe has their pages.
//!
//! A pipe stands for all who refer to pages: it does so for as long as the case wants.

use core::time::Duration;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::thread;

use anyhow::{Context as _, Result, ensure};
use luo_abi::uapi::SESSION_PRESERVE_FD;
use luo_sys::pinned::Pinned;
use luo_sys::userfault::{Faults, Told};
use luo_sys::{Errno, MappedFile, Session, memfd};
use rustix::pipe::PipeFlags;

use super::tools::{FIRST, MOVES_AT_ONCE, NOT_SIMULATED, incoming, session};
use crate::case::{Case, Context, here, shared};
use crate::check::{device, refused, same, seen, skip};
use crate::child::{Child, Role};
use crate::difference::{Expect, answers, simulated};
use crate::neighbour;
use crate::scratch;
use crate::waiting::{Call, Caller};

const PAGE: usize = 4096;

/// Far longer than a fault takes to be told.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) const CASES: &[Case] = &[
    shared("mapped-by-another-program", leave_mapped, mapped),
    shared("missing-pages-are-told", leave_missing, missing).but(&[answers(
        Errno::EEXIST,
        "its holes are filled, so no page is missing any more",
    )]),
    shared("minor-faults-are-told", leave_minor, as_marked),
    shared("writes-are-told", leave_protected, as_marked),
    shared("its-pages-are-in-a-pipe", leave_in_a_pipe, as_marked),
    shared("its-pages-are-pinned-for-longer", leave_pinned, as_marked),
    here("in-use-where-it-cannot-stay", cannot_stay).but(&[
        answers(Errno::ENOMEM, MOVES_AT_ONCE),
        simulated(Expect::Unseen(NOT_SIMULATED)),
    ]),
];

/// A memfd of holes, which is mapped.
fn memory(pages: usize) -> Result<(File, MappedFile)> {
    let file = memfd::create("busy", (pages * PAGE) as u64)?;
    let mapped = MappedFile::new(&file, pages * PAGE)?;
    Ok((file, mapped))
}

fn preserve(context: &Context<'_>, file: &File) -> Result<Session> {
    let session = session(&*context.device()?, context.own_name(), 0)?;
    session.preserve_fd(file, FIRST)?;
    Ok(session)
}

/// Faults of a mapping are told from now on.
fn told(memory: &MappedFile, told: Told) -> Result<Faults<'_>> {
    let none = |why| skip(format!("this machine tells nobody of such faults ({why})"));
    Faults::new(memory, told).map_err(none)
}

/// Asserts that somebody waits for a page.
fn is_reached(faults: &Faults<'_>, page: usize) -> Result<()> {
    same("the fault", faults.next(PATIENCE)?, Some(page * PAGE))
}

/// What is written into a page.
const fn mark(page: usize) -> u64 {
    (page as u64 + 1) << 32
}

/// Asserts that these pages have their marks, and others nothing.
fn is_marked(file: &File, pages: &[usize]) -> Result<()> {
    let all = usize::try_from(file.metadata()?.len())? / PAGE;
    for page in 0..all {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, (page * PAGE) as u64)?;
        let expected = if pages.contains(&page) { mark(page) } else { 0 };
        let seen = u64::from_ne_bytes(bytes);
        same(&format!("page {page}"), seen, expected)?;
    }
    Ok(())
}

fn arrived(context: &Context<'_>) -> Result<File> {
    let session = incoming(context.own_name())?;
    let file = File::from(session.retrieve_fd(FIRST)?);
    session.finish()?;
    Ok(file)
}

/// All three of its pages have been written.
const MARKED: [usize; 3] = [0, 1, 2];

fn as_marked(context: &mut Context<'_>) -> Result<()> {
    is_marked(&arrived(context)?, &MARKED)
}

fn leave_mapped(context: &mut Context<'_>) -> Result<()> {
    let file = memfd::create("mapped", (neighbour::PAGES * PAGE) as u64)?;
    let file = OwnedFd::from(file);
    let memory = neighbour::map(&file)?;
    memory.store(neighbour::WRITES[0] * PAGE, 1)?;
    let mut other = Child::start(Role::Map, "", file.try_clone()?)?;
    other.ready()?;
    let session = preserve(context, &File::from(file))?;
    neighbour::write(&memory)?;
    ensure!(other.ended()?.success(), "the other program has failed");
    context.hold(session);
    Ok(())
}

fn mapped(context: &mut Context<'_>) -> Result<()> {
    let file = arrived(context)?;
    for page in neighbour::WRITES {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, (page * PAGE) as u64)?;
        let seen = u64::from_ne_bytes(bytes);
        same(&format!("page {page}"), seen, neighbour::mark(page))?;
    }
    Ok(())
}

/// The first page is there, and the fourth stays a hole.
fn leave_missing(context: &mut Context<'_>) -> Result<()> {
    let (file, memory) = memory(4)?;
    memory.store(0, mark(0))?;
    let faults = told(&memory, Told::Missing)?;
    // Nobody answers meanwhile.
    let session = preserve(context, &file)?;
    faults.fill(PAGE, &[mark(1); PAGE / 8])?;
    thread::scope(|scope| {
        let reads = scope.spawn(|| memory.load(2 * PAGE));
        // Answered whatever is seen, or the thread never ends.
        let seen = is_reached(&faults, 2);
        let answered = faults.fill(2 * PAGE, &[mark(2); PAGE / 8]);
        if answered.is_err() {
            drop(faults);
        }
        let read = reads.join();
        seen?;
        answered?;
        same("what is read", read.ok(), Some(Ok(mark(2))))
    })?;
    context.hold(session);
    Ok(())
}

fn missing(context: &mut Context<'_>) -> Result<()> {
    let file = arrived(context)?;
    is_marked(&file, &MARKED)?;
    let blocks = rustix::fs::fstat(&file)?.st_blocks;
    same("the blocks", blocks, (3 * PAGE / 512) as i64)
}

/// Its pages are there, and not in the mapping: whoever touches one there waits.
fn leave_minor(context: &mut Context<'_>) -> Result<()> {
    let (file, memory) = memory(3)?;
    for page in MARKED {
        file.write_all_at(&mark(page).to_ne_bytes(), (page * PAGE) as u64)?;
    }
    let faults = told(&memory, Told::Minor)?;
    let session = preserve(context, &file)?;
    thread::scope(|scope| {
        let reads = scope.spawn(|| memory.load(PAGE));
        let seen = is_reached(&faults, 1);
        let answered = faults.go_on(PAGE);
        if answered.is_err() {
            drop(faults);
        }
        let read = reads.join();
        seen?;
        answered?;
        same("what is read", read.ok(), Some(Ok(mark(1))))
    })?;
    context.hold(session);
    Ok(())
}

/// Its pages are protected against writing, as those of a guest whose changes are looked for.
fn leave_protected(context: &mut Context<'_>) -> Result<()> {
    let (file, memory) = memory(3)?;
    for page in [0, 1] {
        memory.store(page * PAGE, mark(page).wrapping_add(1))?;
    }
    // By a call no protection is met.
    let by_call = |page| file.write_all_at(&mark(page).to_ne_bytes(), (page * PAGE) as u64);
    let faults = told(&memory, Told::Write)?;
    for page in MARKED {
        faults.protect(page * PAGE, true)?;
    }
    let session = preserve(context, &file)?;
    by_call(0)?;
    for page in [1, 2] {
        thread::scope(|scope| {
            let writes = scope.spawn(|| memory.store(page * PAGE, mark(page)));
            let seen = is_reached(&faults, page);
            let before = file_word(&file, page);
            // Where this fails, the thread ends with the mapping's protection only.
            let answered = faults.protect(page * PAGE, false);
            let written = writes.join();
            seen?;
            answered?;
            ensure!(
                before? != mark(page),
                "it is written before that is allowed"
            );
            same("the write", written.ok(), Some(Ok(())))
        })?;
    }
    context.hold(session);
    Ok(())
}

fn file_word(file: &File, page: usize) -> Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, (page * PAGE) as u64)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// A pipe refers to its pages, as a device does that is to read them. They stay where they are: the
/// pipe gives what is written to them later.
fn leave_in_a_pipe(context: &mut Context<'_>) -> Result<()> {
    let (file, memory) = memory(3)?;
    for page in MARKED {
        memory.store(page * PAGE, 1)?;
    }
    // Pages that lie where none can stay are moved now; those in use could not be.
    let before = session(&*context.device()?, "busy-before", 0)?;
    before.preserve_fd(&file, FIRST)?;
    drop(before);
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let lent = memory.lend_to(&writer, 0, MARKED.len() * PAGE)?;
    same("bytes in the pipe", lent, MARKED.len() * PAGE)?;
    let session = preserve(context, &file).context("pages in use")?;
    for page in MARKED {
        memory.store(page * PAGE, mark(page))?;
    }
    let mut first = vec![0; PAGE];
    same(
        "bytes out of it",
        rustix::io::read(&reader, &mut first)?,
        PAGE,
    )?;
    ensure!(
        first.starts_with(&mark(0).to_ne_bytes()),
        "the page of the file is another one than that in the pipe"
    );
    context.hold((session, reader, writer));
    Ok(())
}

/// Its pages are pinned as those of a device that may write to them at any time. Whoever has them
/// so sees what is written after they are preserved: they stay where they are.
fn leave_pinned(context: &mut Context<'_>) -> Result<()> {
    let (file, memory) = memory(MARKED.len())?;
    for page in MARKED {
        memory.store(page * PAGE, 1)?;
    }
    let none = |why| skip(format!("no driver pins pages here ({why})"));
    let pinned = Pinned::new(memory).map_err(none)?;
    let session = preserve(context, &file).context("pages that are pinned")?;
    for page in MARKED {
        pinned.memory().store(page * PAGE, mark(page))?;
    }
    let words = pinned.words()?;
    for page in MARKED {
        let seen = words.get(page * PAGE / size_of::<u64>()).copied();
        same("what the page has that was pinned", seen, Some(mark(page)))?;
    }
    context.hold((session, pinned));
    Ok(())
}

/// A page in the scratch area has to be moved, which nobody can while it is in use. Whoever uses it
/// is waited for, with an end.
fn cannot_stay(context: &mut Context<'_>) -> Result<()> {
    seen(context.implementation.is_kernel(), NOT_SIMULATED)?;
    let (file, memory, page) = scratch::file()?;
    let session = session(&device()?, "in use", 0)?;
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let lend = || {
        same(
            "what is lent",
            memory.lend_to(&writer, page * PAGE, PAGE)?,
            PAGE,
        )
    };
    lend()?;
    refused(session.preserve_fd(&file, FIRST), Errno::EBUSY)?;
    file.set_len(file.metadata()?.len())
        .context("it is still held")?;
    thread::scope(|scope| {
        let preserves = Caller::begin(scope, || session.preserve_fd(&file, FIRST))?;
        let waits = preserves.waits_in(Call::Ioctl(SESSION_PRESERVE_FD));
        let mut bytes = vec![0; PAGE];
        let read = rustix::io::read(&reader, &mut bytes);
        let preserved = preserves.outcome()?;
        waits?;
        same("what was read", read?, PAGE)?;
        anyhow::Ok(preserved?)
    })?;
    // It lies where it can stay now.
    session.unpreserve_fd(FIRST)?;
    lend()?;
    Ok(session.preserve_fd(&file, FIRST)?)
}
