// SPDX-License-Identifier: MIT OR Apache-2.0
//! Another program that has mapped the same memory, and writes to it when it is told to: as a
//! device's process of a VMM does.

use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use luo_sys::MappedFile;

use crate::patience::until;

const PAGE: usize = 4096;

/// Pages of the memory.
pub(crate) const PAGES: usize = 8;

/// Pages that it writes to: one that is there, and one that is a hole.
pub(crate) const WRITES: [usize; 2] = [1, 5];

/// Where the two talk: in the first page.
const SAYS: usize = 0;
const WRITE: u64 = 1;
const WRITTEN: u64 = 2;

/// What it writes into a page.
pub(crate) const fn mark(page: usize) -> u64 {
    !(page as u64)
}

/// Has the memory mapped.
pub(crate) fn map(file: &OwnedFd) -> Result<MappedFile> {
    MappedFile::new(file, PAGES * PAGE).context("mapping it")
}

/// The other program. It has said that it is ready when the memory is mapped, and ends when it has
/// written.
pub(crate) fn run(file: &OwnedFd, say_ready: impl FnOnce() -> Result<()>) -> Result<()> {
    let memory = map(file)?;
    say_ready()?;
    until("being told to write", || Ok(memory.load(SAYS)? == WRITE))?;
    for page in WRITES {
        memory.store(page * PAGE, mark(page))?;
    }
    Ok(memory.store(SAYS, WRITTEN)?)
}

/// Tells it to write, and waits until it has.
pub(crate) fn write(memory: &MappedFile) -> Result<()> {
    memory.store(SAYS, WRITE)?;
    until("what it writes", || Ok(memory.load(SAYS)? == WRITTEN))
}
