// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who keeps a session alive, and what its end undoes.

use std::fs::File;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use luo_sys::{Errno, Token};

use super::Case;
use crate::check::{device, name, refused, same};
use crate::fill::{self, Prng};
use crate::scenario::HOLD;

/// See the names.
pub(super) const CASES: &[Case] = &[
    ("close-unpreserves", close_unpreserves),
    ("duplicate-keeps-the-session", duplicate),
    ("child-keeps-the-session", child),
    ("kexec-without-an-image-changes-nothing", no_image),
];

fn memory() -> Result<File> {
    fill::memfd("lifetime", 8192, Prng::of(&[1]))
}

fn close_unpreserves() -> Result<()> {
    let (device, memory) = (device()?, memory()?);
    for round in 0..3 {
        let session = device.create_session(&name("close"))?;
        session.preserve_fd(&memory, Token(round))?;
        drop(session);
        fill::verify(&memory, 8192, Prng::of(&[1]))?;
        memory.set_len(1 << 16).context("enlarging")?;
        memory.set_len(8192).context("truncating")?;
    }
    Ok(())
}

fn duplicate() -> Result<()> {
    let (device, memory) = (device()?, memory()?);
    let session = device.create_session(&name("duplicate"))?;
    session.preserve_fd(&memory, Token(1))?;
    let duplicate = session.try_clone()?;
    drop(session);
    refused(device.create_session(&name("duplicate")), Errno::EEXIST)?;
    refused(duplicate.preserve_fd(&memory, Token(2)), Errno::EBUSY)?;
    drop(duplicate);
    device
        .create_session(&name("duplicate"))?
        .preserve_fd(&memory, Token(1))?;
    Ok(())
}

fn child() -> Result<()> {
    let (device, memory) = (device()?, memory()?);
    let session = device.create_session(&name("child"))?;
    session.preserve_fd(&memory, Token(1))?;
    let mut child = Command::new("/proc/self/exe")
        .arg(HOLD)
        .stdin(Stdio::from(session.into_fd()))
        .spawn()
        .context("/proc/self/exe")?;
    let held = refused(device.create_session(&name("child")), Errno::EEXIST);
    child.kill()?;
    child.wait()?;
    held?;
    device
        .create_session(&name("child"))?
        .preserve_fd(&memory, Token(1))?;
    Ok(())
}

fn no_image() -> Result<()> {
    let (device, memory) = (device()?, memory()?);
    let session = device.create_session(&name("no-image"))?;
    session.preserve_fd(&memory, Token(1))?;
    luo_sys::kexec::unload()?;
    let error = luo_sys::kexec::execute();
    same("the error", error.errno(), Errno::EINVAL)?;
    same("the name", session.name()?, name("no-image"))?;
    session.preserve_fd(fill::memfd("more", 4096, Prng::of(&[2]))?, Token(2))?;
    device.create_session(&name("no-image-2"))?;
    drop(session);
    memory.set_len(0).context("it is still preserved")
}
