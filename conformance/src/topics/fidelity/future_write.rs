// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sealed against writers to come (`F_SEAL_FUTURE_WRITE`): who had it mapped before goes on writing,
//! while it is preserved, too, and nobody else can.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use luo_sys::memfd::{self, Seals};
use luo_sys::{Errno, MappedFile};

use crate::check::{refused, refused_file, same};

const PAGE: u64 = 4096;
const LENGTH: usize = 4 * PAGE as usize;

/// Pages that are written to while it is preserved: one that is there, and one that is not.
const WRITTEN: [usize; 2] = [1, 3];

/// What was mapped before.
static MAPPED: Mutex<Option<MappedFile>> = Mutex::new(None);

pub(super) fn make() -> Result<File> {
    let file = memfd::create("future", LENGTH as u64)?;
    file.write_all_at(b"something", PAGE)?;
    let mapped = MappedFile::new(&file, LENGTH)?;
    memfd::add_seals(&file, Seals::FUTURE_WRITE)?;
    *MAPPED.lock().unwrap_or_else(PoisonError::into_inner) = Some(mapped);
    Ok(file)
}

pub(super) fn change(_: &File) -> Result<()> {
    let mapped = MAPPED.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mapped = mapped.context("what was mapped")?;
    for page in WRITTEN {
        mapped.store(page * PAGE as usize, !page as u64)?;
    }
    Ok(())
}

pub(super) fn look(file: &File) -> Result<()> {
    for page in WRITTEN {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, page as u64 * PAGE)?;
        same("a page", u64::from_ne_bytes(bytes), !page as u64)?;
    }
    same("the seals", memfd::seals(file)?, Seals::FUTURE_WRITE)?;
    refused_file(file.write_all_at(b"x", 0), Errno::EPERM).context("a write")?;
    refused(MappedFile::new(file, LENGTH), Errno::EPERM).context("a mapping")?;
    ensure!(file.set_len(PAGE).is_ok(), "its size is sealed, too");
    Ok(())
}
