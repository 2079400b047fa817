// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Reading what the previous kernel left, with distrust: nothing is given away before all
//! of it has been looked at.

use core::fmt;
use core::mem::size_of;

use luo_abi::handover::BLOCK_SIZE;
use luo_core::mem::{OutOfMemory, Vec};
use luo_core::{HandedMemory, PageError};
use zerocopy::{FromBytes, FromZeros as _, IntoBytes};

use crate::facts::{Facts, More, Short, Strings, Time, Times};
use crate::run::{Run, MOST_PAGES};
use crate::write::{checksum, digest_of};
use crate::Format;
use luo_abi::memfd as wire;

/// Where the pages of the previous kernel are.
pub trait Source {
    /// A page that can be read.
    type Page: HandedMemory;

    /// The page at a physical address, which is untrusted.
    ///
    /// # Errors
    /// [`PageError`] if the previous kernel has kept none there.
    fn page(&self, address: u64) -> Result<Self::Page, PageError>;

    /// The order of what the previous kernel has kept under one key, which begins at a page
    /// frame; `None` if nothing does.
    fn order(&self, frame: u64) -> Option<u32>;

    /// Whether the previous kernel has kept all pages of a run, `step` by `step` as it
    /// keeps pages that follow each other, and nobody has got them yet.
    fn keeps(&self, run: &Run, step: u64) -> bool;
}

/// What a file has left.
pub struct Found {
    /// What is known of it.
    pub facts: Facts,
    /// Its pages, in the order of the file; no two at one place of the file.
    pub runs: Vec<Run>,
    /// Physical addresses of the pages that said so. They are to be given to the allocator
    /// when everything has been taken over.
    pub pages: Vec<u64>,
}

/// Why it could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Memory is short: it can be read later.
    NoMemory,
    /// Features are required that this kernel does not know, a bit each.
    Unknown(u64),
    /// It is damaged.
    Damaged(Damage),
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// There is no page where one is said to be.
    Page {
        /// The address.
        address: u64,
        /// What is wrong with it.
        why: PageError,
    },
    /// A checksum is wrong: on the page at this address.
    Checksum(u64),
    /// Facts have another mark, or a length that they cannot have.
    Facts,
    /// There cannot be so many records on so many pages.
    Count(u64),
    /// The file cannot be as large as that, in bytes.
    Size(u64),
    /// The record of this number is not one of pages that the file can have, or that the
    /// previous kernel has kept.
    Record(u64),
}

impl From<OutOfMemory> for Unread {
    fn from(_: OutOfMemory) -> Self {
        Self::NoMemory
    }
}

impl From<Damage> for Unread {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemory => f.write_str("memory is short"),
            Self::Unknown(features) => {
                write!(
                    f,
                    "it needs features that this kernel does not know: {features:#x}"
                )
            }
            Self::Damaged(damage) => damage.fmt(f),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page { address, why } => {
                let why = match why {
                    PageError::Unaligned => "is not the start of a page",
                    PageError::NotPreserved => "was not preserved",
                };
                write!(f, "{address:#x} {why}")
            }
            Self::Checksum(address) => write!(f, "wrong checksum of page {address:#x}"),
            Self::Facts => f.write_str("what is known of the file is garbled"),
            Self::Count(count) => write!(f, "there cannot be {count} records on its pages"),
            Self::Size(size) => write!(f, "it cannot have {size} bytes"),
            Self::Record(at) => write!(
                f,
                "record {at} is not one of pages that the file can have and that were preserved"
            ),
        }
    }
}

/// Reads what a file has left, from the address of its head. The strings are those of
/// [`Facts::more`].
///
/// # Errors
/// [`Unread`]. Nothing is changed.
pub fn read<S: Source>(
    source: &S,
    format: Format,
    address: u64,
    strings: &mut Strings,
) -> Result<Found, Unread> {
    let head = page(source, address)?;
    let main: wire::Main = record(&head, 0).ok_or(Damage::Facts)?;
    let facts = read_facts(&head, address, format, &main, strings)?;
    let pages = main.size.div_ceil(BLOCK_SIZE as u64);
    if pages > MOST_PAGES {
        return Err(Damage::Size(main.size).into());
    }
    let lists = Lists::of(format, &main)?;
    let mut addresses = Vec::with_room(lists.pages().saturating_add(1))?;
    addresses.push(address)?;
    let mut joined = Joined::new(format, source, pages);
    lists.each(
        source,
        |address| Ok(addresses.push(address)?),
        |run| joined.add(run),
    )?;
    Ok(Found {
        facts,
        runs: joined.runs,
        pages: addresses,
    })
}

/// Runs that an array has room for at first.
const FEW: usize = 16;

/// Joins records that go on where the one before ends, if the format allows, and looks at
/// each.
struct Joined<'a, S> {
    format: Format,
    source: &'a S,
    /// Pages of the file.
    pages: u64,
    /// The runs so far.
    runs: Vec<Run>,
    /// Room for runs.
    room: usize,
    /// Records so far.
    records: u64,
}

impl<'a, S: Source> Joined<'a, S> {
    fn new(format: Format, source: &'a S, pages: u64) -> Self {
        Self {
            format,
            source,
            pages,
            runs: Vec::new(),
            room: 0,
            records: 0,
        }
    }

    /// Adds a record.
    fn add(&mut self, run: Run) -> Result<(), Unread> {
        let at = self.records;
        self.records = at.saturating_add(1);
        let is_behind = self.runs.last().is_none_or(|last| last.end() <= run.index);
        let is_in_file = run.index < self.pages;
        // Of a folio of mainline's, the order is what the previous kernel has kept.
        let is_kept = || match self.format {
            Format::Mainline => true,
            Format::Runs => self.source.keeps(&run, self.format.step(&run)),
        };
        if !run.is_sane() || !is_behind || !is_in_file || !is_kept() {
            return Err(Damage::Record(at).into());
        }
        match self.runs.last_mut() {
            Some(last) if self.format == Format::Mainline && last.is_followed_by(&run) => {
                last.pages = last.pages.saturating_add(run.pages);
                Ok(())
            }
            _ => self.push(run),
        }
    }

    /// Adds a run; where there is no room, as much again is made.
    fn push(&mut self, run: Run) -> Result<(), Unread> {
        if self.runs.len() == self.room {
            let room = self.room.saturating_mul(2).max(FEW);
            let mut larger = Vec::with_room(room)?;
            for run in core::mem::take(&mut self.runs) {
                larger.push(run)?;
            }
            (self.runs, self.room) = (larger, room);
        }
        Ok(self.runs.push(run)?)
    }
}

/// Where the records are.
struct Lists {
    format: Format,
    first: u64,
    count: u64,
    pages: u64,
}

impl Lists {
    fn of(format: Format, main: &wire::Main) -> Result<Self, Unread> {
        let per_page = match format {
            Format::Mainline => wire::FOLIOS_PER_PAGE,
            Format::Runs => wire::RUNS_PER_PAGE,
        };
        let count = main.count;
        let pages = count.div_ceil(per_page as u64);
        let is_plain = count == 0 || (main.area_flags == wire::AREA_ALLOC && main.order == 0);
        // Without records the rest is nobody's business: mainline leaves it as it was.
        let are_as_many = count == 0 || pages == u64::from(main.pages);
        if count > MOST_PAGES || !is_plain || !are_as_many {
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
    fn pages(&self) -> usize {
        let pages = usize::try_from(self.pages).unwrap_or(usize::MAX);
        pages.saturating_add(pages.div_ceil(wire::CHUNK_ADDRESSES))
    }

    /// Goes through all pages and all records on them.
    fn each<S: Source>(
        &self,
        source: &S,
        mut on_page: impl FnMut(u64) -> Result<(), Unread>,
        mut on_run: impl FnMut(Run) -> Result<(), Unread>,
    ) -> Result<(), Unread> {
        match self.format {
            Format::Mainline => self.each_folio(source, &mut on_page, &mut on_run),
            Format::Runs => self.each_run(source, &mut on_page, &mut on_run),
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
                        if !list.copy(offset, some.as_mut_bytes()) {
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
            // What is read is added before all of it is known to be sound: nothing is done
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
const SOME: usize = 32;

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

fn read_facts(
    head: &impl HandedMemory,
    address: u64,
    format: Format,
    main: &wire::Main,
    strings: &mut Strings,
) -> Result<Facts, Unread> {
    let facts: wire::Facts = record(head, wire::FACTS_OFFSET).ok_or(Damage::Facts)?;
    let is_there = facts.magic != [0; 16];
    let more = if is_there {
        Some(read_more(head, &facts, address, main, strings)?)
    } else if format == Format::Mainline {
        None
    } else {
        return Err(Damage::Facts.into());
    };
    Ok(Facts {
        size: main.size,
        position: main.position,
        seals: main.seals,
        more,
    })
}

fn read_more(
    head: &impl HandedMemory,
    facts: &wire::Facts,
    address: u64,
    main: &wire::Main,
    strings: &mut Strings,
) -> Result<More, Unread> {
    if facts.magic != wire::FACTS_MAGIC {
        return Err(Damage::Facts.into());
    }
    let lengths = (facts.name_length, facts.group_length);
    string(head, wire::NAME_OFFSET, lengths.0, &mut strings.name);
    string(head, wire::GROUP_OFFSET, lengths.1, &mut strings.group);
    if checksum(main, facts, strings) != facts.checksum {
        return Err(Damage::Checksum(address).into());
    }
    let required = facts.required;
    if required != 0 {
        return Err(Unread::Unknown(required));
    }
    let [access, modification, change, birth] = facts.times;
    let time = |words: [u64; 2]| {
        let [seconds, nanoseconds] = words;
        Some(Time {
            seconds: seconds as i64,
            nanoseconds: u32::try_from(nanoseconds)
                .ok()
                .filter(|&part| part < 1_000_000_000)?,
        })
    };
    let times = || {
        Some(Times {
            access: time(access)?,
            modification: time(modification)?,
            change: time(change)?,
            birth: time(birth)?,
        })
    };
    let are_as_long = lengths.0 as usize == strings.name.as_bytes().len()
        && lengths.1 as usize == strings.group.as_bytes().len();
    let times = times().filter(|_| are_as_long).ok_or(Damage::Facts)?;
    Ok(More {
        flags: facts.flags,
        mode: facts.mode,
        uid: facts.uid,
        gid: facts.gid,
        times,
    })
}

/// Reads a string of some bytes.
fn string<const N: usize>(head: &impl HandedMemory, offset: usize, length: u32, to: &mut Short<N>) {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    to.fill(|room| {
        let room = room.get_mut(..length);
        match room.is_some_and(|room| head.copy(offset, room)) {
            true => length,
            // No string has as many.
            false => N,
        }
    });
}

fn page<S: Source>(source: &S, address: u64) -> Result<S::Page, Unread> {
    let found = source.page(address);
    found.map_err(|why| Damage::Page { address, why }.into())
}

/// A structure at an offset of a page.
fn record<T: FromBytes + IntoBytes>(page: &impl HandedMemory, offset: usize) -> Option<T> {
    let mut found = T::new_zeroed();
    page.copy(offset, found.as_mut_bytes()).then_some(found)
}
