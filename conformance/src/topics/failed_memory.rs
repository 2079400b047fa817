// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory of preserved files that has failed: nobody is given it as good.
//!
//! The kernel is told that it has failed, which costs the machine that memory until it boots anew.
//! So that is done in machines for tests alone, which have the driver.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;

use anyhow::{Result, ensure};
use luo_sys::{Cause, Errno, FileStatus, MappedFile, State, Token, memfd};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::process::Signal;

use super::pipes::{READ, WRITE, pipe};
use super::tools::{NO_CONTRACT, enter, incoming, retrieve, session};
use crate::case::{Case, Context, alone, here};
use crate::check::{device, refused, same, seen, skip};
use crate::child::{Child, Role};
use crate::difference::{Differs, Expect, accepts, answers, missing, simulated};
use crate::forge;

const PAGE: u64 = 4096;

pub(super) const CASES: &[Case] = &[
    here("a-memfds-is-refused-until-it-is-punched-out", punched_out).but(&[
        accepts("mainline does not look whether a page has failed"),
        SIMULATED,
    ]),
    here("a-preserved-memfds-fails-the-freeze", fails_the_freeze)
        .but(&[missing(NO_CONTRACT), SIMULATED]),
    alone(
        "a-preserved-memfd-with-it-is-lost-alone",
        &[leave_failed, lost],
    )
    .but(&[missing(NO_CONTRACT), SIMULATED]),
    here("a-pipe-with-it-is-refused", in_a_pipe).but(&[
        answers(Errno::ENOENT, "mainline has handlers of memfds only"),
        SIMULATED,
    ]),
];

const SIMULATED: Differs = simulated(Expect::Unseen(
    "the memory is that of the machine, which goes on afterwards",
));

/// The token of the file that it fails in. Token 1 is that of another, which goes over.
const FAILED: Token = Token(2);

/// A memfd of written pages.
fn written() -> Result<File> {
    let file = memfd::create("fails", 3 * PAGE)?;
    file.write_all_at(&[7; 3 * PAGE as usize], 0)?;
    Ok(file)
}

/// Its second page has failed from here on.
fn fail(context: &Context<'_>, file: &File) -> Result<()> {
    seen(
        context.implementation.is_kernel(),
        "the memory of this machine is not for tests",
    )?;
    forge::open()?;
    let status = Child::start(Role::Poison, "", file.try_clone()?)?.ended()?;
    if status.code() == Some(Errno::EINVAL.get()) {
        return Err(skip("this kernel knows of no memory that has failed"));
    }
    let ended_by = Some(Signal::BUS.as_raw());
    same("what ends who has it mapped", status.signal(), ended_by)
}

/// The page is taken out of the file.
fn punch_out(file: &File) -> Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(fallocate(file, flags, PAGE, PAGE)?)
}

fn punched_out(context: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "fails", 0)?;
    let file = written()?;
    fail(context, &file)?;
    refused(session.preserve_fd(&file, Token(1)), Errno::EHWPOISON)?;
    punch_out(&file)?;
    Ok(session.preserve_fd(&file, Token(1))?)
}

fn fails_the_freeze(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    // What mainline lacks is said first: it would jump.
    device.info()?;
    let session = session(&device, "fails", 1)?;
    let file = written()?;
    session.preserve_fd(&file, FAILED)?;
    fail(context, &file)?;
    same(
        "the error",
        context.refused_kexec()?.errno(),
        Errno::EHWPOISON,
    )?;
    enter(&device, State::Prepared)?;
    refused(device.freeze(), Errno::EHWPOISON)?;
    let failure = device.failure()?;
    same("the cause", failure.cause, Cause::Handler)?;
    same("the file", failure.token, FAILED)?;
    session.unpreserve_fd(FAILED)?;
    // The other one goes.
    enter(&device, State::Frozen)?;
    device.cancel()?;
    punch_out(&file)?;
    session.preserve_fd(&file, FAILED)?;
    let mut bytes = [0; PAGE as usize];
    file.read_exact_at(&mut bytes, 0)?;
    ensure!(bytes == [7; PAGE as usize], "its first page is another");
    Ok(())
}

fn leave_failed(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    device.info()?;
    let session = session(&device, "fails", 1)?;
    let file = written()?;
    session.preserve_fd(&file, FAILED)?;
    fail(context, &file)?;
    context.hold(session);
    Ok(())
}

fn lost(_: &mut Context<'_>) -> Result<()> {
    let session = incoming("fails")?;
    refused(session.retrieve_fd(FAILED), Errno::ENOTRECOVERABLE)?;
    let files = session.list_files()?;
    let lost = files.iter().find(|file| file.token == FAILED);
    same(
        "what is said of it",
        lost.map(|file| (file.status, file.error)),
        Some((FileStatus::Lost, Some(Errno::EHWPOISON))),
    )?;
    retrieve(&session, "fails", 1)?;
    session.finish()?;
    Ok(())
}

/// A page of a memfd is put into the pipe, and fails then.
fn in_a_pipe(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "fails", 0)?;
    let (file, ends) = (written()?, pipe()?);
    session.preserve_fd(&ends.reads, READ)?;
    session.preserve_fd(&ends.writes, WRITE)?;
    let page = usize::try_from(PAGE)?;
    let mapped = MappedFile::new(&file, 3 * page)?;
    same(
        "what is lent",
        mapped.lend_to(&ends.writes, page, page)?,
        page,
    )?;
    fail(context, &file)?;
    enter(&device, State::Prepared)?;
    refused(device.freeze(), Errno::EHWPOISON)?;
    same("the file", device.failure()?.token, READ)?;
    session.unpreserve_fd(READ)?;
    refused(session.preserve_fd(&ends.reads, READ), Errno::EHWPOISON)
}
