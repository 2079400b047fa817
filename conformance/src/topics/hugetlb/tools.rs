// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files of huge pages, and what the pool of the machine says.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result};
use luo_sys::MappedFile;
use rustix::fs::{FallocateFlags, MemfdFlags};

use crate::case::Context;
use crate::check::{same, skip};

/// Bytes of a page.
pub(super) const HUGE: u64 = 2 << 20;

/// How many pages the pool has, or is to have.
pub(super) const POOL: &str = "/proc/sys/vm/nr_hugepages";

/// Why that is not tried everywhere.
const NONE: &str = "this machine has no huge pages to spare";

/// A memfd of so many huge pages, all of them holes.
pub(super) fn huge(name: &str, pages: u64) -> Result<File> {
    let flags = MemfdFlags::HUGETLB
        | MemfdFlags::HUGE_2MB
        | MemfdFlags::ALLOW_SEALING
        | MemfdFlags::CLOEXEC;
    let file = match rustix::fs::memfd_create(name, flags) {
        Ok(file) => File::from(file),
        Err(why) => return Err(skip(format!("{NONE} ({why})"))),
    };
    file.set_len(pages * HUGE)?;
    Ok(file)
}

/// Sees to it that there are so many free pages, which nobody has reserved. The pool of a
/// machine that is not there for these tests stays as it is.
pub(super) fn provide(context: &Context<'_>, pages: u64) -> Result<()> {
    if !context.implementation.is_kernel() {
        let probe = huge("probe", pages)?;
        let got = rustix::fs::fallocate(&probe, FallocateFlags::empty(), 0, pages * HUGE);
        return got.map_err(|why| skip(format!("{NONE} ({why})")));
    }
    let now = Pool::read()?;
    let free = now.free - now.reserved;
    if free < pages {
        // Pages that are too many are made ordinary ones first.
        resize(now.total + pages - free)?;
    }
    Ok(())
}

/// Gives the machine's pool a size.
pub(super) fn resize(pages: u64) -> Result<()> {
    fs::write(POOL, pages.to_string()).context(POOL)?;
    let now = Pool::read()?;
    same("the pages of the pool", now.total - now.surplus, pages)
}

/// What a page has at one of those places.
const fn mark(at: u64, page: u64) -> u64 {
    at ^ (page + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Where something is written to a page.
const MARKS: [u64; 3] = [0, HUGE / 2, HUGE - 8];

/// Writes to pages of a file, by a mapping that reserves all pages up to the last of them.
pub(super) fn fill(file: &File, pages: &[u64]) -> Result<()> {
    let Some(last) = pages.iter().max() else {
        return Ok(());
    };
    let length = usize::try_from((last + 1) * HUGE)?;
    let mapped = MappedFile::new(file, length).context("mapping it")?;
    for &page in pages {
        for at in MARKS {
            mapped.store(usize::try_from(page * HUGE + at)?, mark(at, page))?;
        }
    }
    Ok(())
}

/// Asserts that a file has what [`fill`] writes to these pages, and nothing else.
pub(super) fn is_filled(file: &File, pages: &[u64]) -> Result<()> {
    let all = file.metadata()?.len() / HUGE;
    for page in 0..all {
        for at in MARKS {
            let mut bytes = [0; 8];
            file.read_exact_at(&mut bytes, page * HUGE + at)?;
            let expected = if pages.contains(&page) {
                mark(at, page)
            } else {
                0
            };
            let seen = u64::from_ne_bytes(bytes);
            same(&format!("page {page} at {at}"), seen, expected)?;
        }
    }
    Ok(())
}

/// What the pool says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pool {
    pub(super) total: u64,
    pub(super) free: u64,
    pub(super) reserved: u64,
    pub(super) surplus: u64,
}

impl Pool {
    /// Pages that somebody has.
    pub(super) const fn used(self) -> u64 {
        self.total - self.free
    }

    /// What the pool of the kernel says. The simulator's programs share the pool of the machine
    /// with whoever else is there: of that, nothing can be said.
    pub(super) fn look(context: &Context<'_>) -> Result<Option<Self>> {
        let is_own = context.implementation.is_kernel();
        is_own.then(Self::read).transpose()
    }

    /// Asserts that so many pages more are in use than somebody has seen before.
    pub(super) fn has_lent(context: &Context<'_>, before: Option<Self>, more: u64) -> Result<()> {
        let now = Self::look(context)?.map(Self::used);
        let expected = before.map(|before| before.used() + more);
        same("what is in use", now, expected)
    }

    pub(super) fn read() -> Result<Self> {
        let folder = "/sys/kernel/mm/hugepages/hugepages-2048kB";
        let number = |name: &str| -> Result<u64> {
            let path = format!("{folder}/{name}");
            let text = fs::read_to_string(&path).context(path)?;
            Ok(text.trim().parse()?)
        };
        Ok(Self {
            total: number("nr_hugepages")?,
            free: number("free_hugepages")?,
            reserved: number("resv_hugepages")?,
            surplus: number("surplus_hugepages")?,
        })
    }
}
