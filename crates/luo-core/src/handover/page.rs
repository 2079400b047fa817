// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Pages of a handover and records in them.

use luo_abi::handover::SessionRecord;
use zerocopy::{FromBytes, IntoBytes};

use crate::handover::block::HandedMemory;
use crate::handover::refusal::{Area, PageError, Refusal};
use crate::host::Host;
use crate::table::hash::Digest;

/// A session's record as the digest has it: without its address.
pub(super) fn absorb_session(digest: &mut Digest, record: &SessionRecord) {
    digest.absorb_bytes(&record.name);
    digest.absorb(0);
    digest.absorb(record.file_count);
}

pub(super) fn page<H: Host>(host: &H, area: Area, address: u64) -> Result<H::Page, Refusal> {
    host.read_page(address)
        .map_err(|why: PageError| Refusal::Page { area, address, why })
}

/// Where record number `at` begins behind a header.
pub(super) fn offset_of_record<R>(header: usize, at: usize) -> usize {
    at.saturating_mul(size_of::<R>()).saturating_add(header)
}

/// The record that begins at an offset of a page, if it ends on it.
pub(super) fn record<R: FromBytes + IntoBytes>(
    page: &impl HandedMemory,
    offset: usize,
) -> Option<R> {
    let mut record = R::new_zeroed();
    page.copy(offset, record.as_mut_bytes()).then_some(record)
}
