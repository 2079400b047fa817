// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What a pipe holds comes back, or is refused.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use luo_abi::errno::Errno;
use luo_abi::handover::BLOCK_SIZE;
use luo_abi::note::{Held, Pipe, READ_END};

use super::contents::{most_pages, read, Contents, Failed};
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
    // Once to see how much it is, and once to write it down.
    for _ in 0..2 {
        pages.begin();
        for (bytes, is_packet) in parts {
            pages.push(bytes, *is_packet);
        }
        let alloc = || {
            next += 4096;
            Ok(Page(next, vec![0xaa; BLOCK_SIZE]))
        };
        pages.make_room(pages.wanted(), alloc).unwrap();
    }
    assert!(pages.is_whole());
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

/// Contents with so many pages, and how many of those are out.
fn with_room(count: usize) -> (Contents<Lent>, Rc<Cell<isize>>) {
    let (mut pages, out) = (Contents::new(), Rc::new(Cell::new(0)));
    let alloc = || {
        out.set(out.get() + 1);
        Ok(Lent(Page(4096, vec![0; BLOCK_SIZE]), Rc::clone(&out)))
    };
    pages.make_room(count, alloc).unwrap();
    (pages, out)
}

/// A page that counts.
struct Lent(Page, Rc<Cell<isize>>);

impl BlockMemory for Lent {
    fn address(&self) -> u64 {
        self.0.address()
    }

    fn bytes(&mut self) -> &mut [u8] {
        self.0.bytes()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.1.set(self.1.get() - 1);
    }
}

#[test]
fn it_is_written_anew_onto_the_same_pages() {
    let (mut pages, out) = with_room(3);
    for _ in 0..3 {
        pages.begin();
        pages.push(&[1; 9000], false);
        assert!(pages.is_whole());
    }
    let mut note = EMPTY;
    pages.end(&mut note);
    let (held, records) = (note.bytes, note.records);
    assert_eq!((held, records, out.get()), (9000, 3, 3));
}

/// A pipe that was full and is empty leaves nothing but its note.
#[test]
fn pages_that_are_not_needed_are_given_back() {
    let (mut pages, out) = with_room(5);
    for (length, left) in [(9000, 3), (1, 1), (0, 0)] {
        pages.begin();
        pages.push(&vec![7; length], false);
        let mut note = EMPTY;
        pages.end(&mut note);
        let (count, first) = (note.pages, note.first);
        assert_eq!((out.get(), count), (left, left as u64));
        assert_eq!(first == 0, left == 0);
    }
}

#[test]
fn what_there_is_no_page_for_counts_only() {
    let (mut pages, _) = with_room(1);
    pages.push(&[1; 9000], false);
    assert_eq!((pages.wanted(), pages.bytes()), (3, 9000));
    assert!(!pages.is_whole());
    let none = || Err(Errno::ENOMEM);
    assert_eq!(pages.make_room(3, none), Err(Errno::ENOMEM));
    assert_eq!(pages.make_room(1, none), Ok(()));
    pages.begin();
    pages.push(&[], false);
    assert!(pages.is_whole());
}

/// However its buffers are filled: a user is charged for no less.
#[test]
fn no_pipe_takes_more_pages_than_its_size_says() {
    let mut random = 12345_u64;
    for slots in [1, 2, 3, 16, 31, 32, 33, 63, 256, 1024] {
        for round in 0..40 {
            let mut pages: Contents<Page> = Contents::new();
            for _ in 0..slots {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let length = match round {
                    0 => BLOCK_SIZE,
                    1 => 4049,
                    _ => BLOCK_SIZE - (random >> 60) as usize * (round - 2),
                };
                pages.push(&vec![0; length], random >> 33 & 1 == 0);
            }
            let most = most_pages(slots) as usize;
            assert!(
                pages.wanted() <= most,
                "{slots}: {} > {most}",
                pages.wanted()
            );
        }
    }
    assert!(most_pages(1 << 19) < (1 << 19) * 21 / 20);
}

/// What comes back takes as many buffers as it was in, or fewer; what was in larger ones takes
/// more.
#[test]
fn buffers_are_counted() {
    let of = |parts: &Parts| {
        let mut pages: Contents<Page> = Contents::new();
        pages.push(&[7; 3000], false);
        pages.begin();
        parts.iter().for_each(|(bytes, is)| pages.push(bytes, *is));
        pages.buffers()
    };
    assert_eq!(of(&vec![]), 0);
    // Each is on two pages of the handover.
    assert_eq!(of(&vec![stream(4096); 16]), 16);
    assert_eq!(of(&vec![packet(4096); 16]), 16);
    assert_eq!(of(&vec![packet(1); 16]), 16);
    assert_eq!(of(&vec![stream(3000); 3]), 3);
    assert_eq!(of(&vec![stream(1); 4096]), 1);
    assert_eq!(of(&vec![stream(10), packet(10), stream(10)]), 3);
    let mut parts = vec![stream(4096); 10];
    parts.extend(vec![packet(1); 11]);
    assert_eq!(of(&parts), 21);
    // However they are filled.
    let mut random = 99_u64;
    for _ in 0..2000 {
        let mut next = |most: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % most
        };
        let parts: Parts = (0..next(40))
            .map(|_| match next(2) {
                0 => packet(1 + next(4096) as usize),
                _ => stream(1 + next(4096) as usize),
            })
            .collect();
        assert!(of(&parts) <= parts.len() as u64, "{}", parts.len());
    }
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
