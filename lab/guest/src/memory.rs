// SPDX-License-Identifier: MIT OR Apache-2.0
//! How much of the machine's memory is in use, and where a file's pages lie in it.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use anyhow::{Context as _, Result, ensure};
use luo_sys::MappedFile;

/// Bytes of a page.
const PAGE: u64 = 4096;

/// Bytes that are in use once the kernel has dropped what it can read or make again.
///
/// What lies in a processor's list of free pages counts as free: those lists grow and
/// shrink by megabytes.
///
/// # Errors
/// The kernel does not tell.
pub(crate) fn in_use() -> Result<u64> {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").context("drop_caches")?;
    let zones = fs::read_to_string("/proc/zoneinfo").context("zoneinfo")?;
    pages_in_use(&zones)
        .map(|pages| pages * PAGE)
        .context("/proc/zoneinfo is not as expected")
}

/// Pages that are present and not free, over all zones.
fn pages_in_use(zones: &str) -> Option<u64> {
    let sum = |name: &str| -> Option<u64> {
        let numbers = zones.lines().filter_map(|line| {
            let mut words = line.trim().strip_prefix(name)?.split_whitespace();
            words.next()?.parse::<u64>().ok()
        });
        numbers.reduce(u64::saturating_add)
    };
    let free = sum("pages free ")?.checked_add(sum("count:")?)?;
    sum("present ")?.checked_sub(free)
}

/// The frames of memory in which some of a memfd's pages lie. Holes among the pages are filled.
///
/// # Errors
/// The file cannot be mapped, or a page is not there.
pub(crate) fn frames(file: &File, pages: Range<u64>) -> Result<Vec<u64>> {
    /// What an entry of `pagemap` says besides the frame's number.
    const NUMBER: u64 = (1 << 55) - 1;
    const PRESENT: u64 = 1 << 63;
    let map = MappedFile::new(file, usize::try_from(pages.end * PAGE)?)?;
    for page in pages.clone() {
        // An entry is there only once the page has been touched.
        map.load(usize::try_from(page * PAGE)?)?;
    }
    let inode = file.metadata()?.ino().to_string();
    let maps = fs::read_to_string("/proc/self/maps")?;
    let line = maps.lines().find(|line| {
        line.contains("memfd:") && line.split_whitespace().nth(4) == Some(inode.as_str())
    });
    let start = line.and_then(|line| line.split('-').next());
    let start = u64::from_str_radix(start.context("the mapping is not listed")?, 16)?;
    let mut entries = vec![0; usize::try_from((pages.end - pages.start) * 8)?];
    let table = File::open("/proc/self/pagemap")?;
    table.read_exact_at(&mut entries, (start / PAGE + pages.start) * 8)?;
    let mut frames = Vec::new();
    for entry in entries.chunks_exact(8) {
        let entry = u64::from_le_bytes(entry.try_into()?);
        ensure!(entry & PRESENT != 0, "a page is not there");
        frames.push(entry & NUMBER);
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_pages_are_in_zones_and_in_lists_of_processors() {
        let zones = "Node 0, zone      DMA\n  per-node stats\n      nr_inactive_anon 12\n\
            \x20 pages free     100\n        boost    0\n        present  998\n\
            \x20       managed  500\n      nr_free_pages 100\n  pagesets\n\
            \x20   cpu: 0\n              count:    7\n              high:     28\n\
            Node 0, zone    DMA32\n  pages free     10\n        present  90\n";
        assert_eq!(pages_in_use(zones), Some(998 + 90 - 100 - 10 - 7));
        assert_eq!(pages_in_use("pages free 1"), None);
    }
}
