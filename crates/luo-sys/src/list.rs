// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls that list: page after page until the end.

use core::mem::size_of;
use std::os::fd::AsFd;

use luo_abi::contract::List;
use rustix::io::Errno;
use zerocopy::{FromBytes, IntoBytes};

use crate::call::with_pointer;
use crate::error::{Error, Result};

/// Entries that are asked for at once.
const PAGE: u32 = 64;

/// How often a list is begun anew because it has changed under the cursor.
const ATTEMPTS: u32 = 16;

/// A call that lists, and what of.
#[derive(Clone, Copy)]
pub(crate) struct Query {
    pub(crate) command: u32,
    pub(crate) flags: u32,
    pub(crate) token: u64,
}

/// All entries. `T` must be the entry structure of the query's command.
///
/// # Errors
/// ESTALE if the list changes faster than it can be read; EIO if an answer is
/// no page of a list; else whatever the kernel answers.
pub(crate) fn all<T>(fd: &impl AsFd, query: Query) -> Result<Vec<T>>
where
    T: FromBytes + IntoBytes + Clone,
{
    let mut result = Err(Errno::STALE);
    for _ in 0..ATTEMPTS {
        result = once(fd, query);
        if !matches!(result, Err(Errno::STALE)) {
            break;
        }
    }
    result.map_err(Error::of_command(query.command))
}

fn once<T>(fd: &impl AsFd, query: Query) -> core::result::Result<Vec<T>, Errno>
where
    T: FromBytes + IntoBytes + Clone,
{
    let mut all = Vec::new();
    let mut cursor = 0;
    loop {
        let mut entries = vec![T::new_zeroed(); PAGE as usize];
        let (count, next) = page(fd, query, cursor, &mut entries)?;
        if count > entries.len() || (count == 0 && next != 0) {
            return Err(Errno::IO);
        }
        entries.truncate(count);
        all.append(&mut entries);
        if next == 0 {
            return Ok(all);
        }
        cursor = next;
    }
}

/// One page: how many entries there are in it, and the next cursor.
fn page<T>(
    fd: &impl AsFd,
    query: Query,
    cursor: u64,
    entries: &mut [T],
) -> core::result::Result<(usize, u64), Errno>
where
    T: FromBytes + IntoBytes,
{
    let pointer: *mut T = entries.as_mut_ptr();
    let capacity = u32::try_from(entries.len()).map_err(|_| Errno::INVAL)?;
    let mut argument = List {
        size: size_of::<List>() as u32,
        flags: query.flags,
        cursor,
        entries: pointer.expose_provenance() as u64,
        entry_size: size_of::<T>() as u32,
        capacity,
        count: 0,
        reserved: 0,
        total: 0,
        token: query.token,
    };
    let argument_pointer: *mut List = &mut argument;
    // SAFETY: `argument` is borrowed for the call and as long as its size field
    // says. Through the address in it the kernel writes at most `capacity`
    // entries of `entry_size` bytes, which is the exclusively borrowed slice;
    // any bytes are valid entries (`FromBytes`).
    unsafe { with_pointer(fd, query.command, argument_pointer.cast()) }?;
    Ok((argument.count as usize, argument.cursor))
}
