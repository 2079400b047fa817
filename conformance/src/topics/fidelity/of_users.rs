// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files in a session of a user's, who takes them back: each is whose it was, with the rights that it
//! had. What lies beyond the end of a file is nobody's.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Device, Token, memfd};
use rustix::fs::{FallocateFlags, Mode};

use super::pages::PAGE;
use crate::case::Context;
use crate::check::{kept, name, same, seen};
use crate::user::{Delegated, USERS, as_user};

/// The user's own, and one of the administrator's that the user was given.
const OWN: Token = Token(1);
const GIVEN: Token = Token(2);

/// The session, as the user calls it.
const SESSION: &str = "of the users";

fn with_mode(mode: u32) -> Result<File> {
    let file = memfd::create("of users", PAGE)?;
    file.write_all_at(b"something", 0)?;
    rustix::fs::fchmod(&file, Mode::from_bits_retain(mode))?;
    Ok(file)
}

pub(super) fn leave(context: &mut Context<'_>) -> Result<()> {
    let _delegated = Delegated::new()?;
    let given = with_mode(0o600)?;
    let session = as_user(USERS[0], || {
        let session = Device::open()?.create_session(&name(SESSION))?;
        session.preserve_fd(with_mode(0o640)?, OWN)?;
        Ok(session)
    })?;
    session.preserve_fd(&given, GIVEN)?;
    context.hold(session);
    Ok(())
}

pub(super) fn arrived(_: &mut Context<'_>) -> Result<()> {
    let _delegated = Delegated::new()?;
    let is_as_it_was = |file: &File, user: u32, mode: u32| -> Result<()> {
        let seen = file.metadata()?;
        kept("the owner", seen.uid(), user)?;
        kept("the mode", seen.mode() & 0o7777, mode)?;
        let mut bytes = [0; 9];
        file.read_exact_at(&mut bytes, 0)?;
        same("what is in it", &bytes, b"something")
    };
    as_user(USERS[0], || {
        let session = Device::open()?.retrieve_session(&name(SESSION))?;
        let own = File::from(session.retrieve_fd(OWN)?);
        let given = File::from(session.retrieve_fd(GIVEN)?);
        session.finish()?;
        is_as_it_was(&own, USERS[0], 0o640)?;
        is_as_it_was(&given, 0, 0o600)?;
        // The descriptor is the user's, and no more: by its path it is opened as its mode has it.
        let path = format!("/proc/self/fd/{}", given.as_raw_fd());
        ensure!(File::open(path).is_err(), "the user can open it anew");
        Ok(())
    })
}

/// A file that is written whole, and has memory behind its end.
pub(super) fn leave_more(context: &mut Context<'_>) -> Result<()> {
    let file = memfd::create("beyond", PAGE)?;
    file.write_all_at(&[7; PAGE as usize], 0)?;
    rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 4 * PAGE)?;
    same("the blocks", file.metadata()?.blocks(), 4 * PAGE / 512)?;
    let session = super::session(&*context.device()?, context.own_name(), 0)?;
    session.preserve_fd(&file, OWN)?;
    context.hold(session);
    Ok(())
}

pub(super) fn is_no_more(context: &mut Context<'_>) -> Result<()> {
    let session = super::incoming(context.own_name())?;
    let file = File::from(session.retrieve_fd(OWN)?);
    session.finish()?;
    let kernel = context.implementation.is_kernel();
    seen(kernel, "the file is the same one").context("what is behind its end")?;
    same("the size", file.metadata()?.len(), PAGE)?;
    same("the blocks", file.metadata()?.blocks(), PAGE / 512)
}
