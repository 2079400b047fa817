// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory of preserved files that has failed: nobody is given it as good.
//!
//! The kernel is told that it has failed, which costs the machine that memory until it boots anew.
//! So that is done in machines for tests alone, which have the driver.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;

use anyhow::{Result, ensure};
use luo_sys::{Cause, Errno, State, Token, memfd};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::process::Signal;

use super::tools::{enter, session};
use crate::case::{Case, Context, here};
use crate::check::{device, refused, same, seen, skip};
use crate::child::{Child, Role};
use crate::difference::{Differs, Expect, accepts, simulated};
use crate::forge;

const PAGE: u64 = 4096;

pub(super) const CASES: &[Case] = &[
    here("a-memfds-is-refused-until-it-is-punched-out", punched_out).but(DIFFERS),
    here("a-preserved-memfds-fails-the-freeze", fails_the_freeze).but(DIFFERS),
];

const DIFFERS: &[Differs] = &[
    accepts("mainline does not look whether a page has failed"),
    simulated(Expect::Unseen(
        "the memory is that of the machine, which goes on afterwards",
    )),
];

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
    let (own, other) = (session(&device, "fails", 0)?, session(&device, "sound", 1)?);
    let file = written()?;
    own.preserve_fd(&file, Token(2))?;
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
    same("the file", failure.token, Token(2))?;
    own.unpreserve_fd(Token(2))?;
    // All others go.
    enter(&device, State::Frozen)?;
    device.cancel()?;
    punch_out(&file)?;
    own.preserve_fd(&file, Token(2))?;
    let mut bytes = [0; PAGE as usize];
    file.read_exact_at(&mut bytes, 0)?;
    ensure!(bytes == [7; PAGE as usize], "its first page is another");
    drop(other);
    Ok(())
}
