// SPDX-License-Identifier: MIT OR Apache-2.0
//! Notes that a previous kernel left of small files, and its table of PCI devices, damaged or
//! made up.
//!
//! The first byte says of which kind the note is to be, and whether its mark and its checksum
//! are made right, so that what is behind them is looked at. The second and the third say how
//! long the note is said to be, if so; the rest is a page, and another one for what a pipe has
//! held.

use luo_abi::handover::BLOCK_SIZE;
use luo_abi::note::{Eventfd, GuestMemfd, Head, Held, KvmVm, MOST_CAPABILITIES, Pipe, Timerfd};
use luo_abi::pci::PCI_MAGIC;
use luo_core::note::{Note, calls_of, can_be_repeated, read, resumed, write};
use luo_core::pci::Devices;
use luo_core::{Digest, PageError, pipe};
use zerocopy::{FromBytes, IntoBytes};

use crate::show::show;

/// How far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The note was refused.
    Refused,
    /// It was read.
    Read,
}

/// The first byte: the kind, and whether the note is made right.
const IS_TIMER: u8 = 1;
const IS_RIGHT: u8 = 2;
const HAS_LENGTH: u8 = 4;
const IS_PIPE: u8 = 8;
const IS_MACHINE: u8 = 16;
const IS_GUEST_MEMORY: u8 = 32;
const IS_DEVICES: u8 = 64;

/// Bytes of a head before its checksum.
const SUMMED: usize = size_of::<Head>() - size_of::<u64>();

/// Reads a note, and holds what comes of it to what must be true.
pub fn run(data: &[u8]) -> Outcome {
    let [how, low, high, rest @ ..] = data else {
        return Outcome::Refused;
    };
    let mut page = vec![0; BLOCK_SIZE];
    let room = rest.len().min(BLOCK_SIZE);
    page[..room].copy_from_slice(&rest[..room]);
    let length = (how & HAS_LENGTH != 0).then(|| u64::from(u16::from_le_bytes([*low, *high])));
    let is_right = how & IS_RIGHT != 0;
    if how & IS_DEVICES != 0 {
        if is_right {
            put_right_as(&mut page, PCI_MAGIC, length.unwrap_or(0));
        }
        return run_devices(&page);
    }
    if how & IS_PIPE != 0 {
        let behind = rest.get(BLOCK_SIZE..).unwrap_or_default();
        return run_pipe(&mut page, behind, is_right);
    }
    if how & IS_MACHINE != 0 {
        return run_machine(&mut page, is_right, length);
    }
    if how & IS_GUEST_MEMORY != 0 {
        if is_right {
            put_right::<GuestMemfd>(&mut page, length);
        }
        return look::<GuestMemfd>(&page).map_or(Outcome::Refused, |_| Outcome::Read);
    }
    if how & IS_TIMER == 0 {
        if is_right {
            put_right::<Eventfd>(&mut page, length);
        }
        return look::<Eventfd>(&page).map_or(Outcome::Refused, |_| Outcome::Read);
    }
    if is_right {
        put_right::<Timerfd>(&mut page, length);
    }
    let Some(timer) = look::<Timerfd>(&page) else {
        return Outcome::Refused;
    };
    let (wall, ticks) = (timer.wall, timer.ticks);
    for later in [0, 1, u64::from(u32::MAX), u64::MAX] {
        let now = resumed(&timer, wall.saturating_add(later));
        let (left, counted) = (now.left, now.ticks);
        assert!(left <= i64::MAX as u64, "{left} is left");
        assert!(counted >= ticks, "{counted} of {ticks}");
        assert_eq!(resumed(&now, now.wall), now, "time passes where none has");
    }
    // The clock was set back.
    let back = resumed(&timer, 0).left;
    assert!(back <= i64::MAX as u64, "{back} is left");
    Outcome::Read
}

/// Reads a table of devices; one that can be read is written and read again as the same.
fn run_devices(page: &[u8]) -> Outcome {
    let devices = match Devices::read(&page) {
        Ok(devices) => devices,
        Err(why) => {
            show(format_args!("refused: {why}"));
            return Outcome::Refused;
        }
    };
    show(format_args!("{} devices", devices.count()));
    let (mut once, mut again) = (vec![0; BLOCK_SIZE], vec![0; BLOCK_SIZE]);
    devices.write(&mut once);
    let read = Devices::read(&once).expect("what was written can be read");
    read.write(&mut again);
    assert_eq!(once, again);
    Outcome::Read
}

/// Reads a virtual machine's note: what it is set up with is what it says, and nothing else.
fn run_machine(page: &mut [u8], is_right: bool, length: Option<u64>) -> Outcome {
    if is_right {
        put_right::<KvmVm>(page, length);
    }
    let Some(machine) = look::<KvmVm>(page) else {
        return Outcome::Refused;
    };
    let mut count = 0;
    for call in calls_of(&machine) {
        assert!(can_be_repeated(&call), "{call:?}");
        count += 1;
    }
    let said = machine.count;
    assert_eq!(count, said);
    assert!(count <= MOST_CAPABILITIES as u64);
    Outcome::Read
}

/// Where the page is that a pipe's note leads to, if it is not said.
const HELD_AT: u64 = 0x1000;

/// Reads a pipe's note, and the page that it leads to.
fn run_pipe(page: &mut [u8], behind: &[u8], is_right: bool) -> Outcome {
    let mut held = vec![0; BLOCK_SIZE];
    let room = behind.len().min(BLOCK_SIZE);
    held[..room].copy_from_slice(&behind[..room]);
    if is_right {
        put_right::<Pipe>(page, None);
        let length = u64::from_ne_bytes(held[16..24].try_into().expect("eight bytes"));
        let room = BLOCK_SIZE - size_of::<Held>();
        let length = usize::try_from(length).map_or(room, |length| length.min(room));
        let mut digest = Digest::new();
        digest.absorb_bytes(&held[..24]);
        digest.absorb_bytes(&held[size_of::<Held>()..][..length]);
        held[24..32].copy_from_slice(&digest.finish().to_ne_bytes());
    }
    let Some(note) = look::<Pipe>(page) else {
        return Outcome::Refused;
    };
    let mut bytes: u64 = 0;
    let found = |address| match address {
        HELD_AT => Ok(&held),
        _ => Err(PageError::NotPreserved),
    };
    let done = pipe::read(&note, found, |part, is_packet| {
        assert!(!part.is_empty() && part.len() <= BLOCK_SIZE);
        show(format_args!("{} bytes, a packet: {is_packet}", part.len()));
        bytes += part.len() as u64;
        Ok(())
    });
    match done {
        Ok(pages) => {
            let (said, of) = (note.bytes, note.pages);
            assert_eq!((bytes, pages.len() as u64), (said, of));
            Outcome::Read
        }
        Err(why) => {
            show(format_args!("refused: {why:?}"));
            Outcome::Refused
        }
    }
}

/// Gives a page the mark, the length and the checksum of a note.
fn put_right<N: Note>(page: &mut [u8], length: Option<u64>) {
    put_right_as(page, N::MAGIC, length.unwrap_or(size_of::<N>() as u64));
}

/// As that, of what has this mark.
fn put_right_as(page: &mut [u8], magic: [u8; 16], length: u64) {
    let most = BLOCK_SIZE - size_of::<Head>();
    let (bytes, _) = page.split_at(size_of::<Head>());
    let mut head = Head::read_from_bytes(bytes).expect("as long as a head");
    head.magic = magic;
    head.required = 0;
    head.length = length;
    let summed = usize::try_from(head.length).map_or(most, |length| length.min(most));
    let mut digest = Digest::new();
    digest.absorb_bytes(&head.as_bytes()[..SUMMED]);
    digest.absorb_bytes(&page[size_of::<Head>()..][..summed]);
    head.checksum = digest.finish();
    page[..size_of::<Head>()].copy_from_slice(head.as_bytes());
}

/// Reads a note; one that can be read is written and read again as the same.
fn look<N: Note + PartialEq + core::fmt::Debug>(page: &[u8]) -> Option<N> {
    let note = match read::<N>(&page) {
        Ok(note) => note,
        Err(why) => {
            show(format_args!("refused: {why}"));
            return None;
        }
    };
    show(format_args!("{note:?}"));
    assert!(note.is_sane(), "{note:?}");
    let mut again = vec![0; BLOCK_SIZE];
    write(&mut again, &note);
    assert_eq!(read::<N>(&again), Ok(note));
    Some(note)
}
