// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest's state, into preserved memory and out of it. That memory has a fixed size, and was
//! preserved while it was empty.

use std::os::unix::fs::FileExt;

use luo_client::memory::Region;

use crate::exit::Error;
use crate::state::guest::State;
use crate::state::head::{HEAD, Head, LENGTH};

/// Bytes for a state, with its head. One has some 15 KB.
pub const ROOM: u64 = 128 << 10;

/// Writes a state; gives its bytes. The head goes last.
///
/// # Errors
/// [`Error::System`].
pub fn write(to: &Region, state: &State) -> Result<usize, Error> {
    let records = state.encode();
    if records.len() as u64 > to.size().saturating_sub(HEAD) {
        let source = std::io::ErrorKind::FileTooLarge.into();
        let what = "the guest's state".into();
        return Err(Error::System { what, source });
    }
    let head = Head::of(&records);
    let written = to.file().write_all_at(&records, HEAD);
    written.map_err(Error::system("the guest's state"))?;
    put(to, &head.encode())?;
    Ok(records.len())
}

/// Says that there is no state: the guest goes on, and what was written is no longer its state.
///
/// # Errors
/// [`Error::System`].
pub fn forget(region: &Region) -> Result<(), Error> {
    put(region, &[0; LENGTH])
}

/// Says that the guest goes on from this state.
///
/// # Errors
/// [`Error::System`].
pub fn mark_used(region: &Region, head: &Head) -> Result<(), Error> {
    let mut used = *head;
    used.used = true;
    put(region, &used.encode())
}

/// The head of the state in a region; `None` if there is no state.
///
/// # Errors
/// [`Error::State`], [`Error::System`].
pub fn head(region: &Region) -> Result<Option<Head>, Error> {
    let mut bytes = [0; LENGTH];
    let read = region.file().read_exact_at(&mut bytes, 0);
    read.map_err(Error::system("the guest's state"))?;
    Ok(Head::parse(&bytes, region.size().saturating_sub(HEAD))?)
}

/// The state in a region, if it is the one that was written; and its bytes.
///
/// # Errors
/// [`Error::State`], [`Error::System`].
pub fn read(region: &Region, head: &Head) -> Result<(State, usize), Error> {
    // The head was bounded by the region's size.
    let mut records = vec![0; usize::try_from(head.length).unwrap_or_default()];
    let read = region.file().read_exact_at(&mut records, HEAD);
    read.map_err(Error::system("the guest's state"))?;
    head.check(&records)?;
    Ok((State::decode(&records)?, records.len()))
}

fn put(to: &Region, head: &[u8; LENGTH]) -> Result<(), Error> {
    let written = to.file().write_all_at(head, 0);
    written.map_err(Error::system("the guest's state"))
}
