// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! A call that is being handled: reading its argument and answering into it.

use core::mem::size_of;

use luo_abi::calls::Call;
use luo_abi::errno::Errno;
use luo_abi::extend;
use luo_abi::uapi::Argument;
use luo_core::{Actor, Error};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::caller::Caller;
use crate::host::CallHost;
use crate::log;

/// A call that is being handled.
pub(crate) struct Request<'a, H, C> {
    pub(crate) host: &'a H,
    pub(crate) caller: &'a C,
    /// Its row in the table.
    pub(crate) call: &'static Call,
    /// The address of its argument.
    pub(crate) argument: u64,
}

/// Where the answer goes.
pub(crate) struct Answer<'a, C> {
    caller: &'a C,
    to: u64,
    /// Bytes of the program's structure.
    size: usize,
}

impl<'a, H, C: Caller> Request<'a, H, C> {
    /// Reads an argument that begins with its size.
    ///
    /// # Errors
    /// EFAULT, and those of [`luo_abi::extend`].
    pub(crate) fn read<T>(&self) -> Result<(T, Answer<'a, C>), Errno>
    where
        T: Argument + FromBytes + FromZeros + IntoBytes,
    {
        let mut size = [0; size_of::<u32>()];
        self.caller.read(self.argument, &mut size)?;
        let size = extend::admit::<T>(u32::from_ne_bytes(size))?;
        let value = extend::read(size, |offset, to| {
            let from = self.argument.checked_add(offset as u64);
            self.caller.read(from.ok_or(Errno::EFAULT)?, to)
        })?;
        Ok((value, self.answer(size)))
    }

    /// Reads an argument of a fixed size.
    ///
    /// # Errors
    /// EFAULT.
    pub(crate) fn read_fixed<T>(&self) -> Result<(T, Answer<'a, C>), Errno>
    where
        T: FromBytes + FromZeros + IntoBytes,
    {
        let mut value = T::new_zeroed();
        self.caller.read(self.argument, value.as_mut_bytes())?;
        Ok((value, self.answer(size_of::<T>())))
    }

    /// On whose behalf the engine is to act.
    pub(crate) fn actor(&self) -> Actor {
        self.caller.actor()
    }

    /// The place for an answer of a size, where the argument is.
    pub(crate) fn answer(&self, size: usize) -> Answer<'a, C> {
        Answer {
            caller: self.caller,
            to: self.argument,
            size,
        }
    }
}

impl<H: CallHost, C> Request<'_, H, C> {
    /// The errno of what may have been refused because users together have so much; the
    /// administrator is told of that.
    pub(crate) fn refusal(&self, why: &Error) -> Errno {
        log::users_over_quota(self.host, why);
        why.errno()
    }
}

impl<C: Caller> Answer<'_, C> {
    /// Writes `value` back, as much of it as the program knows.
    ///
    /// # Errors
    /// EFAULT.
    pub(crate) fn write<T: IntoBytes + Immutable>(&self, value: &T) -> Result<(), Errno> {
        let bytes = value.as_bytes();
        let known = bytes.get(..extend::answer_len::<T>(self.size));
        self.caller.write(self.to, known.unwrap_or(bytes))
    }

    /// Writes it once more if the number in it, which `number` finds, turns out to be
    /// another. The descriptor is there by now: that the memory has gone since is the
    /// business of the program's other thread, which took it.
    pub(crate) fn amend<T: IntoBytes + Immutable>(
        &self,
        value: &mut T,
        number: impl FnOnce(&mut T) -> &mut i32,
        fd: i32,
    ) {
        let told = number(value);
        if *told != fd {
            *told = fd;
            let _ = self.write(value);
        }
    }
}
