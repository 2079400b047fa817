// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reading an ioctl's argument and answering into it.
//!
//! The size-first rule itself is `luo_abi::extend`; here are only the copies.

use luo_abi::errno::Errno;
use luo_abi::extend;
use luo_abi::uapi::Argument;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::call::Client;

/// Where the answer goes.
pub(crate) struct Answer<'a> {
    caller: &'a dyn Client,
    to: u64,
    /// Bytes of the program's structure.
    size: usize,
}

/// Reads the argument at an address.
///
/// # Errors
/// EFAULT, and those of `luo_abi::extend`.
pub(crate) fn read<'a, T>(caller: &'a dyn Client, from: u64) -> Result<(T, Answer<'a>), Errno>
where
    T: Argument + FromBytes + FromZeros + IntoBytes,
{
    let mut size = [0; size_of::<u32>()];
    caller.read(from, &mut size)?;
    let size = extend::admit::<T>(u32::from_ne_bytes(size))?;
    let mut bytes = vec![0; size];
    caller.read(from, &mut bytes)?;
    let to = Answer {
        caller,
        to: from,
        size,
    };
    Ok((extend::decode(&bytes)?, to))
}

impl Answer<'_> {
    /// Writes `value` back, as much of it as the program knows.
    ///
    /// # Errors
    /// EFAULT.
    pub(crate) fn write<T: IntoBytes + Immutable>(&self, value: &T) -> Result<(), Errno> {
        let length = extend::answer_len::<T>(self.size);
        let bytes = value.as_bytes();
        self.caller
            .write(self.to, bytes.get(..length).unwrap_or(bytes))
    }

    /// Writes to another place of the program's.
    ///
    /// # Errors
    /// EFAULT.
    pub(crate) fn write_to(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.caller.write(address, bytes)
    }
}

/// Reads an argument of a fixed size.
///
/// # Errors
/// EFAULT.
pub(crate) fn read_fixed<T>(caller: &dyn Client, from: u64) -> Result<T, Errno>
where
    T: FromBytes + FromZeros + IntoBytes,
{
    let mut value = T::new_zeroed();
    caller.read(from, value.as_mut_bytes())?;
    Ok(value)
}

/// Writes an answer of a fixed size.
///
/// # Errors
/// EFAULT.
pub(crate) fn write_fixed<T>(caller: &dyn Client, to: u64, value: &T) -> Result<(), Errno>
where
    T: IntoBytes + Immutable,
{
    caller.write(to, value.as_bytes())
}
