// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The pages with the records of a file, in either format.

use core::mem::size_of;

use luo_abi::memfd as wire;
use luo_core::HandedMemory as _;
use zerocopy::{FromZeros as _, IntoBytes};

use crate::damage::{Damage, Unread};
use crate::format::Format;
use crate::run::Run;
use crate::source::{page, record, Source};
use crate::write::digest_of;

/// Where the records are.
pub(crate) struct Lists {
    format: Format,
    first: u64,
    count: u64,
    pages: u64,
}

impl Lists {
    /// Where those of a file with so many pages are.
    pub(crate) fn of(format: Format, main: &wire::Main, of_file: u64) -> Result<Self, Unread> {
        // No two records are at one place of the file. Mainline reads some of nothing, too.
        let most = match format {
            Format::Mainline => of_file.saturating_add(MOST_EMPTY.into()),
            Format::Runs | Format::Huge => of_file,
        };
        let per_page = match format {
            Format::Mainline => wire::FOLIOS_PER_PAGE,
            Format::Runs | Format::Huge => wire::RUNS_PER_PAGE,
        };
        let count = main.count;
        let pages = count.div_ceil(per_page as u64);
        let is_plain = count == 0 || (main.area_flags == wire::AREA_ALLOC && main.order == 0);
        // Without records the rest is nobody's business: mainline leaves it as it was.
        let are_as_many = count == 0 || pages == u64::from(main.pages);
        if count > most || !is_plain || !are_as_many {
            return Err(Damage::Count(count).into());
        }
        Ok(Self {
            format,
            first: main.first,
            count,
            pages,
        })
    }

    /// Pages of the lists at most.
    pub(crate) fn pages(&self) -> usize {
        let pages = usize::try_from(self.pages).unwrap_or(usize::MAX);
        pages.saturating_add(pages.div_ceil(wire::CHUNK_ADDRESSES))
    }

    /// Goes through all pages and all records on them.
    pub(crate) fn each<S: Source>(
        &self,
        source: &S,
        mut on_page: impl FnMut(u64) -> Result<(), Unread>,
        mut on_run: impl FnMut(Run) -> Result<(), Unread>,
    ) -> Result<(), Unread> {
        match self.format {
            Format::Mainline => self.each_folio(source, &mut on_page, &mut on_run),
            Format::Runs | Format::Huge => self.each_run(source, &mut on_page, &mut on_run),
        }
    }

    fn each_folio<S: Source>(
        &self,
        source: &S,
        on_page: &mut impl FnMut(u64) -> Result<(), Unread>,
        on_run: &mut impl FnMut(Run) -> Result<(), Unread>,
    ) -> Result<(), Unread> {
        let mut chunk_address = self.first;
        let mut left = self.count;
        let mut at = 0;
        let mut empty = MOST_EMPTY;
        while left > 0 {
            let chunk = page(source, chunk_address)?;
            on_page(chunk_address)?;
            for place in 0..wire::CHUNK_ADDRESSES {
                if left == 0 {
                    break;
                }
                let offset = place.saturating_add(1).saturating_mul(size_of::<u64>());
                let address: u64 = record(&chunk, offset).ok_or(Damage::Count(self.count))?;
                let list = page(source, address)?;
                on_page(address)?;
                // Some at once: each copy costs.
                let mut some = [wire::FolioRecord::new_zeroed(); SOME];
                for slot in 0..wire::FOLIOS_PER_PAGE {
                    if left == 0 {
                        break;
                    }
                    if slot % SOME == 0 {
                        let offset = slot.saturating_mul(size_of::<wire::FolioRecord>());
                        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(SOME);
                        let to = some.get_mut(..wanted).map(<[_]>::as_mut_bytes);
                        if !to.is_some_and(|to| list.copy(offset, to)) {
                            return Err(Damage::Record(at).into());
                        }
                    }
                    let found = *some.get(slot % SOME).ok_or(Damage::Record(at))?;
                    // Mainline's own reader passes over these.
                    if is_nothing(&found) {
                        empty = empty.checked_sub(1).ok_or(Damage::Count(self.count))?;
                    } else {
                        on_run(run_of_folio(source, &found).ok_or(Damage::Record(at))?)?;
                    }
                    left = left.saturating_sub(1);
                    at = at.saturating_add(1);
                }
            }
            chunk_address = record(&chunk, 0).ok_or(Damage::Count(self.count))?;
        }
        Ok(())
    }

    fn each_run<S: Source>(
        &self,
        source: &S,
        on_page: &mut impl FnMut(u64) -> Result<(), Unread>,
        on_run: &mut impl FnMut(Run) -> Result<(), Unread>,
    ) -> Result<(), Unread> {
        let mut address = self.first;
        let mut left = self.count;
        while left > 0 {
            let list = page(source, address)?;
            on_page(address)?;
            let header: wire::ListHeader = record(&list, 0).ok_or(Damage::Count(self.count))?;
            // All pages but the last are full.
            let count = header.count;
            if count != left.min(wire::RUNS_PER_PAGE as u64) {
                return Err(Damage::Count(self.count).into());
            }
            let mut digest = digest_of(&header);
            let first = self.count.saturating_sub(left);
            let mut offset = size_of::<wire::ListHeader>();
            // Runs are added before all of them are known to be sound: nothing is done
            // with it unless all of all pages is.
            for of in 0..count {
                let at = first.saturating_add(of);
                let found: wire::RunRecord = record(&list, offset).ok_or(Damage::Record(at))?;
                digest.absorb_bytes(found.as_bytes());
                on_run(run_of(&found).ok_or(Damage::Record(at))?)?;
                offset = offset.saturating_add(size_of::<wire::RunRecord>());
            }
            if digest.finish() != header.checksum {
                return Err(Damage::Checksum(address).into());
            }
            left = left.saturating_sub(count);
            address = header.next;
        }
        Ok(())
    }
}

/// Records of nothing in a list, at most. Mainline reads them and writes none, and they take no
/// memory: without an end to them, a page that leads back to itself has any number.
const MOST_EMPTY: u32 = 65_536;

/// Records that are read at once.
const SOME: usize = 8;

fn is_nothing(found: &wire::FolioRecord) -> bool {
    found.frame & wire::FOLIO_FRAME == 0
}

fn run_of_folio<S: Source>(source: &S, found: &wire::FolioRecord) -> Option<Run> {
    let frame = found.frame & wire::FOLIO_FRAME;
    let flags = found.frame & !wire::FOLIO_FRAME;
    if flags & !(wire::FOLIO_DIRTY | wire::FOLIO_UPTODATE) != 0 {
        return None;
    }
    let order = source.order(frame)?;
    Some(Run {
        index: found.index,
        frame,
        pages: 1u64.checked_shl(order)?,
        order,
        fresh: flags & wire::FOLIO_UPTODATE == 0,
    })
}

fn run_of(found: &wire::RunRecord) -> Option<Run> {
    if found.flags & !wire::RUN_FRESH != 0 {
        return None;
    }
    Some(Run {
        index: found.index,
        frame: found.frame,
        pages: found.pages.into(),
        order: found.order.into(),
        fresh: found.flags & wire::RUN_FRESH != 0,
    })
}
