// SPDX-License-Identifier: GPL-2.0-only
//! Reading an ioctl's argument and answering into it.
//!
//! The size-first rule itself is `luo_abi::extend`; here are only the copies.

use core::mem::size_of;

use kernel::prelude::*;
use kernel::uaccess::{UserPtr, UserSlice};
use luo_abi::extend;
use luo_abi::uapi::Argument;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::errno;

/// Bytes that are read without asking for memory; longer arguments are those of
/// programs newer than this kernel.
const ON_STACK: usize = 128;

/// Where the answer goes.
pub(crate) struct Answer {
    to: UserPtr,
    /// Bytes of the program's structure.
    size: usize,
}

/// Reads the argument at `arg`.
///
/// # Errors
/// EFAULT, and those of `luo_abi::extend`.
pub(crate) fn read<T>(arg: usize) -> Result<(T, Answer)>
where
    T: Argument + FromBytes + FromZeros + IntoBytes,
{
    let from = UserPtr::from_addr(arg);
    let size: u32 = UserSlice::new(from, size_of::<u32>()).reader().read()?;
    let size = extend::admit::<T>(size).map_err(errno::to_kernel)?;
    let mut stack = [0u8; ON_STACK];
    let mut heap;
    let bytes = match stack.get_mut(..size) {
        Some(bytes) => bytes,
        None => {
            heap = KVec::from_elem(0u8, size, GFP_KERNEL)?;
            heap.as_mut_slice()
        }
    };
    UserSlice::new(from, size).reader().read_slice(bytes)?;
    let value = extend::decode(bytes).map_err(errno::to_kernel)?;
    Ok((value, Answer { to: from, size }))
}

impl Answer {
    /// Writes `value` back, as much of it as the program knows.
    ///
    /// # Errors
    /// EFAULT.
    pub(crate) fn write<T: IntoBytes + Immutable>(self, value: &T) -> Result {
        let bytes = value.as_bytes();
        let bytes = bytes
            .get(..extend::answer_len::<T>(self.size))
            .unwrap_or(bytes);
        UserSlice::new(self.to, bytes.len())
            .writer()
            .write_slice(bytes)
    }
}
