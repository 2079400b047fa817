// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What a pipe holds comes back, or is refused.

use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use luo_abi::errno::Errno;
use luo_abi::handover::BLOCK_SIZE;
use luo_abi::note::{Held, Pipe, READ_END};

use super::contents::{read, Contents, Failed};
use crate::handover::block::BlockMemory;
use crate::handover::PageError;
use crate::note::{Note as _, Unread};

struct Page(u64, Vec<u8>);

impl BlockMemory for Page {
    fn address(&self) -> u64 {
        self.0
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.1
    }
}

const EMPTY: Pipe = Pipe {
    flags: READ_END,
    slots: 16,
    bytes: 0,
    records: 0,
    pages: 0,
    first: 0,
};

/// Parts of a stream, and packets.
type Parts = Vec<(Vec<u8>, bool)>;

/// Writes parts; the note, and the pages by their addresses.
fn written(parts: &Parts) -> (Pipe, BTreeMap<u64, Vec<u8>>) {
    let mut pages = Contents::new();
    let mut next = 0;
    for (bytes, is_packet) in parts {
        let alloc = || {
            next += 4096;
            Ok(Page(next, vec![0; BLOCK_SIZE]))
        };
        pages.push(bytes, *is_packet, alloc).unwrap();
    }
    let mut note = EMPTY;
    pages.end(&mut note);
    assert!(note.is_sane(), "{note:?}");
    let pages = pages.into_pages().into_iter();
    (note, pages.map(|page| (page.0, page.1)).collect())
}

fn read_back(note: &Pipe, pages: &BTreeMap<u64, Vec<u8>>) -> Result<Parts, Failed> {
    let mut parts = Vec::new();
    let page = |address| pages.get(&address).ok_or(PageError::NotPreserved);
    let addresses = read(note, page, |bytes, is_packet| {
        parts.push((bytes.to_vec(), is_packet));
        Ok(())
    })?;
    assert_eq!(addresses.len(), pages.len());
    Ok(parts)
}

fn stream(length: usize) -> (Vec<u8>, bool) {
    ((0..length).map(|at| at as u8).collect(), false)
}

fn packet(length: usize) -> (Vec<u8>, bool) {
    (vec![length as u8; length], true)
}

fn bytes(parts: &Parts) -> Vec<u8> {
    parts.iter().flat_map(|(bytes, _)| bytes.clone()).collect()
}

#[test]
fn a_stream_comes_back() {
    for length in [0, 1, 8, 4055, 4056, 4057, 4096, 20_000, 65_533] {
        let parts = vec![stream(length), stream(3)];
        let (note, pages) = written(&parts);
        let back = read_back(&note, &pages).unwrap();
        assert_eq!(bytes(&back), bytes(&parts), "{length}");
        assert!(back.iter().all(|(_, is_packet)| !is_packet));
    }
}

#[test]
fn packets_come_back_each_alone() {
    let parts = vec![
        packet(1),
        packet(4096),
        stream(5000),
        packet(7),
        packet(4096),
    ];
    let (note, pages) = written(&parts);
    let back = read_back(&note, &pages).unwrap();
    let packets =
        |parts: &Parts| -> Parts { parts.iter().filter(|(_, is)| *is).cloned().collect() };
    assert_eq!(packets(&back), packets(&parts));
    assert_eq!(bytes(&back), bytes(&parts));
}

#[test]
fn it_is_written_anew_onto_the_same_pages() {
    let mut pages = Contents::new();
    let mut count = 0;
    for _ in 0..3 {
        pages.begin();
        let alloc = || {
            count += 1;
            Ok(Page(count * 4096, vec![0; BLOCK_SIZE]))
        };
        pages.push(&[1; 9000], false, alloc).unwrap();
    }
    assert_eq!(count, 3);
    let mut note = EMPTY;
    pages.end(&mut note);
    let (held, records) = (note.bytes, note.records);
    assert_eq!((held, records), (9000, 3));
}

#[test]
fn no_memory_is_told() {
    let mut pages: Contents<Page> = Contents::new();
    let none = || Err(Errno::ENOMEM);
    assert_eq!(pages.push(&[1], false, none), Err(Errno::ENOMEM));
    assert_eq!(pages.push(&[], false, none), Ok(()));
}

#[test]
fn each_bit_counts() {
    let parts = vec![stream(40), packet(9)];
    let (note, mut pages) = written(&parts);
    let used = size_of::<Held>() + 8 + 40 + 8 + 16;
    for bit in 0..used * 8 {
        let page = pages.get_mut(&4096).unwrap();
        page[bit / 8] ^= 1 << (bit % 8);
        assert!(read_back(&note, &pages).is_err(), "bit {bit}");
        pages.get_mut(&4096).unwrap()[bit / 8] ^= 1 << (bit % 8);
    }
    read_back(&note, &pages).unwrap();
}

#[test]
fn what_the_note_says_has_to_be_there() {
    let (note, pages) = written(&vec![stream(9000)]);
    let odd = [
        Pipe { pages: 2, ..note },
        Pipe { pages: 4, ..note },
        Pipe { records: 9, ..note },
        Pipe { bytes: 1, ..note },
        Pipe {
            first: note.first + 4096,
            ..note
        },
    ];
    for odd in odd {
        assert!(read_back(&odd, &pages).is_err(), "{odd:?}");
    }
    let nowhere = Pipe {
        first: 1 << 40,
        ..note
    };
    let refused = read_back(&nowhere, &pages);
    let why = Unread::Page(PageError::NotPreserved);
    assert_eq!(refused, Err(Failed::Unread(why)));
}

/// A list of pages that has no end has one all the same.
#[test]
fn a_list_that_comes_back_to_itself_is_refused() {
    let (note, mut pages) = written(&vec![stream(40)]);
    let page = pages.get_mut(&4096).unwrap();
    page[..8].copy_from_slice(&4096_u64.to_ne_bytes());
    let mut digest = crate::Digest::new();
    digest.absorb_bytes(&page[..24]);
    digest.absorb_bytes(&page[32..32 + 48]);
    page[24..32].copy_from_slice(&digest.finish().to_ne_bytes());
    assert!(read_back(&note, &pages).is_err());
    let longer = Pipe {
        pages: 30,
        records: 30,
        bytes: 1200,
        ..note
    };
    let refused = read_back(&longer, &pages);
    assert_eq!(refused, Err(Failed::Unread(Unread::Value)));
}

#[test]
fn what_no_pipe_can_be_is_refused() {
    assert!(EMPTY.is_sane());
    for odd in [
        Pipe { flags: 0, ..EMPTY },
        Pipe {
            flags: READ_END | 1 << 40,
            ..EMPTY
        },
        Pipe { slots: 0, ..EMPTY },
        Pipe {
            slots: 1 << 20,
            ..EMPTY
        },
        Pipe { pages: 1, ..EMPTY },
        Pipe {
            first: 4096,
            ..EMPTY
        },
        Pipe {
            pages: 33,
            records: 33,
            first: 4096,
            ..EMPTY
        },
        Pipe {
            bytes: 65_537,
            ..EMPTY
        },
    ] {
        assert!(!odd.is_sane(), "{odd:?}");
    }
}
