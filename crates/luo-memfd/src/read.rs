// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Reading what the previous kernel left, with distrust: nothing is given away before all
//! of it has been looked at.

use luo_abi::handover::BLOCK_SIZE;
use luo_abi::memfd as wire;
use luo_core::mem::Vec;
use luo_core::HandedMemory;

use crate::damage::{Damage, Unread};
use crate::facts::{Facts, More, Short, Strings, Time, Times};
use crate::format::Format;
use crate::lists::Lists;
use crate::run::{Run, MOST_ORDER, MOST_PAGES};
use crate::source::{page, record, Source};
use crate::write::checksum;

/// The things that a file has left.
pub struct Found {
    /// Its facts.
    pub facts: Facts,
    /// Its pages, in the order of the file; no two at one place of the file.
    pub runs: Vec<Run>,
    /// Physical addresses of the pages that said so. They are to be given to the allocator
    /// when everything has been taken over.
    pub pages: Vec<u64>,
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
    let (main, facts) = read_head(source, format, address, strings)?;
    let pages = main.size.div_ceil(BLOCK_SIZE as u64);
    if pages > MOST_PAGES {
        return Err(Damage::Size(main.size).into());
    }
    let lists = Lists::of(format, &main, pages)?;
    let mut addresses = Vec::with_capacity(lists.pages().saturating_add(1))?;
    addresses.push(address)?;
    let mut joined = Joined::new(format, source, pages, facts.huge);
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

/// Reads the strings of a file alone. Its head is there until the pages that [`read`] names are
/// given to the allocator.
///
/// # Errors
/// [`Unread`]. Nothing is changed.
pub fn read_strings<S: Source>(
    source: &S,
    format: Format,
    address: u64,
    strings: &mut Strings,
) -> Result<(), Unread> {
    read_head(source, format, address, strings).map(drop)
}

fn read_head<S: Source>(
    source: &S,
    format: Format,
    address: u64,
    strings: &mut Strings,
) -> Result<(wire::Main, Facts), Unread> {
    let head = page(source, address)?;
    let main: wire::Main = record(&head, 0).ok_or(Damage::Facts)?;
    let facts = read_facts(&head, address, format, &main, strings)?;
    Ok((main, facts))
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
    /// The order of each folio of a file of huge pages; else 0.
    huge: u32,
    /// The runs so far.
    runs: Vec<Run>,
    /// Room for runs.
    room: usize,
    /// Records so far.
    records: u64,
}

impl<'a, S: Source> Joined<'a, S> {
    fn new(format: Format, source: &'a S, pages: u64, huge: u32) -> Self {
        Self {
            format,
            source,
            pages,
            huge,
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
            Format::Runs | Format::Huge => self.source.keeps(&run, self.format.step(&run)),
        };
        let is_of_file = self.huge == 0 || (run.order == self.huge && !run.fresh);
        if !run.is_sane() || !is_of_file || !is_behind || !is_in_file || !is_kept() {
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
        if self.room == 0 {
            (self.runs, self.room) = (Vec::with_capacity(FEW)?, FEW);
        } else if self.runs.len() == self.room {
            let room = self.room.saturating_mul(2);
            let mut larger = Vec::with_capacity(room)?;
            for run in core::mem::take(&mut self.runs) {
                larger.push(run)?;
            }
            (self.runs, self.room) = (larger, room);
        }
        Ok(self.runs.push(run)?)
    }
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
        Some(read_more(head, &facts, address, format, main, strings)?)
    } else if format == Format::Mainline {
        None
    } else {
        return Err(Damage::Facts.into());
    };
    Ok(Facts {
        size: main.size,
        position: main.position,
        seals: main.seals,
        huge: read_huge(format, main)?,
        more,
    })
}

/// The order of each page of a file of huge pages, which has whole ones of them. Elsewhere the
/// field is nobody's business.
fn read_huge(format: Format, main: &wire::Main) -> Result<u32, Unread> {
    let order = match (format, main.flags) {
        (Format::Mainline | Format::Runs, _) => return Ok(0),
        (Format::Huge, order @ 1..=MOST_ORDER) => order,
        (Format::Huge, _) => return Err(Damage::Facts.into()),
    };
    let page = (BLOCK_SIZE as u64).wrapping_shl(order);
    if main.size & page.wrapping_sub(1) == 0 {
        Ok(order)
    } else {
        Err(Damage::Size(main.size).into())
    }
}

fn read_more(
    head: &impl HandedMemory,
    facts: &wire::Facts,
    address: u64,
    format: Format,
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
    if required & !format.required() != 0 {
        return Err(Unread::Unknown(required));
    }
    if required != format.required() {
        return Err(Damage::Facts.into());
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
