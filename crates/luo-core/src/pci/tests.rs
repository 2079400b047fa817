// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Tables of devices come back, or are refused; bridges stay as long as they are needed.

use std::vec;
use std::vec::Vec;

use luo_abi::handover::BLOCK_SIZE;

use super::*;

fn at(bdf: u16) -> Place {
    Place { domain: 0, bdf }
}

/// Two devices below a bridge, and one that is below none.
fn three() -> Devices {
    let mut devices = Devices::new();
    devices.add(&[at(0x0108), at(0x0028)]).unwrap();
    devices.add(&[at(0x0020)]).unwrap();
    devices.add(&[at(0x0100), at(0x0028)]).unwrap();
    devices
}

fn page(devices: &Devices) -> Vec<u8> {
    let mut page = vec![0; BLOCK_SIZE];
    devices.write(&mut page);
    page
}

/// The page of [`three`] with other contents, of which the checksum is right.
fn with(change: impl FnOnce(&mut Head, &mut [u8])) -> Vec<u8> {
    let mut page = page(&three());
    let mut head: Head = structure(&page, 0).unwrap();
    change(&mut head, &mut page[size_of::<Head>()..]);
    let length = (head.length as usize).min(BLOCK_SIZE - size_of::<Head>());
    let mut digest = digest_of(&head);
    digest.absorb_bytes(&page[size_of::<Head>()..][..length]);
    head.checksum = digest.finish();
    page[..size_of::<Head>()].copy_from_slice(head.as_bytes());
    page
}

fn refused(page: &[u8]) -> Unread {
    Devices::read(&page).map(|_| ()).unwrap_err()
}

#[test]
fn a_bridge_stays_as_long_as_one_device_needs_it() {
    let mut devices = three();
    assert_eq!(devices.count(), 4);
    assert!(devices.remove(&[at(0x0108), at(0x0028)]));
    assert!(devices.contains(at(0x0028)) && !devices.contains(at(0x0108)));
    assert!(!devices.remove(&[at(0x0108), at(0x0028)]), "it is gone");
    assert!(devices.contains(at(0x0028)), "and counts once");
    assert!(devices.remove(&[at(0x0100), at(0x0028)]));
    assert!(!devices.contains(at(0x0028)));
    assert!(devices.remove(&[at(0x0020)]));
    assert_eq!(devices.count(), 0);
}

#[test]
fn a_device_is_added_once() {
    let mut devices = three();
    let again = devices.add(&[at(0x0108), at(0x0028)]);
    assert_eq!(again, Err(NotAdded::Already));
    assert_eq!(NotAdded::Already.errno(), Errno::EBUSY);
    assert_eq!(devices.add(&[]), Err(NotAdded::NoDevice));
    assert_eq!(page(&devices), page(&three()), "nothing has changed");
}

#[test]
fn what_does_not_fit_is_refused_whole() {
    let mut devices = Devices::new();
    for bdf in 1..MOST as u16 {
        devices.add(&[at(bdf)]).unwrap();
    }
    let before = page(&devices);
    let two = [at(0xff00), at(0xfe00)];
    assert_eq!(devices.add(&two), Err(NotAdded::Full));
    assert_eq!(page(&devices), before);
    devices.add(&two[..1]).unwrap();
    assert_eq!(Devices::read(&page(&devices)).unwrap().count(), MOST);
}

#[test]
fn a_table_comes_back_and_each_bit_of_it_counts() {
    let mut bytes = page(&three());
    let back = Devices::read(&bytes).unwrap();
    assert_eq!(page(&back), bytes);
    let written = size_of::<Head>() + 4 * size_of::<Device>();
    for bit in 0..written * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Devices::read(&bytes).is_err(), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(Devices::read(&bytes).is_ok());
}

#[test]
fn fewer_are_written_over_more() {
    let mut bytes = page(&three());
    Devices::new().write(&mut bytes);
    assert_eq!(Devices::read(&bytes).unwrap().count(), 0);
}

#[test]
fn what_cannot_be_is_refused() {
    for length in [4, 4049, 4056, u64::MAX] {
        let wrong = with(|head, _| head.length = length);
        assert_eq!(refused(&wrong), Unread::Length(length));
    }
    let unused = with(|_, devices| devices[6..8].fill(0));
    assert_eq!(refused(&unused), Unread::Value);
    let twice = with(|_, devices| devices.copy_within(..8, 8));
    assert_eq!(refused(&twice), Unread::Value);
    let swapped = with(|_, devices| devices[..16].rotate_left(8));
    assert_eq!(refused(&swapped), Unread::Value);
    let newer = with(|head, _| head.required = 2);
    assert_eq!(refused(&newer), Unread::Unknown(2));
    assert_eq!(refused(&vec![0; BLOCK_SIZE]), Unread::Mark);
}

#[test]
fn a_place_is_written_as_the_kernel_writes_it() {
    let place = Place {
        domain: 0x1_0000,
        bdf: 0x3a0f,
    };
    assert_eq!(std::format!("{place}"), "10000:3a:01.7");
}

/// A page, and its address.
struct Page(Vec<u8>);

impl BlockMemory for Page {
    fn address(&self) -> u64 {
        0x7000
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

#[test]
fn the_next_kernel_finds_what_goes_on_until_it_is_finished() {
    let mut old = Running::NONE;
    let path = [at(0x0108), at(0x0028)];
    assert_eq!(old.add(&path), Err(NotAdded::NoTable));
    old.begin(Page(vec![0; BLOCK_SIZE]));
    old.add(&path).unwrap();
    old.add(&[at(0x0020)]).unwrap();
    old.remove(&[at(0x0020)]);
    assert!(old.goes_on(at(0x0028)) && !old.goes_on(at(0x0020)));
    let (_, Page(left)) = old.end().unwrap();
    assert!(!old.goes_on(at(0x0028)));

    let mut new = Running::<Page>::NONE;
    assert!(!new.is_incoming(at(0x0108)));
    new.arrive(Devices::read(&left).unwrap(), 0x7000);
    assert!(new.is_incoming(at(0x0108)) && new.is_incoming(at(0x0028)));
    new.finish(&path);
    assert!(!new.is_incoming(at(0x0108)) && !new.is_incoming(at(0x0028)));
    assert_eq!(new.finish_all(), Some((0x7000, 0)));
    assert!(new.had_incoming(), "its buses keep their numbers");
}

#[test]
fn what_nobody_has_finished_is_told() {
    let mut running = Running::<Page>::NONE;
    running.arrive(three(), 0x7000);
    assert_eq!(running.finish_all(), Some((0x7000, 4)));
    assert_eq!(running.finish_all(), None);
}
