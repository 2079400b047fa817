// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pages of a handover, and the records in them.
//!
//! Everything is well-formed here; what is wrong with a kind is written by its
//! builder, on top.

use core::fmt::Write as _;

use anyhow::{Context, Result, bail};
use luo_abi::handover::{
    BlockHeader, COMPAT_LENGTH, COMPATIBLE, FileRecord, FlbHeader, FlbRecord, Root, SessionRecord,
};
use luo_abi::supplement;
use zerocopy::{Immutable, IntoBytes};

use crate::fill::Prng;
use crate::forge::{Entry, Forge, PAGE};

/// The handler that the kernel under test has for certain.
pub(super) const HANDLER: &str = "forge-v1";

/// What that handler left for the next kernel: `FORGE_COOKIE` of the driver.
pub(super) const HANDLER_DATA: u64 = 0x666f_7267_6576_3121;

/// How many FLBs the kernel's own test has, and the handle of the first, as
/// `lib/tests/liveupdate.c` expects them from the previous kernel.
pub(super) const TEST_FLBS: u64 = 3;
const TEST_FLB_DATA: u64 = 0xfeed_f00d_cafe_bee0;

/// Where the first record of a block, or of the FLB page, lies.
pub(super) const RECORDS: usize = size_of::<BlockHeader>();

/// How many pages are described for the next kernel.
const MOST_DESCRIBED: usize = 32;

/// Page 0, and the pages after it.
pub(super) struct Composer<'a> {
    forge: &'a Forge,
    pages: Vec<Page>,
    root_size: u64,
    /// The page of the supplement's root, and the size it claims to have.
    supplement: Option<(usize, u64)>,
}

struct Page {
    address: u64,
    bytes: [u8; PAGE],
}

impl<'a> Composer<'a> {
    /// Page 0 with an empty root.
    pub(super) fn new(forge: &'a Forge) -> Self {
        Self {
            forge,
            pages: Vec::new(),
            root_size: size_of::<Root>() as u64,
            supplement: None,
        }
    }

    /// A new page of zeros, and its physical address.
    pub(super) fn page(&mut self) -> Result<(usize, u64)> {
        let index = self.pages.len();
        let address = self.forge.address(index)?;
        self.pages.push(Page {
            address,
            bytes: [0; PAGE],
        });
        Ok((index, address))
    }

    /// The physical address of a page.
    pub(super) fn address(&self, page: usize) -> Result<u64> {
        Ok(self.pages.get(page).context("no such page")?.address)
    }

    /// Writes a structure into a page.
    pub(super) fn put(
        &mut self,
        page: usize,
        offset: usize,
        value: &(impl IntoBytes + Immutable),
    ) -> Result<()> {
        let bytes = value.as_bytes();
        let page = self.pages.get_mut(page).context("no such page")?;
        match page.bytes.get_mut(offset..offset + bytes.len()) {
            Some(place) => place.copy_from_slice(bytes),
            None => bail!("a structure at {offset} does not fit the page"),
        }
        Ok(())
    }

    /// The root, in page 0; call this first.
    pub(super) fn root(&mut self) -> Result<()> {
        self.page()?;
        self.put(0, 0, &root(0, 0))
    }

    /// Claims another size for the root than it has.
    pub(super) fn claim_root_size(&mut self, size: u64) {
        self.root_size = size;
    }

    /// The supplement's root, in a page of its own.
    pub(super) fn supplement(&mut self, root: &supplement::Root) -> Result<()> {
        let (page, _) = self.page()?;
        self.supplement = Some((page, size_of_val(root) as u64));
        self.put(page, 0, root)
    }

    /// Claims another size for the supplement's root than it has.
    pub(super) fn claim_supplement_size(&mut self, claimed: u64) {
        if let Some((_, size)) = &mut self.supplement {
            *size = claimed;
        }
    }

    /// Bytes of a page.
    pub(super) fn bytes(&self, page: usize, offset: usize, length: usize) -> Result<&[u8]> {
        let bytes = self
            .pages
            .get(page)
            .context("no such page")?
            .bytes
            .get(offset..);
        let bytes = bytes.and_then(|bytes| bytes.get(..length));
        bytes.context("they are beyond the page")
    }

    /// Points the root somewhere.
    pub(super) fn point(&mut self, sessions: u64, flbs: u64) -> Result<()> {
        self.put(0, 0, &root(sessions, flbs))
    }

    /// A block of records in a page of its own.
    pub(super) fn block<T: IntoBytes + Immutable>(
        &mut self,
        records: &[T],
    ) -> Result<(usize, u64)> {
        let (page, address) = self.page()?;
        self.put(page, 0, &header(0, records.len() as u64))?;
        for (index, record) in records.iter().enumerate() {
            self.put(page, RECORDS + index * size_of::<T>(), record)?;
        }
        Ok((page, address))
    }

    /// A root with one block of sessions; returns the block's page.
    pub(super) fn sessions(&mut self, records: &[SessionRecord]) -> Result<(usize, u64)> {
        let (page, address) = self.block(records)?;
        self.point(address, 0)?;
        Ok((page, address))
    }

    /// A root, one session `victim`, and one block with its files.
    pub(super) fn files(&mut self, records: &[FileRecord]) -> Result<()> {
        let (_, files) = self.block(records)?;
        self.sessions(&[session("victim", files, records.len() as u64)])?;
        Ok(())
    }

    /// A page with the FLBs that the kernel's own test attaches to every file
    /// handler, bound to `files` files. A kernel without that test ignores them.
    pub(super) fn test_flbs(&mut self, files: u64) -> Result<(usize, u64)> {
        let (page, address) = self.page()?;
        self.put(page, 0, &flb_header(TEST_FLBS))?;
        for index in 0..TEST_FLBS {
            let record = FlbRecord {
                name: field(&format!("liveupdate-test-flb-v{index}")),
                data: TEST_FLB_DATA + index,
                count: files,
            };
            let offset = RECORDS + index as usize * size_of::<FlbRecord>();
            self.put(page, offset, &record)?;
        }
        Ok((page, address))
    }

    /// The address of the sessions, which [`Self::files`] has made last.
    pub(super) fn sessions_at(&self) -> Result<u64> {
        Ok(self.pages.last().context("there is no page")?.address)
    }

    /// Fills the pages in the kernel, hands them over, and describes them for
    /// [`super::verdict`]: `address.checksum` in hexadecimal, joined by `-`.
    pub(super) fn commit(self) -> Result<String> {
        let mut text = String::new();
        for (index, page) in self.pages.iter().enumerate() {
            self.forge.fill(index, &page.bytes)?;
            // A command line has room for as many.
            if index >= MOST_DESCRIBED {
                continue;
            }
            let dash = if index == 0 { "" } else { "-" };
            write!(text, "{dash}{:x}.{:x}", page.address, checksum(&page.bytes))?;
        }
        self.forge.hand_over(Entry::Luo, 0, self.root_size)?;
        if let Some((page, size)) = self.supplement {
            self.forge.hand_over(Entry::Supplement, page, size)?;
        }
        Ok(text)
    }
}

/// Recognises a page's bytes.
pub(super) fn checksum(bytes: &[u8; PAGE]) -> u64 {
    bytes.chunks_exact(8).fold(0, |sum, chunk| {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        Prng::of(&[sum, u64::from_ne_bytes(word)]).next_u64()
    })
}

/// A well-formed root.
pub(super) fn root(sessions: u64, flbs: u64) -> Root {
    Root {
        compatible: COMPATIBLE,
        update_number: 1,
        sessions,
        flbs,
    }
}

/// A block's header.
pub(super) fn header(next: u64, count: u64) -> BlockHeader {
    BlockHeader { next, count }
}

/// A session's record.
pub(super) fn session(name: &str, files: u64, file_count: u64) -> SessionRecord {
    SessionRecord {
        name: field(name),
        files,
        file_count,
    }
}

/// The record of a file that [`HANDLER`] can restore.
pub(super) fn file(token: u64) -> FileRecord {
    FileRecord {
        compatible: field(HANDLER),
        data: HANDLER_DATA,
        token,
    }
}

/// The header of the FLB page.
pub(super) fn flb_header(count: u64) -> FlbHeader {
    FlbHeader { pages: 1, count }
}

/// An FLB's record.
pub(super) fn flb(name: [u8; COMPAT_LENGTH]) -> FlbRecord {
    FlbRecord {
        name,
        data: 1,
        count: 1,
    }
}

/// A name, zero-padded to its field; as much of it as fits.
pub(super) fn field<const N: usize>(name: &str) -> [u8; N] {
    let mut field = [0; N];
    for (to, from) in field.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_padded_or_cut() {
        assert_eq!(field::<4>("ab"), *b"ab\0\0");
        assert_eq!(field::<4>("abcdef"), *b"abcd");
    }

    #[test]
    fn checksums_tell_pages_apart() {
        let mut page = [0; PAGE];
        let empty = checksum(&page);
        page[4095] = 1;
        assert_ne!(checksum(&page), empty);
    }
}
