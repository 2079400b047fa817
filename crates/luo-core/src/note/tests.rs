// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Notes come back, or are refused.

use std::vec;
use std::vec::Vec;

use luo_abi::note::{Eventfd, Head, NONBLOCK};
use zerocopy::IntoBytes;

use super::*;

const NOTE: Eventfd = Eventfd {
    count: 77,
    flags: NONBLOCK,
};

fn page() -> Vec<u8> {
    let mut page = vec![0; BLOCK_SIZE];
    write(&mut page, &NOTE);
    page
}

/// The page with another head, of which the checksum is right.
fn with_head(change: impl FnOnce(&mut Head), behind: &[u8]) -> Vec<u8> {
    let mut page = page();
    let mut head = structure::<Head>(&page, 0).unwrap();
    change(&mut head);
    page[size_of::<Head>()..][..behind.len()].copy_from_slice(behind);
    let length = (head.length as usize).min(BLOCK_SIZE - size_of::<Head>());
    let mut digest = digest_of(&head);
    digest.absorb_bytes(&page[size_of::<Head>()..][..length]);
    head.checksum = digest.finish();
    page[..size_of::<Head>()].copy_from_slice(head.as_bytes());
    page
}

#[test]
fn a_note_comes_back_and_each_bit_of_it_counts() {
    let mut page = page();
    assert_eq!(read::<Eventfd>(&page), Ok(NOTE));
    for bit in 0..(size_of::<Head>() + size_of::<Eventfd>()) * 8 {
        page[bit / 8] ^= 1 << (bit % 8);
        assert!(read::<Eventfd>(&page).is_err(), "bit {bit}");
        page[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(read::<Eventfd>(&page), Ok(NOTE));
}

#[test]
fn a_note_is_written_over_another() {
    let mut page = page();
    let other = Eventfd { count: 0, flags: 0 };
    write(&mut page, &other);
    assert_eq!(read::<Eventfd>(&page), Ok(other));
}

#[test]
fn what_a_later_kernel_has_added_is_passed_over_unless_it_is_required() {
    let more = [NOTE.as_bytes(), &[9; 24]].concat();
    let longer = with_head(|head| (head.length, head.optional) = (40, 5), &more);
    assert_eq!(read::<Eventfd>(&longer), Ok(NOTE));
    let required = with_head(|head| head.required = 4, &more);
    let refused = read::<Eventfd>(&required).unwrap_err();
    assert_eq!(refused, Unread::Unknown(4));
    assert_eq!(refused.errno(), Errno::EOPNOTSUPP);
}

#[test]
fn lengths_that_cannot_be_are_refused() {
    for length in [0, 8, 15, 17, BLOCK_SIZE as u64, u64::MAX] {
        let page = with_head(|head| head.length = length, NOTE.as_bytes());
        let refused = read::<Eventfd>(&page).unwrap_err();
        assert_eq!(refused, Unread::Length(length));
        assert_eq!(refused.errno(), Errno::EINVAL);
    }
}

#[test]
fn what_no_file_can_be_is_refused() {
    let odd = Eventfd { count: 1, flags: 4 };
    let page = with_head(|_| {}, odd.as_bytes());
    assert_eq!(read::<Eventfd>(&page), Err(Unread::Value));
    assert_eq!(read::<Eventfd>(&vec![0; 4096]), Err(Unread::Mark));
    assert_eq!(read::<Eventfd>(&vec![0; 8]), Err(Unread::Mark));
}
