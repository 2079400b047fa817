// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which pages of a file are in memory.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use crate::error::{Error, Result};

/// Pages of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// Those that are in memory.
    pub present: u64,
    /// Those that have been, and are swapped out.
    pub evicted: u64,
}

/// `struct cachestat_range` of `linux/mman.h`: length 0 means up to the end.
#[repr(C)]
#[derive(Default)]
struct Range {
    offset: u64,
    length: u64,
}

/// `struct cachestat`.
#[repr(C)]
#[derive(Default)]
struct Stat {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// The number of cachestat(2), one for all architectures of Linux.
const CACHESTAT: libc::c_long = 451;

/// Counts a file's pages. From Linux 6.5 on.
///
/// # Errors
/// EOPNOTSUPP: a file of huge pages. EPERM: not the caller's file. ENOSYS.
pub fn pages(file: impl AsFd) -> Result<Pages> {
    count(file.as_fd(), Range::default())
}

/// Whether the page that has a byte of a file is in memory.
///
/// # Errors
/// As [`pages`].
pub fn is_present(file: impl AsFd, offset: u64) -> Result<bool> {
    let range = Range { offset, length: 1 };
    count(file.as_fd(), range).map(|pages| pages.present != 0)
}

fn count(file: BorrowedFd<'_>, range: Range) -> Result<Pages> {
    let mut stat = Stat::default();
    // SAFETY: cachestat reads a range and writes a stat; both are of the layout that the
    // kernel's header gives them, live until the call returns, and the stat is borrowed by
    // nobody else.
    let done = unsafe {
        libc::syscall(
            CACHESTAT,
            file.as_raw_fd(),
            &raw const range,
            &raw mut stat,
            0,
        )
    };
    if done != 0 {
        return Err(Error::last("cachestat"));
    }
    Ok(Pages {
        present: stat.cached,
        evicted: stat.evicted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt as _;

    #[test]
    fn pages_that_are_there_are_counted() {
        let page = rustix::param::page_size() as u64;
        let file = crate::memfd::create("test", 9 * page).unwrap();
        for number in [0, 4, 5] {
            file.write_all_at(&[1], number * page).unwrap();
        }
        let expected = Pages {
            present: 3,
            evicted: 0,
        };
        assert_eq!(pages(&file).unwrap(), expected);
        let present = |number: u64| is_present(&file, number * page + page / 2).unwrap();
        let there: Vec<_> = (0..9).filter(|&number| present(number)).collect();
        assert_eq!(there, [0, 4, 5]);
    }
}
