// SPDX-License-Identifier: MIT OR Apache-2.0
//! The times that nobody can set: of the last change of anything, and of when it was made. They are
//! noted in the file's memory, where a mapping writes without changing them once it has written there.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result};
use luo_sys::MappedFile;
use rustix::fs::MemfdFlags;

use super::pages::{PAGE, plain};
use crate::check::kept;

/// Where they are noted, in a page that is there.
const PLACE: usize = PAGE as usize;

pub(super) fn make() -> Result<File> {
    plain("stamps", MemfdFlags::ALLOW_SEALING)
}

/// Both times, as three numbers.
fn stamps(file: &File) -> Result<[u64; 3]> {
    let seen = file.metadata()?;
    let made = seen.created().context("when it was made")?;
    let made = made.duration_since(UNIX_EPOCH)?.as_nanos();
    Ok([
        u64::try_from(seen.ctime())?,
        u64::try_from(seen.ctime_nsec())?,
        u64::try_from(made)?,
    ])
}

pub(super) fn change(file: &File) -> Result<()> {
    let memory = MappedFile::new(file, 4 * PAGE as usize)?;
    // The first time that a mapping writes to a page changes them.
    memory.store(PLACE, 0)?;
    let noted = stamps(file)?;
    memory.copy_in(PLACE, &noted)?;
    crate::check::same("the times", stamps(file)?, noted)
}

pub(super) fn look(file: &File) -> Result<()> {
    // Before anything is done with it.
    let seen = stamps(file)?;
    let memory = MappedFile::new(file, 4 * PAGE as usize)?;
    let mut noted = [0; 3];
    memory.copy_out(PLACE, &mut noted)?;
    kept("the times", seen, noted)
}
