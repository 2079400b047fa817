// SPDX-License-Identifier: MIT OR Apache-2.0
//! `/dev/luo_forge`, the test driver, as a forge of handovers. What it does is
//! described in its source, `lib/tests/luo_forge_device.c`; that it also fails on
//! demand is in `luo-conformance`.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};

/// Bytes of a page of the handover.
pub(crate) const PAGE: usize = 4096;

const COMMIT: u64 = 1 << 20;
const MEMORY: u64 = 1 << 21;
/// The orders' common length.
const WORD: usize = 16;

/// What can be handed over, in the driver's words.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry {
    /// The orchestrator's root.
    Luo,
    /// The root of what goes beside it.
    Supplement,
}

impl Entry {
    const fn word(self) -> &'static str {
        match self {
            Self::Luo => "commit",
            Self::Supplement => "supplement",
        }
    }
}

/// An open forge.
pub(crate) struct Forge {
    file: File,
}

impl Forge {
    /// Opens the device.
    ///
    /// # Errors
    /// A skip if the kernel was built without it.
    pub(crate) fn open() -> Result<Self> {
        let file = luo_conformance::forge::open()?;
        Ok(Self { file })
    }

    /// The physical address of page `index`, which exists from now on.
    ///
    /// # Errors
    /// If the driver has no such page.
    pub(crate) fn address(&self, index: usize) -> Result<u64> {
        let mut address = [0; 8];
        self.file
            .read_exact_at(&mut address, index as u64 * 8)
            .with_context(|| format!("page {index} of the forge"))?;
        Ok(u64::from_ne_bytes(address))
    }

    /// Fills page `index`.
    ///
    /// # Errors
    /// If the driver has no such page.
    pub(crate) fn fill(&self, index: usize, bytes: &[u8; PAGE]) -> Result<()> {
        self.file
            .write_all_at(bytes, (index * PAGE) as u64)
            .with_context(|| format!("page {index} of the forge"))
    }

    /// Hands a page over as an entry that is `size` bytes long.
    ///
    /// # Errors
    /// If something has been handed over already.
    pub(crate) fn hand_over(&self, entry: Entry, page: usize, size: u64) -> Result<()> {
        self.order(entry.word(), [size, page as u64])
            .with_context(|| format!("committing the forged entry {entry:?}"))
    }

    /// Takes out of what is handed over the entries that the running orchestrator has made.
    /// Its own handover goes nowhere from now on.
    ///
    /// # Errors
    /// The driver is an older one.
    pub(crate) fn take_out_the_kernels(&self) -> Result<()> {
        self.order("take out", [0; 2])
            .context("taking out the kernel's entries")
    }

    fn order(&self, word: &str, numbers: [u64; 2]) -> Result<()> {
        let mut order = word.as_bytes().to_vec();
        order.resize(WORD, 0);
        order.extend(numbers.into_iter().flat_map(u64::to_ne_bytes));
        Ok(self.file.write_all_at(&order, COMMIT)?)
    }

    /// Reads a page of physical memory.
    ///
    /// # Errors
    /// If there is no memory at this address.
    pub(crate) fn memory(&self, address: u64) -> Result<[u8; PAGE]> {
        let mut page = [0; PAGE];
        self.file
            .read_exact_at(&mut page, MEMORY + address)
            .with_context(|| format!("physical address {address:#x}"))?;
        Ok(page)
    }
}
