// SPDX-License-Identifier: MIT OR Apache-2.0
//! In which frames of memory the pages of a mapping lie, and what the kernel says of those. Only the
//! administrator is told.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result};
use luo_sys::MappedFile;

const PAGE: usize = 4096;

/// What an entry of `pagemap` says besides the frame's number.
const NUMBER: u64 = (1 << 55) - 1;

/// The first page of a large folio, and the others.
const HEAD: u64 = 1 << 15;
const TAIL: u64 = 1 << 16;

/// Words of a table that begins with the one of number 0.
fn words(path: &str, of: Range<usize>) -> Result<Vec<u64>> {
    let mut bytes = vec![0; of.len() * size_of::<u64>()];
    let at = of.start * size_of::<u64>();
    let table = File::open(path).context(path.to_owned())?;
    table
        .read_exact_at(&mut bytes, at as u64)
        .context(path.to_owned())?;
    let words = bytes.chunks_exact(size_of::<u64>());
    Ok(words
        .map(|word| {
            word.iter()
                .rfold(0, |sum, &byte| sum << 8 | u64::from(byte))
        })
        .collect())
}

/// The frames of pages of a mapping; 0 for one that is not there.
///
/// # Errors
/// The kernel does not tell.
pub(crate) fn of(memory: &MappedFile, pages: Range<usize>) -> Result<Vec<u64>> {
    let first = memory.address() / PAGE;
    let entries = words("/proc/self/pagemap", first + pages.start..first + pages.end)?;
    Ok(entries.into_iter().map(|entry| entry & NUMBER).collect())
}

/// Whether pages of a mapping are one large folio, or parts of one.
///
/// # Errors
/// The kernel does not tell.
pub(crate) fn are_one_folio(memory: &MappedFile, pages: Range<usize>) -> Result<bool> {
    // An entry is there only once the page has been touched.
    for page in pages.clone() {
        memory.load(page * PAGE)?;
    }
    for (at, frame) in of(memory, pages)?.into_iter().enumerate() {
        let frame = usize::try_from(frame)?;
        let flags = words("/proc/kpageflags", frame..frame + 1)?;
        let wanted = if at == 0 { HEAD } else { TAIL };
        if flags.first().is_none_or(|flags| flags & wanted == 0) {
            return Ok(false);
        }
    }
    Ok(true)
}
