// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Writing: pages are taken first, when that can still fail; then they are filled.

use core::mem::{offset_of, size_of};

use luo_abi::bytes::copy;
use luo_abi::errno::Errno;
use luo_core::mem::Vec;
use luo_core::{BlockMemory, Digest};
use zerocopy::{Immutable, IntoBytes};

use crate::facts::{Facts, More, Strings, Time};
use crate::format::Format;
use crate::run::Run;
use luo_abi::memfd as wire;

/// The pages that a file leaves for the next kernel. Dropping it takes them back.
pub struct Written<B> {
    head: B,
    /// For [`Format::Mainline`] the pages of addresses, then those of records; else the
    /// pages of records.
    lists: Vec<B>,
    /// The head's words about the lists.
    main: wire::Main,
}

/// Pages that lists take: of addresses, and of records.
struct Wanted {
    chunks: usize,
    lists: usize,
}

impl Wanted {
    fn of(format: Format, records: u64) -> Self {
        let records = usize::try_from(records).unwrap_or(usize::MAX);
        match format {
            Format::Mainline => {
                let lists = records.div_ceil(wire::FOLIOS_PER_PAGE);
                Self {
                    chunks: lists.div_ceil(wire::CHUNK_ADDRESSES),
                    lists,
                }
            }
            Format::Runs | Format::Huge => Self {
                chunks: 0,
                lists: records.div_ceil(wire::RUNS_PER_PAGE),
            },
        }
    }

    fn pages(&self) -> usize {
        self.chunks.saturating_add(self.lists)
    }
}

/// How many records the lists have.
fn records(format: Format, runs: &[Run]) -> u64 {
    match format {
        Format::Mainline => runs
            .iter()
            .fold(0, |sum, run| sum.saturating_add(run.folios())),
        Format::Runs | Format::Huge => runs.len() as u64,
    }
}

impl<B: BlockMemory> Written<B> {
    /// One that has a page for the head only.
    #[must_use]
    pub const fn new(head: B) -> Self {
        Self {
            head,
            lists: Vec::new(),
            main: wire::Main {
                position: 0,
                size: 0,
                seals: 0,
                flags: 0,
                count: 0,
                first: 0,
                pages: 0,
                area_flags: 0,
                order: 0,
            },
        }
    }

    /// Where the next kernel finds it: the physical address of the head.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.head.address()
    }

    /// Takes the pages that are missing for some runs. The engine's lock must not be held.
    ///
    /// # Errors
    /// ENOMEM, or what `alloc` says. What was there stays as it was.
    pub fn make_room(
        &mut self,
        format: Format,
        runs: &[Run],
        mut alloc: impl FnMut() -> Result<B, Errno>,
    ) -> Result<(), Errno> {
        let wanted = Wanted::of(format, records(format, runs)).pages();
        let missing = wanted.saturating_sub(self.lists.len());
        if missing == 0 {
            return Ok(());
        }
        let mut more = Vec::with_capacity(wanted).map_err(|_| Errno::ENOMEM)?;
        if self.lists.is_empty() {
            for _ in 0..missing {
                more.push(alloc()?).map_err(|_| Errno::ENOMEM)?;
            }
            self.lists = more;
            return Ok(());
        }
        let mut new = Vec::with_capacity(missing).map_err(|_| Errno::ENOMEM)?;
        for _ in 0..missing {
            new.push(alloc()?).map_err(|_| Errno::ENOMEM)?;
        }
        let old = core::mem::take(&mut self.lists);
        for block in old.into_iter().chain(new) {
            // There is room for all of them.
            let _ = more.push(block);
        }
        self.lists = more;
        Ok(())
    }

    /// Writes everything. [`Self::make_room`] was called for these runs, which are at least
    /// those of the last time.
    pub fn write(&mut self, format: Format, facts: &Facts, strings: &Strings, runs: &[Run]) {
        let count = records(format, runs);
        let wanted = Wanted::of(format, count);
        let first = match format {
            Format::Mainline => self.write_folios(&wanted, runs),
            Format::Runs | Format::Huge => self.write_runs(&wanted, runs),
        };
        let has_lists = wanted.lists > 0;
        self.main = wire::Main {
            count,
            first,
            pages: u32::try_from(wanted.lists).unwrap_or(u32::MAX),
            area_flags: if has_lists { wire::AREA_ALLOC } else { 0 },
            ..self.main
        };
        self.write_facts(facts, strings);
    }

    /// Writes what is known of the file; the lists stay as they are.
    pub fn write_facts(&mut self, facts: &Facts, strings: &Strings) {
        let main = wire::Main {
            position: facts.position,
            size: facts.size,
            seals: facts.seals,
            flags: facts.huge,
            ..self.main
        };
        let head = self.head.bytes();
        put(head, 0, &main);
        if let Some(more) = &facts.more {
            put(head, wire::NAME_OFFSET, strings.name.words());
            put(head, wire::GROUP_OFFSET, strings.group.words());
            let required = if facts.huge > 0 {
                wire::REQUIRED_HUGE
            } else {
                0
            };
            put(
                head,
                wire::FACTS_OFFSET,
                &facts_of(&main, required, more, strings),
            );
        }
    }

    /// Writes mainline's lists; the address of the first page of them.
    fn write_folios(&mut self, wanted: &Wanted, runs: &[Run]) -> u64 {
        // Pages come zeroed, and records never become fewer: what is behind the last is zero.
        let mut folios = runs.iter().flat_map(folios_of);
        let lists = self.lists.iter_mut().skip(wanted.chunks);
        for block in lists.take(wanted.lists) {
            let page = block.bytes();
            let slots = page.chunks_exact_mut(size_of::<wire::FolioRecord>());
            // The slot is asked for first: at the end of a page no record is lost.
            for (slot, record) in slots.zip(&mut folios) {
                copy(slot, record.as_bytes());
            }
        }
        // From the last page of addresses to the first, which each have the one behind.
        let mut next = 0;
        for chunk in (0..wanted.chunks).rev() {
            let first = chunk.saturating_mul(wire::CHUNK_ADDRESSES);
            let end = first.saturating_add(wire::CHUNK_ADDRESSES);
            let mut at = size_of::<wire::ChunkHeader>();
            for list in first..end.min(wanted.lists) {
                let list = wanted.chunks.saturating_add(list);
                let address = self.lists.get(list).map_or(0, BlockMemory::address);
                if let Some(block) = self.lists.get_mut(chunk) {
                    put(block.bytes(), at, &address);
                }
                at = at.saturating_add(size_of::<u64>());
            }
            if let Some(block) = self.lists.get_mut(chunk) {
                put(block.bytes(), 0, &wire::ChunkHeader { next });
                next = block.address();
            }
        }
        next
    }

    /// Writes the pages of runs; the address of the first.
    fn write_runs(&mut self, wanted: &Wanted, runs: &[Run]) -> u64 {
        let mut next = 0;
        let pages = runs.chunks(wire::RUNS_PER_PAGE);
        for (runs, block) in pages.zip(&mut *self.lists).take(wanted.lists).rev() {
            let page = block.bytes();
            let mut header = wire::ListHeader {
                next,
                count: runs.len() as u64,
                reserved: 0,
                checksum: 0,
            };
            let mut digest = digest_of(&header);
            let mut at = size_of::<wire::ListHeader>();
            for run in runs {
                let record = record_of(run);
                digest.absorb_bytes(record.as_bytes());
                put(page, at, &record);
                at = at.saturating_add(size_of::<wire::RunRecord>());
            }
            header.checksum = digest.finish();
            put(page, 0, &header);
            next = block.address();
        }
        next
    }
}

impl<B> Written<B> {
    /// The head, and the pages of the lists.
    pub fn into_parts(self) -> (B, Vec<B>) {
        (self.head, self.lists)
    }
}

/// A digest that has absorbed what counts of a header.
pub(crate) fn digest_of(header: &wire::ListHeader) -> Digest {
    let mut digest = Digest::new();
    digest.absorb(header.next);
    digest.absorb(header.count);
    digest
}

/// The checksum of facts, which is over what mainline has of the file, too.
pub(crate) fn checksum(main: &wire::Main, facts: &wire::Facts, strings: &Strings) -> u64 {
    let mut digest = Digest::new();
    digest.absorb_bytes(main.as_bytes());
    let bytes = facts.as_bytes();
    let before = offset_of!(wire::Facts, checksum);
    digest.absorb_bytes(bytes.get(..before).unwrap_or_default());
    digest.absorb_bytes(strings.name.words());
    digest.absorb_bytes(strings.group.words());
    digest.finish()
}

fn facts_of(main: &wire::Main, required: u64, more: &More, strings: &Strings) -> wire::Facts {
    let times = &more.times;
    let mut facts = wire::Facts {
        magic: wire::FACTS_MAGIC,
        required,
        optional: 0,
        flags: more.flags,
        mode: more.mode,
        uid: more.uid,
        gid: more.gid,
        times: [times.access, times.modification, times.change, times.birth].map(words_of),
        name_length: strings.name.as_bytes().len() as u32,
        group_length: strings.group.as_bytes().len() as u32,
        checksum: 0,
    };
    facts.checksum = checksum(main, &facts, strings);
    facts
}

fn words_of(time: Time) -> [u64; 2] {
    [time.seconds as u64, time.nanoseconds.into()]
}

fn record_of(run: &Run) -> wire::RunRecord {
    wire::RunRecord {
        index: run.index,
        frame: run.frame,
        pages: u32::try_from(run.pages).unwrap_or(u32::MAX),
        order: run.order as u16,
        flags: if run.fresh { wire::RUN_FRESH } else { 0 },
    }
}

/// Mainline's records of a run. Each says that it was written to: the next kernel must not
/// drop it when memory is short.
fn folios_of(run: &Run) -> impl Iterator<Item = wire::FolioRecord> {
    let run = *run;
    let flags = if run.fresh {
        wire::FOLIO_DIRTY
    } else {
        wire::FOLIO_DIRTY | wire::FOLIO_UPTODATE
    };
    (0..run.folios()).map(move |at| {
        let pages = at.wrapping_mul(run.folio_pages());
        wire::FolioRecord {
            frame: run.frame.wrapping_add(pages) & wire::FOLIO_FRAME | flags,
            index: run.index.wrapping_add(pages),
        }
    })
}

/// Writes a structure at an offset of a page.
fn put<T: IntoBytes + Immutable + ?Sized>(page: &mut [u8], offset: usize, value: &T) {
    if let Some(to) = page.get_mut(offset..) {
        copy(to, value.as_bytes());
    }
}
