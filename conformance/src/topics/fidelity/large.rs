// SPDX-License-Identifier: MIT OR Apache-2.0
//! Large folios stay large, and single pages that lie where a large folio can be come back as one.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result, ensure};
use luo_sys::MappedFile;

use super::joined::{self, LENGTH, single_pages};
use crate::check::{kept, same, skip};
use crate::frames;

const PAGE: usize = 4096;

/// Pages of a large folio.
const LARGE: usize = 512;

/// What has large folios split in two and more.
const SPLIT: &str = "/sys/kernel/debug/split_huge_pages";

fn mapped(file: &File) -> Result<MappedFile> {
    Ok(MappedFile::new(file, usize::try_from(LENGTH)?)?)
}

/// A file of large folios.
fn large(name: &str) -> Result<File> {
    if !joined::is_allowed() {
        return Err(skip(
            "whether memory is joined is the machine's business here",
        ));
    }
    let file = single_pages(name)?;
    let memory = mapped(&file)?;
    memory.collapse().context("pages cannot be joined")?;
    same("whether it is large", are_large(&memory)?, true)?;
    Ok(file)
}

/// Whether all of it is of large folios.
fn are_large(memory: &MappedFile) -> Result<bool> {
    for first in (0..memory.len() / PAGE).step_by(LARGE) {
        if !frames::are_one_folio(memory, first..first + LARGE)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Each page has its number still.
fn is_whole(file: &File) -> Result<()> {
    for page in 0..LENGTH / PAGE as u64 {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, page * PAGE as u64)?;
        same("what a page has", u64::from_ne_bytes(bytes), page)?;
    }
    Ok(())
}

pub(super) mod folios {
    use super::*;

    pub(in super::super) fn make() -> Result<File> {
        large("large")
    }

    pub(in super::super) use super::super::pages::unchanged as change;

    pub(in super::super) fn look(file: &File) -> Result<()> {
        is_whole(file)?;
        kept("whether it is large", are_large(&mapped(file)?)?, true)
    }
}

/// Pages that were one large folio lie as one can lie.
pub(super) mod lying_so {
    use super::*;

    pub(in super::super) fn make() -> Result<File> {
        let file = large("split")?;
        let memory = mapped(&file)?;
        are_large(&memory)?;
        let (own, start) = (std::process::id(), memory.address());
        let end = start + memory.len();
        fs::write(SPLIT, format!("{own},{start:#x},{end:#x}")).context(SPLIT)?;
        ensure!(!are_large(&memory)?, "nothing was split");
        Ok(file)
    }

    /// Those in the scratch area of Kexec HandOver have been moved, each alone.
    pub(in super::super) fn change(file: &File) -> Result<()> {
        let memory = mapped(file)?;
        are_large(&memory)?;
        for first in (0..memory.len() / PAGE).step_by(LARGE) {
            for page in first..first + LARGE {
                memory.load(page * PAGE)?;
            }
            let frames = frames::of(&memory, first..first + LARGE)?;
            if frames.windows(2).any(|pair| pair[0] + 1 != pair[1]) {
                return Err(skip("its pages have been moved"));
            }
        }
        Ok(())
    }

    pub(in super::super) fn look(file: &File) -> Result<()> {
        is_whole(file)?;
        kept("whether it is large", are_large(&mapped(file)?)?, true)
    }
}
