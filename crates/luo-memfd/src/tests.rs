// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What was written is read again, and nothing else is.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::vec::Vec;

use luo_abi::errno::Errno;
use luo_abi::handover::BLOCK_SIZE;
use luo_abi::memfd as wire;
use luo_core::{BlockMemory, PageError};
use proptest::prelude::*;
use zerocopy::{FromBytes as _, FromZeros, IntoBytes as _};

use crate::{
    Damage, Facts, Format, Found, More, Run, Source, Strings, Time, Times, Unread, Written,
    MOST_AT_ONCE,
};

/// The formats of files of small pages.
const SMALL: [Format; 2] = [Format::Mainline, Format::Runs];

/// A page that a test can read when the writer has gone.
struct Block(u64, Vec<u8>);

impl BlockMemory for Block {
    fn address(&self) -> u64 {
        self.0
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.1
    }
}

/// The memory of a machine after the jump.
#[derive(Default)]
struct Machine {
    pages: BTreeMap<u64, Vec<u8>>,
    /// What is kept: frame and order of each key.
    kept: BTreeMap<u64, u32>,
    asked: RefCell<u64>,
}

impl Machine {
    /// What has been written, as the next kernel finds it.
    fn of(format: Format, facts: &Facts, runs: &[Run]) -> (Self, u64) {
        let mut next = 0x10_0000;
        let mut alloc = || {
            next += BLOCK_SIZE as u64;
            Ok::<_, Errno>(Block(next, std::vec![0; BLOCK_SIZE]))
        };
        let mut written = Written::new(alloc().unwrap());
        written.make_room(format, runs, &mut alloc).unwrap();
        written.write(format, facts, &strings(), runs);
        let mut machine = Self::default();
        let address = written.address();
        let (head, lists) = written.into_parts();
        for Block(at, bytes) in lists.into_iter().chain([head]) {
            machine.pages.insert(at, bytes);
        }
        for run in runs {
            let step = format.step(run);
            let mut at = 0;
            while at < run.pages {
                machine.keep(run.frame + at, step);
                at += step;
            }
        }
        (machine, address)
    }

    /// Keeps pages as `kho_preserve_pages` cuts them.
    fn keep(&mut self, frame: u64, pages: u64) {
        for (frame, order) in kept(frame, pages) {
            self.kept.insert(frame, order);
        }
    }
}

/// The pieces in which Kexec HandOver keeps pages that it is asked for at once: frame and order.
fn kept(mut frame: u64, pages: u64) -> Vec<(u64, u32)> {
    let end = frame + pages;
    let mut all = Vec::new();
    while frame < end {
        let order = frame.trailing_zeros().min((end - frame).ilog2());
        all.push((frame, order));
        frame += 1 << order;
    }
    all
}

impl Source for Machine {
    type Page = Vec<u8>;

    fn page(&self, address: u64) -> Result<Vec<u8>, PageError> {
        *self.asked.borrow_mut() += 1;
        self.pages
            .get(&address)
            .cloned()
            .ok_or(PageError::NotPreserved)
    }

    fn order(&self, frame: u64) -> Option<u32> {
        self.kept.get(&frame).copied()
    }

    fn keeps(&self, run: &Run, step: u64) -> bool {
        (0..run.pages).step_by(step as usize).all(|at| {
            let keys = kept(run.frame + at, step);
            keys.iter()
                .all(|(frame, order)| self.kept.get(frame) == Some(order))
        })
    }
}

fn facts(size: u64) -> Facts {
    let time = |seconds| Time {
        seconds,
        nanoseconds: 999_999_999,
    };
    Facts {
        size,
        position: 77,
        seals: 0x20,
        huge: 0,
        more: Some(More {
            flags: 0o2000,
            mode: 0o600,
            uid: 1000,
            gid: 100,
            times: Times {
                access: time(1),
                modification: time(-2),
                change: time(3),
                birth: time(0),
            },
        }),
    }
}

fn strings() -> Strings {
    let mut strings = Strings::EMPTY;
    let put = |text: &'static [u8]| {
        move |room: &mut [u8]| {
            room[..text.len()].copy_from_slice(text);
            text.len()
        }
    };
    strings.name.fill(|room| put(b"memfd:guest-ram")(room));
    strings
        .group
        .fill(|room| put(b"/system.slice/vm.service")(room));
    strings
}

/// Reads without the strings.
fn read(machine: &Machine, format: Format, address: u64) -> Result<Found, Unread> {
    crate::read(machine, format, address, &mut Strings::EMPTY.clone())
}

/// Runs of a file, with gaps, of different orders.
fn some_runs() -> impl Strategy<Value = Vec<Run>> {
    let one = (0u64..3, 0u64..600, 0u32..3, 1u64..5, any::<bool>());
    prop::collection::vec(one, 0..60).prop_map(|parts| {
        let (mut index, mut frame) = (0u64, 0x10000u64);
        let mut runs = Vec::new();
        for (gap, jump, order, folios, fresh) in parts {
            let size = 1 << order;
            index = (index + gap).next_multiple_of(size);
            // Never adjacent to the one before in memory, so that runs stay what they are.
            frame = (frame + jump + 1).next_multiple_of(size);
            let run = Run {
                index,
                frame,
                pages: folios * size,
                order,
                fresh,
            };
            index += run.pages;
            frame += run.pages;
            runs.push(run);
        }
        runs
    })
}

/// What counts of a head: not the room behind strings.
fn used_of_head() -> Vec<usize> {
    let facts = wire::FACTS_OFFSET..wire::NAME_OFFSET;
    let name = wire::NAME_OFFSET..wire::NAME_OFFSET + 15;
    let group = wire::GROUP_OFFSET..wire::GROUP_OFFSET + 24;
    (0..48).chain(facts).chain(name).chain(group).collect()
}

fn bytes_of(runs: &[Run]) -> u64 {
    runs.last().map_or(0, Run::end) * BLOCK_SIZE as u64
}

proptest! {
    #[test]
    fn what_was_written_is_read(runs in some_runs(), format in prop::sample::select(&SMALL[..])) {
        let facts = facts(bytes_of(&runs));
        let (mut machine, address) = Machine::of(format, &facts, &runs);
        let mut arrived = Strings::EMPTY;
        let found = crate::read(&machine, format, address, &mut arrived).unwrap();
        prop_assert_eq!(found.facts, facts);
        prop_assert_eq!(&arrived, &strings());
        prop_assert_eq!(&found.runs[..], &runs[..]);
        // Each page once, so that each is given away once.
        let mut pages: Vec<_> = found.pages.to_vec();
        pages.sort_unstable();
        pages.dedup();
        prop_assert_eq!(pages.len(), machine.pages.len());
        prop_assert_eq!(found.pages.len(), machine.pages.len());
        // The strings can be read as long as the head is there, though the runs are taken over.
        machine.kept.clear();
        machine.pages.retain(|&page, _| page == address);
        let mut again = Strings::EMPTY;
        crate::read_strings(&machine, format, address, &mut again).unwrap();
        prop_assert_eq!(again, arrived);
    }

    #[test]
    fn a_flipped_bit_of_runs_is_seen(runs in some_runs(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let (mut machine, address) = Machine::of(Format::Runs, &facts(bytes_of(&runs)), &runs);
        let mut places = Vec::new();
        for (&page, bytes) in &machine.pages {
            let used = if page == address {
                used_of_head()
            } else {
                // Not `reserved`, and not what stands behind the records.
                let count = u64::from_ne_bytes(bytes[8..16].try_into().unwrap()) as usize;
                (0..16).chain(24..32 + 24 * count).collect()
            };
            places.extend(used.into_iter().map(|at| (page, at)));
        }
        let (page, at) = places[at.index(places.len())];
        machine.pages.get_mut(&page).unwrap()[at] ^= 1 << bit;
        prop_assert!(read(&machine, Format::Runs, address).is_err());
    }

    #[test]
    fn joined_pages_are_the_same_pages(
        index in 0u64..5000,
        frame in 1u64..5000,
        pages in 1u64..5000,
        aligned in any::<bool>(),
        most in 0u32..10,
    ) {
        let frame = if aligned { index + 512 } else { frame };
        let run = Run { index, frame, pages, order: 0, fresh: false };
        let pieces: Vec<_> = crate::joined(run, most).collect();
        prop_assert!(pieces.len() <= crate::MOST_PIECES, "{} pieces", pieces.len());
        let mut next = (index, frame);
        for piece in &pieces {
            prop_assert!(piece.is_sane(), "{piece:?}");
            prop_assert!(piece.order <= most && piece.order != 1);
            prop_assert_eq!((piece.index, piece.frame), next);
            next = (piece.end(), piece.frame + piece.pages);
        }
        prop_assert_eq!(next, (index + pages, frame + pages));
    }

    /// A run that is got back part by part is got back as it was kept, each part takes a bounded
    /// time, and as much of it is joined.
    #[test]
    fn a_long_run_is_cut_where_it_is_kept_in_pieces(
        index in 0u64..100_000,
        frame in 1u64..100_000,
        pages in 1u64..100_000,
        aligned in any::<bool>(),
        order in prop::sample::select(&[0u32, 4, 9, 14][..]),
        format in prop::sample::select(&Format::ALL[..]),
    ) {
        let whole = |number: u64| (number >> order).max(1) << order;
        let (frame, pages) = (whole(frame), whole(pages));
        let index = if aligned { frame } else { whole(index) };
        let run = Run { index, frame, pages, order, fresh: false };
        let step = format.step(&run);
        let (mut parts, mut rest) = (Vec::new(), Some(run));
        while let Some(left) = rest {
            let (part, behind) = left.cut(format.step(&left));
            prop_assert!(part.is_sane(), "{part:?}");
            prop_assert_eq!((part.index, part.frame), (left.index, left.frame));
            let single = kept(part.frame, part.pages).len() == 1 || part.pages == step;
            prop_assert!(part.pages <= MOST_AT_ONCE || single, "{part:?}");
            parts.push(part);
            rest = behind;
        }
        let all: u64 = parts.iter().map(|part| part.pages).sum();
        prop_assert_eq!(all, pages);
        // What Kexec HandOver has been asked to keep, and is asked to give back.
        let pieces = |run: &Run| -> Vec<_> {
            let step = format.step(run);
            (0..run.pages / step).flat_map(|at| kept(run.frame + at * step, step)).collect()
        };
        prop_assert_eq!(parts.iter().flat_map(pieces).collect::<Vec<_>>(), pieces(&run));
        let small = |runs: &[Run]| -> u64 {
            let joined = runs.iter().flat_map(|run| crate::joined(*run, 9));
            joined.filter(|run| run.order < 9).map(|run| run.pages).sum()
        };
        prop_assert_eq!(small(&parts), small(&[run]));
    }

    #[test]
    fn nothing_that_is_found_makes_it_panic_or_run_for_ever(
        mut bytes in prop::collection::vec(any::<u8>(), BLOCK_SIZE),
        format in prop::sample::select(&SMALL[..]),
        keeps_magic in any::<bool>(),
    ) {
        if keeps_magic {
            bytes[wire::FACTS_OFFSET..].fill(0);
        }
        // All pages look the same, and each points to any other.
        let mut machine = Machine::default();
        machine.pages.insert(0, bytes);
        let read = read(&machine, format, 0).map(|found| found.runs.len());
        prop_assert!(*machine.asked.borrow() < 1000, "{read:?}");
    }
}

/// What can be joined is: all but the ends of what lies alike in the file and in memory.
#[test]
fn most_of_aligned_pages_is_joined() {
    let run = Run {
        index: 3,
        frame: 512 + 3,
        pages: 2000,
        order: 0,
        fresh: false,
    };
    let pieces: Vec<_> = crate::joined(run, 9)
        .map(|piece| (piece.order, piece.pages))
        .collect();
    let expected = [
        (0, 1),
        (2, 4),
        (3, 8),
        (4, 16),
        (5, 32),
        (6, 64),
        (7, 128),
        (8, 256),
        (9, 1024),
        (8, 256),
        (7, 128),
        (6, 64),
        (4, 16),
        (0, 3),
    ];
    assert_eq!(pieces, expected);
    // What lies otherwise stays, and so does what nobody has written to.
    for other in [
        Run {
            frame: 512 + 4,
            ..run
        },
        Run { fresh: true, ..run },
    ] {
        assert_eq!(crate::joined(other, 9).collect::<Vec<_>>(), [other]);
    }
}

#[test]
fn long_lists_go_over_many_pages() {
    // More than one page of addresses: 511 pages of 256 records.
    let count = 511 * 256 + 300;
    let run = |at: u64| Run {
        index: 2 * at,
        frame: 0x10000 + 2 * at,
        pages: 1,
        order: 0,
        fresh: at % 3 == 0,
    };
    let runs: Vec<_> = (0..count).map(run).collect();
    let facts = facts(bytes_of(&runs));
    for format in SMALL {
        let (machine, address) = Machine::of(format, &facts, &runs);
        let found = read(&machine, format, address).unwrap();
        assert_eq!(&found.runs[..], &runs[..], "{format:?}");
        assert_eq!(found.pages.len(), machine.pages.len());
    }
}

/// 1 GiB that lies in one piece is a key of Kexec HandOver's, which the next kernel reserves as
/// such, with a page for each level of its tree; where it is not a large one's place, it is a few.
#[test]
fn a_gib_in_one_piece_takes_little() {
    /// Levels of the tree.
    const LEVELS: usize = 6;
    let run = |frame| Run {
        index: 0,
        frame,
        pages: 1 << 18,
        order: 0,
        fresh: false,
    };
    let one = [run(1 << 20)];
    let (machine, _) = Machine::of(Format::Runs, &facts(bytes_of(&one)), &one);
    assert_eq!(machine.kept.len(), 1);
    assert!((machine.pages.len() + LEVELS) * BLOCK_SIZE <= 64 << 10);
    let odd = [run((1 << 20) + 1)];
    let (machine, _) = Machine::of(Format::Runs, &facts(bytes_of(&odd)), &odd);
    assert!(machine.kept.len() <= 2 * 18, "{}", machine.kept.len());
    assert!(machine.pages.len() * BLOCK_SIZE <= 64 << 10);
}

/// A folio and what follows it, as mainline's handler writes them: zeros behind what it
/// knows.
#[test]
fn what_mainline_writes_is_read() {
    let runs = [Run {
        index: 4,
        frame: 0x4000,
        pages: 8,
        order: 2,
        fresh: false,
    }];
    let of_mainline = Facts {
        more: None,
        ..facts(12 * BLOCK_SIZE as u64)
    };
    let (machine, address) = Machine::of(Format::Mainline, &of_mainline, &runs);
    let head = &machine.pages[&address];
    assert!(head[48..].iter().all(|&byte| byte == 0));
    let found = read(&machine, Format::Mainline, address).unwrap();
    assert_eq!(found.facts, of_mainline);
    assert_eq!(&found.runs[..], &runs);
    // Of its own format it is not.
    let other = read(&machine, Format::Runs, address).map(|_| ());
    assert_eq!(other, Err(Unread::Damaged(Damage::Facts)));
}

/// Damage of each kind, and what is said of it.
#[test]
fn damaged_lists_are_refused() {
    let run = |index, frame| Run {
        index,
        frame,
        pages: 1,
        order: 0,
        fresh: false,
    };
    let refused = |runs: &[Run], size: u64, keep: bool| {
        let (mut machine, address) = Machine::of(Format::Runs, &facts(size), runs);
        if !keep {
            machine.kept.clear();
        }
        read(&machine, Format::Runs, address).map(|_| ())
    };
    let page = BLOCK_SIZE as u64;
    let bad = |at| Err(Unread::Damaged(Damage::Record(at)));
    assert_eq!(refused(&[run(0, 9), run(1, 20)], 2 * page, true), Ok(()));
    // Never preserved.
    assert_eq!(refused(&[run(0, 9)], page, false), bad(0));
    // Twice at one place; out of order; behind the end of the file.
    assert_eq!(refused(&[run(0, 9), run(0, 20)], 2 * page, true), bad(1));
    assert_eq!(refused(&[run(3, 9), run(1, 20)], 4 * page, true), bad(1));
    assert_eq!(refused(&[run(2, 9)], 2 * page, true), bad(0));
    // A folio that is not where one can be.
    let odd = Run {
        order: 1,
        pages: 2,
        ..run(1, 8)
    };
    assert_eq!(refused(&[odd], 4 * page, true), bad(0));
    // The frame 0 is no page of a file.
    assert_eq!(refused(&[run(0, 0)], page, true), bad(0));
    // More than a file can have.
    assert_eq!(
        refused(&[], u64::MAX, true),
        Err(Unread::Damaged(Damage::Size(u64::MAX)))
    );
}

#[test]
fn unknown_features_that_are_required_are_refused() {
    let (mut machine, address) = Machine::of(Format::Runs, &facts(0), &[]);
    let head = machine.pages.get_mut(&address).unwrap();
    let set = |head: &mut [u8], required: u64, optional: u64| {
        let main = wire::Main::read_from_prefix(head).unwrap().0;
        let room = &mut head[wire::FACTS_OFFSET..];
        let mut facts = wire::Facts::read_from_prefix(room).unwrap().0;
        facts.required = required;
        facts.optional = optional;
        facts.checksum = crate::write::checksum(&main, &facts, &strings());
        facts.write_to_prefix(room).unwrap();
    };
    set(head, 0, 8);
    assert!(read(&machine, Format::Runs, address).is_ok());
    set(machine.pages.get_mut(&address).unwrap(), 4, 8);
    let unread = read(&machine, Format::Runs, address).map(|_| ());
    assert_eq!(unread, Err(Unread::Unknown(4)));
}

/// Large folios come apart where the kernel has none so large, and are joined to what it has.
#[test]
fn larger_folios_than_there_are_come_apart() {
    let run = Run {
        index: 1024,
        frame: 4096,
        pages: 1024,
        order: 10,
        fresh: false,
    };
    let orders = |run: Run, most| -> Vec<_> {
        crate::joined(run, most)
            .map(|piece| (piece.order, piece.pages))
            .collect()
    };
    assert_eq!(orders(run, 9), [(9, 1024)]);
    assert_eq!(orders(run, 0), [(0, 1024)]);
    assert_eq!(orders(run, 10), [(10, 1024)]);
    assert_eq!(orders(Run { fresh: true, ..run }, 9), [(0, 1024)]);
}

/// Runs of huge pages of 2 MiB, and what a file of them says of itself.
fn huge(frames: &[u64]) -> (Facts, Vec<Run>) {
    let run = |(at, &frame): (usize, &u64)| Run {
        index: 1024 * at as u64,
        frame,
        pages: 512,
        order: 9,
        fresh: false,
    };
    let runs: Vec<_> = frames.iter().enumerate().map(run).collect();
    let facts = Facts {
        huge: 9,
        ..facts(bytes_of(&runs))
    };
    (facts, runs)
}

#[test]
fn a_file_of_huge_pages_is_for_who_knows_them() {
    let (facts, runs) = huge(&[512, 4096]);
    let (machine, address) = Machine::of(Format::Huge, &facts, &runs);
    let found = read(&machine, Format::Huge, address).unwrap();
    assert_eq!(found.facts, facts);
    assert_eq!(&found.runs[..], &runs[..]);
    // They stay what they are, whatever the kernel joins.
    let most = Format::Huge.join_order(0);
    assert_eq!(crate::joined(runs[0], most).collect::<Vec<_>>(), [runs[0]]);
    // A reader of small pages refuses it, and says why.
    for format in SMALL {
        let refused = read(&machine, format, address).err();
        assert_eq!(refused, Some(Unread::Unknown(wire::REQUIRED_HUGE)));
    }
    // One of huge pages refuses what does not say that it has them.
    let (machine, address) = Machine::of(Format::Runs, &self::facts(0), &[]);
    let refused = read(&machine, Format::Huge, address).err();
    assert_eq!(refused, Some(Unread::Damaged(Damage::Facts)));
}

#[test]
fn pages_that_are_not_the_files_size_are_refused() {
    let refused = |order: u32, change: fn(Run) -> Run| {
        let (facts, runs) = huge(&[1 << 18, 1 << 19]);
        let runs: Vec<_> = runs.into_iter().map(change).collect();
        let facts = Facts {
            huge: order,
            ..facts
        };
        let (machine, address) = Machine::of(Format::Huge, &facts, &runs);
        read(&machine, Format::Huge, address).map(|_| ())
    };
    let damaged = |what| Err(Unread::Damaged(what));
    assert_eq!(refused(9, |run| run), Ok(()));
    // The file has whole pages.
    let size = 1536 * BLOCK_SIZE as u64;
    assert_eq!(refused(18, |run| run), damaged(Damage::Size(size)));
    assert_eq!(refused(8, |run| run), damaged(Damage::Record(0)));
    assert_eq!(refused(19, |run| run), damaged(Damage::Facts));
    let small = |run| Run { order: 0, ..run };
    assert_eq!(refused(9, small), damaged(Damage::Record(0)));
    let fresh = |run| Run { fresh: true, ..run };
    assert_eq!(refused(9, fresh), damaged(Damage::Record(0)));
    let part = |run| Run { pages: 256, ..run };
    assert_eq!(refused(9, part), damaged(Damage::Record(0)));
}

#[test]
fn pools_are_counted_by_size_and_node() {
    use crate::{kept_huge_pages, Pools};
    let mut pools = Pools::new(Block(0, std::vec![0; BLOCK_SIZE]));
    let mut kept = |change: &mut dyn FnMut(&mut Pools<Block>), order, node| {
        change(&mut pools);
        kept_huge_pages(&pools.block().1, order, node)
    };
    assert_eq!(kept(&mut |_| (), 9, None), 0);
    assert_eq!(kept(&mut |pools| assert!(pools.add(9, 0, 3)), 9, None), 3);
    assert_eq!(kept(&mut |pools| assert!(pools.add(9, 1, 4)), 9, None), 7);
    assert_eq!(
        kept(&mut |pools| assert!(pools.add(9, 0, 1)), 9, Some(0)),
        4
    );
    assert_eq!(kept(&mut |pools| assert!(pools.add(18, 0, 1)), 9, None), 8);
    assert_eq!(kept(&mut |pools| pools.remove(9, 0, 4), 9, None), 4);
    assert_eq!(kept(&mut |pools| pools.remove(9, 1, 4), 9, None), 0);
    assert_eq!(kept(&mut |_| (), 18, Some(0)), 1);
    assert_eq!(kept(&mut |_| (), 18, Some(1)), 0);
    // What is there takes no room again; what is not there has none at the end.
    for node in 3..wire::POOLS_PER_PAGE as u32 {
        assert!(pools.add(9, node, 1));
    }
    assert!(!pools.add(9, 1000, 1) && pools.add(9, 1, 1));
    // Damage says nothing.
    let mut page = pools.block().1.clone();
    assert_eq!(kept_huge_pages(&page, 9, Some(1)), 1);
    page[40] ^= 1;
    assert_eq!(kept_huge_pages(&page, 9, Some(1)), 0);
    page[16..24].fill(0xff);
    assert_eq!(kept_huge_pages(&page, 9, None), 0);
    assert_eq!(kept_huge_pages(&std::vec![0; BLOCK_SIZE], 9, None), 0);
}

/// There are no more records than pages of the file: no memory is asked for more.
#[test]
fn records_are_bounded_by_the_file() {
    for format in Format::ALL {
        let (facts, format_pages) = match format {
            Format::Huge => (huge(&[512]).0, 512),
            _ => (facts(BLOCK_SIZE as u64), 1),
        };
        let (mut machine, address) = Machine::of(format, &facts, &[]);
        let head = machine.pages.get_mut(&address).unwrap();
        let mut main = wire::Main::read_from_prefix(head).unwrap().0;
        let per_page = match format {
            Format::Mainline => wire::FOLIOS_PER_PAGE,
            _ => wire::RUNS_PER_PAGE,
        };
        let nothing = if format == Format::Mainline {
            65_536
        } else {
            0
        };
        let count = format_pages + nothing + 1;
        main.count = count;
        main.pages = u32::try_from(count.div_ceil(per_page as u64)).unwrap();
        main.area_flags = wire::AREA_ALLOC;
        let mut known = wire::Facts::read_from_prefix(&head[wire::FACTS_OFFSET..])
            .unwrap()
            .0;
        known.checksum = crate::write::checksum(&main, &known, &strings());
        main.write_to_prefix(head).unwrap();
        known
            .write_to_prefix(&mut head[wire::FACTS_OFFSET..])
            .unwrap();
        let refused = read(&machine, format, address).err();
        assert_eq!(refused, Some(Unread::Damaged(Damage::Count(count))));
        assert_eq!(*machine.asked.borrow(), 1);
    }
}

/// A list of nothing that leads back to itself comes to an end.
#[test]
fn records_of_nothing_have_an_end() {
    let mut machine = Machine::default();
    let mut head = std::vec![0; BLOCK_SIZE];
    let main = wire::Main {
        count: 1 << 31,
        first: 2 * BLOCK_SIZE as u64,
        pages: u32::try_from((1u64 << 31).div_ceil(wire::FOLIOS_PER_PAGE as u64)).unwrap(),
        size: 1 << 43,
        area_flags: wire::AREA_ALLOC,
        ..FromZeros::new_zeroed()
    };
    head[..size_of::<wire::Main>()].copy_from_slice(main.as_bytes());
    machine.pages.insert(BLOCK_SIZE as u64, head);
    let mut chunk = std::vec![0; BLOCK_SIZE];
    for place in chunk.chunks_mut(8) {
        place.copy_from_slice(&(3 * BLOCK_SIZE as u64).to_le_bytes());
    }
    chunk[..8].copy_from_slice(&(2 * BLOCK_SIZE as u64).to_le_bytes());
    machine.pages.insert(2 * BLOCK_SIZE as u64, chunk);
    machine
        .pages
        .insert(3 * BLOCK_SIZE as u64, std::vec![0; BLOCK_SIZE]);
    let refused = read(&machine, Format::Mainline, BLOCK_SIZE as u64).err();
    let is_refused = matches!(refused, Some(Unread::Damaged(Damage::Count(_))));
    assert!(is_refused, "{refused:?}");
    assert!(*machine.asked.borrow() < 1000);
}
