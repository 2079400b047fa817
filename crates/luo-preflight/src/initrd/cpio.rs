// SPDX-License-Identifier: MIT OR Apache-2.0
//! The archives in an initrd: cpio in the formats newc and crc, as
//! `Documentation/driver-api/early-userspace/buffer-format.rst` of Linux has them.
//!
//! ```text
//!             0                          header           name, padding
//!  between --------> between    between --------> name ----------------> body
//!     ^                                                                   |
//!     +------------------------- padding <--------------------------------+
//! ```

/// Bytes of a header: a magic of 6, and 13 numbers of 8 digits.
const HEADER: usize = 110;

/// Bytes of a name at most, with the zero at its end.
const MAX_NAME: u32 = 4096;

/// The name of what ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";

const REGULAR: u32 = 0o100_000;
const KIND: u32 = 0o170_000;

/// Why an archive cannot be unpacked.
pub(super) type Fault = &'static str;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Zeros, until an archive or an entry begins.
    Between,
    Header,
    Name,
    Body,
    Padding,
}

/// Walks archives that are fed in pieces.
#[derive(Debug)]
pub(super) struct Cpio {
    state: State,
    /// The place, from which entries are aligned.
    position: u64,
    /// The header or the name so far.
    collected: Vec<u8>,
    /// Bytes that the header, name, body or padding still has.
    left: u64,
    entry: Header,
    sum: u32,
    /// Whether entries came since the last end of an archive.
    is_open: bool,
    /// Entries of all archives; what ends one is none.
    pub(super) entries: u64,
    /// Whether there is an `/init`, which the kernel starts.
    pub(super) has_init: bool,
}

impl Cpio {
    /// Begins at a place of the file.
    pub(super) fn at(position: u64) -> Self {
        Self {
            state: State::Between,
            position,
            collected: Vec::new(),
            left: 0,
            entry: Header::default(),
            sum: 0,
            is_open: false,
            entries: 0,
            has_init: false,
        }
    }

    /// Goes on behind something else.
    pub(super) fn go_on_at(&mut self, position: u64) {
        self.position = position;
    }

    /// Whether this byte would be taken next.
    pub(super) fn takes(&self, byte: u8) -> bool {
        self.state != State::Between || byte == 0 || (byte == b'0' && self.is_aligned())
    }

    fn is_aligned(&self) -> bool {
        self.position.is_multiple_of(4)
    }

    /// Whether the archives so far are whole.
    pub(super) fn is_whole(&self) -> Result<(), Fault> {
        match self.state {
            State::Between if self.is_open => Err("its archive has no end (TRAILER!!!)"),
            State::Between => Ok(()),
            State::Header => Err("it ends in the header of an entry"),
            State::Name => Err("it ends in the name of an entry"),
            State::Body | State::Padding => Err("it ends in the contents of an entry"),
        }
    }

    /// Takes bytes, and gives how many: all, unless between archives comes what is none.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            let taken = match self.state {
                State::Between if *first == 0 => {
                    let zeros = rest.iter().position(|byte| *byte != 0);
                    zeros.unwrap_or(rest.len())
                }
                State::Between if self.takes(*first) => {
                    self.begin(State::Header, HEADER as u64);
                    0
                }
                State::Between => break,
                State::Header | State::Name | State::Body | State::Padding => self.eat(rest),
            };
            self.position = self.position.saturating_add(taken as u64);
            rest = rest.get(taken..).unwrap_or_default();
            // What has no length is over at once.
            while self.left == 0 && self.state != State::Between {
                self.next()?;
            }
        }
        Ok(bytes.len().saturating_sub(rest.len()))
    }

    fn begin(&mut self, state: State, length: u64) {
        self.state = state;
        self.left = length;
        self.collected.clear();
    }

    fn eat(&mut self, bytes: &[u8]) -> usize {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        let count = room.min(bytes.len());
        let bytes = bytes.get(..count).unwrap_or_default();
        match self.state {
            State::Header | State::Name => self.collected.extend(bytes),
            State::Body if self.entry.checksum.is_some() => {
                let add = |sum: u32, byte: &u8| sum.wrapping_add((*byte).into());
                self.sum = bytes.iter().fold(self.sum, add);
            }
            State::Body | State::Padding | State::Between => {}
        }
        self.left = self.left.saturating_sub(count as u64);
        count
    }

    fn next(&mut self) -> Result<(), Fault> {
        match self.state {
            State::Header => {
                self.entry = Header::parse(&self.collected)?;
                self.begin(State::Name, self.entry.padded_name());
            }
            State::Name => {
                self.named()?;
                self.sum = 0;
                self.begin(State::Body, self.entry.body);
            }
            State::Body => {
                if self.entry.checksum.is_some_and(|sum| sum != self.sum) {
                    return Err("the checksum of an entry is wrong");
                }
                self.begin(State::Padding, self.position.wrapping_neg() & 3);
            }
            State::Padding | State::Between => self.begin(State::Between, 0),
        }
        Ok(())
    }

    fn named(&mut self) -> Result<(), Fault> {
        let name = self.collected.get(..self.entry.name as usize);
        let name = name.and_then(|name| name.strip_suffix(b"\0"));
        let name = name.ok_or("a name has no end")?;
        self.is_open = name != TRAILER;
        if self.is_open {
            self.entries = self.entries.saturating_add(1);
            self.has_init |= matches!(name, b"init" | b"/init" | b"./init");
        }
        Ok(())
    }
}

/// What is needed of an entry's header.
#[derive(Debug, Default)]
struct Header {
    name: u32,
    body: u64,
    checksum: Option<u32>,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let (magic, numbers) = bytes.split_at_checked(6).unwrap_or_default();
        let has_checksum = match magic {
            b"070701" => false,
            b"070702" => true,
            b"070707" => return Err("it is a cpio archive of another format (use newc)"),
            _ => return Err("where an entry should begin stands something else"),
        };
        let number = |at: usize| {
            let digits = numbers.chunks_exact(8).nth(at).unwrap_or_default();
            let digits = digits.iter().map(|digit| char::from(*digit).to_digit(16));
            let add = |number: u32, digit: Option<u32>| Some((number << 4) | digit?);
            let number = digits.into_iter().try_fold(0, add);
            number.ok_or("the header of an entry is damaged")
        };
        for at in 0..13 {
            number(at)?;
        }
        let (mode, name) = (number(1)?, number(11)?);
        if name == 0 || name > MAX_NAME {
            return Err("the name of an entry is empty or too long");
        }
        let sums = has_checksum && mode & KIND == REGULAR;
        Ok(Self {
            name,
            body: number(6)?.into(),
            checksum: sums.then_some(number(12)?),
        })
    }

    /// Bytes of the name, and of the zeros that align what follows.
    fn padded_name(&self) -> u64 {
        let both = (HEADER as u64).saturating_add(self.name.into());
        both.next_multiple_of(4).saturating_sub(HEADER as u64)
    }
}

/// Makes archives for tests.
#[cfg(test)]
pub(super) mod make {
    /// An entry, with its padding.
    pub(in super::super) fn entry(magic: &str, name: &str, body: &[u8], sum: u32) -> Vec<u8> {
        let (length, named) = (body.len() as u32, name.len() as u32 + 1);
        let numbers = [1, 0o100_644, 0, 0, 1, 0, length, 0, 0, 0, 0, named, sum];
        let mut bytes = magic.as_bytes().to_vec();
        bytes.extend(
            numbers
                .iter()
                .flat_map(|number| format!("{number:08X}").into_bytes()),
        );
        bytes.extend(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// An archive of an `/init` and some more.
    pub(in super::super) fn archive(files: usize) -> Vec<u8> {
        let mut bytes = entry("070701", "init", b"#!/bin/sh", 0);
        for number in 0..files {
            // No two bytes of it are equal for long, so it does not vanish when packed.
            let body: Vec<u8> = (0..1001_u32)
                .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 ^ number as u8)
                .collect();
            bytes.extend(entry("070701", &format!("file{number}"), &body, 0));
        }
        bytes.extend(entry("070701", "TRAILER!!!", b"", 0));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use make::{archive, entry};

    fn walk(bytes: &[u8], piece: usize) -> Result<Cpio, Fault> {
        let mut cpio = Cpio::at(0);
        for piece in bytes.chunks(piece) {
            let taken = cpio.feed(piece)?;
            if taken < piece.len() {
                return Err("junk");
            }
        }
        cpio.is_whole().map(|()| cpio)
    }

    #[test]
    fn an_archive_is_whole_up_to_its_last_byte_only() {
        let bytes = archive(3);
        for piece in [1, 7, 4096] {
            let cpio = walk(&bytes, piece).unwrap();
            assert_eq!((cpio.entries, cpio.has_init), (4, true));
        }
        for length in 1..bytes.len() {
            assert!(walk(&bytes[..length], 4096).is_err(), "{length}");
        }
        let twice = [&bytes[..], &[0; 512], &bytes].concat();
        assert_eq!(walk(&twice, 100).unwrap().entries, 8);
        assert!(walk(&[&bytes[..], &[0; 3], &bytes].concat(), 100).is_err());
    }

    #[test]
    fn checksums_count_where_there_are_some() {
        let end = entry("070702", "TRAILER!!!", b"", 0);
        let with = |sum| [entry("070702", "a", b"\x01\xff", sum), end.clone()].concat();
        assert!(walk(&with(256), 50).is_ok());
        assert!(walk(&with(255), 50).is_err());
    }

    #[test]
    fn what_the_kernel_does_not_take_is_none() {
        let end = entry("070701", "TRAILER!!!", b"", 0);
        for bad in [
            b"070707000000".repeat(20),
            b"0707".repeat(40),
            entry("070701", "a", b"", 0)[..HEADER]
                .to_ascii_lowercase()
                .repeat(2),
            [&b"070701"[..], &b"0000000G".repeat(13)].concat(),
        ] {
            assert!(walk(&[&bad[..], &end].concat(), 64).is_err());
        }
    }
}
