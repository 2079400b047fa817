// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memfds of all sizes and kinds, over a kexec: they come back as they were.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result, ensure};
use luo_sys::memfd::{self, Seals};
use luo_sys::{Errno, Session, Token};

use super::tools::{FIRST, contents, incoming, is_free, memory, session, verify};
use crate::case::{Case, Context, here, shared};
use crate::check::{Mismatch, device, refused, same};
use crate::difference::accepts;
use crate::fill;

const PAGE: u64 = 4096;

pub(super) const CASES: &[Case] = &[
    shared("of-0-bytes", |c| leave_sized(c, 0), |c| sized(c, 0)),
    shared("of-1-byte", |c| leave_sized(c, 1), |c| sized(c, 1)),
    shared(
        "of-a-page-less-1",
        |c| leave_sized(c, PAGE - 1),
        |c| sized(c, PAGE - 1),
    ),
    shared("of-a-page", |c| leave_sized(c, PAGE), |c| sized(c, PAGE)),
    shared(
        "of-a-page-and-1",
        |c| leave_sized(c, PAGE + 1),
        |c| sized(c, PAGE + 1),
    ),
    shared(
        "of-64-MiB",
        |c| leave_sized(c, 64 << 20),
        |c| sized(c, 64 << 20),
    ),
    shared("holes-are-zeros", leave_holes, holes),
    shared("written-after-it-was-preserved", leave_late, late),
    shared("positions-come-back", leave_position, position),
    shared("seals-come-back", leave_seals, seals),
    shared(
        "without-sealing-comes-back-so",
        leave_unsealable,
        unsealable,
    ),
    shared("a-sealed-one-is-sealed", leave_sealed, sealed),
    shared("a-read-only-one-is-read-only", leave_read_only, read_only)
        .but(&[accepts("mainline gives it back for reading and writing")]),
    here("a-read-only-one-is-preserved", preserve_read_only),
];

/// Leaves one file in a session of the case's own.
fn leave(context: &mut Context<'_>, file: &File) -> Result<()> {
    let session = session(&*context.device()?, context.own_name(), 0)?;
    session.preserve_fd(file, FIRST)?;
    context.hold(session);
    Ok(())
}

/// Takes it back.
fn arrived(context: &Context<'_>) -> Result<(Session, File)> {
    let session = incoming(context.own_name())?;
    let file = File::from(session.retrieve_fd(FIRST)?);
    Ok((session, file))
}

fn leave_sized(context: &mut Context<'_>, length: u64) -> Result<()> {
    let file = fill::memfd("sized", length, contents("sized", length))?;
    leave(context, &file)
}

fn sized(context: &mut Context<'_>, length: u64) -> Result<()> {
    let (session, file) = arrived(context)?;
    fill::verify(&file, length, contents("sized", length))?;
    session.finish()?;
    drop(session);
    is_free(&file)?;
    fill::verify(&file, length, contents("sized", length)).context("after finish")
}

/// One page of data in the middle of many that nobody has written.
const HOLES: u64 = 100 * PAGE;
const DATA: u64 = 50 * PAGE;

fn leave_holes(context: &mut Context<'_>) -> Result<()> {
    let file = memfd::create("holes", HOLES)?;
    file.write_all_at(&[0x55; PAGE as usize], DATA)?;
    leave(context, &file)
}

fn holes(context: &mut Context<'_>) -> Result<()> {
    let (session, file) = arrived(context)?;
    let mut expected = vec![0; HOLES as usize];
    expected[DATA as usize..][..PAGE as usize].fill(0x55);
    let mut seen = vec![0xaa; HOLES as usize];
    file.read_exact_at(&mut seen, 0)?;
    ensure!(seen == expected, "the contents differ");
    Ok(session.finish()?)
}

fn leave_late(context: &mut Context<'_>) -> Result<()> {
    let file = memory("early", 1)?;
    leave(context, &file)?;
    let mut bytes = vec![0; super::tools::LENGTH as usize];
    memory("late", 2)?.read_exact_at(&mut bytes, 0)?;
    file.write_all_at(&bytes, 0)?;
    context.hold(file);
    Ok(())
}

fn late(context: &mut Context<'_>) -> Result<()> {
    let (session, file) = arrived(context)?;
    verify(&file, "late", 2)?;
    Ok(session.finish()?)
}

fn leave_position(context: &mut Context<'_>) -> Result<()> {
    let mut file = memory("position", 1)?;
    leave(context, &file)?;
    // The one that counts is that at the freeze.
    file.seek(SeekFrom::Start(777))?;
    context.hold(file);
    Ok(())
}

fn position(context: &mut Context<'_>) -> Result<()> {
    let (session, mut file) = arrived(context)?;
    same("the position", file.stream_position()?, 777)?;
    verify(&file, "position", 1)?;
    Ok(session.finish()?)
}

/// Sets of seals; the index is the token.
const SEALS: [Seals; 5] = [
    Seals::empty(),
    Seals::GROW,
    Seals::SHRINK,
    Seals::GROW.union(Seals::SHRINK).union(Seals::WRITE),
    Seals::SEAL,
];

fn leave_seals(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, context.own_name(), 0)?;
    for (token, seals) in (0..).zip(SEALS) {
        let file = memory("seals", token)?;
        memfd::add_seals(&file, seals)?;
        session.preserve_fd(file, Token(token))?;
    }
    context.hold(session);
    Ok(())
}

fn seals(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    for (token, seals) in (0..).zip(SEALS) {
        let file = super::tools::retrieve(&session, "seals", token)?;
        same("the seals", memfd::seals(&file)?, seals)?;
    }
    Ok(session.finish()?)
}

fn leave_unsealable(context: &mut Context<'_>) -> Result<()> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let file = File::from(rustix::fs::memfd_create("plain", flags)?);
    file.set_len(PAGE)?;
    leave(context, &file)
}

fn unsealable(context: &mut Context<'_>) -> Result<()> {
    let (session, file) = arrived(context)?;
    same("the seals", memfd::seals(&file)?, Seals::SEAL)?;
    let added = memfd::add_seals(&file, Seals::GROW);
    refused(added, Errno::EPERM)?;
    Ok(session.finish()?)
}

fn leave_sealed(context: &mut Context<'_>) -> Result<()> {
    let file = memory("sealed", 1)?;
    memfd::add_seals(&file, Seals::GROW | Seals::SHRINK | Seals::WRITE)?;
    leave(context, &file)
}

/// The seals do what they say, and not only at the first descriptor.
fn sealed(context: &mut Context<'_>) -> Result<()> {
    let (session, file) = arrived(context)?;
    session.finish()?;
    verify(&file, "sealed", 1)?;
    ensure!(file.write_all_at(b"x", 0).is_err(), "it can be written");
    ensure!(file.set_len(0).is_err(), "it can be truncated");
    ensure!(file.set_len(1 << 20).is_err(), "it can be enlarged");
    Ok(())
}

/// A descriptor that cannot write, of a memfd that could be written.
fn read_only_memory() -> Result<File> {
    let full = memory("read-only", 1)?;
    Ok(File::open(format!("/proc/self/fd/{}", full.as_raw_fd()))?)
}

fn preserve_read_only(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "read-only", 0)?;
    Ok(session.preserve_fd(read_only_memory()?, FIRST)?)
}

fn leave_read_only(context: &mut Context<'_>) -> Result<()> {
    leave(context, &read_only_memory()?)
}

/// Privileges do not grow over an update.
fn read_only(context: &mut Context<'_>) -> Result<()> {
    let (session, mut file) = arrived(context)?;
    verify(&file, "read-only", 1)?;
    session.finish()?;
    match file.write_all(b"x") {
        Ok(()) => Err(Mismatch::Accepted {
            expected: Errno::EBADF,
        }
        .into()),
        Err(error) => same("the error", error.raw_os_error(), Some(Errno::EBADF.get())),
    }
}
