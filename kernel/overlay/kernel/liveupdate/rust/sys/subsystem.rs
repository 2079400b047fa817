// SPDX-License-Identifier: GPL-2.0-only
//! `struct liveupdate_subsystem`: a participant in updates, in C.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::prelude::*;
use luo_abi::bytes;
use luo_abi::errno::Errno;
use luo_abi::handover::COMPAT_LENGTH;

use super::handler_table::check_zero;
use super::module::Owner;

/// A subsystem's table of callbacks.
///
/// # Invariants
///
/// Points to a `struct liveupdate_subsystem` with operations and a name, all of
/// which stay as they are while it is registered, while a
/// [`super::module::ModulePin`] on its owner is held, and during a call of its
/// owner's. The engine keeps tables no longer.
#[derive(Clone, PartialEq)]
pub(crate) struct SubsystemTable(NonNull<bindings::liveupdate_subsystem>);

// SAFETY: The table is constant and its callbacks may be called by any task.
unsafe impl Send for SubsystemTable {}

impl SubsystemTable {
    /// `None` if there is no subsystem, or it has no operations or no name.
    ///
    /// # Safety
    ///
    /// `subsystem` is null or points to a subsystem; what that points to meets the
    /// type's invariant.
    pub(crate) unsafe fn from_raw(subsystem: *mut bindings::liveupdate_subsystem) -> Option<Self> {
        let subsystem = NonNull::new(subsystem)?;
        // SAFETY: By the caller's promise.
        let (ops, name) = unsafe { ((*subsystem.as_ptr()).ops, (*subsystem.as_ptr()).name) };
        if ops.is_null() || name.is_null() {
            return None;
        }
        // INVARIANT: By the caller's promise, and both are there.
        Some(Self(subsystem))
    }

    fn raw(&self) -> &bindings::liveupdate_subsystem {
        // SAFETY: By the type's invariant it is there and constant.
        unsafe { self.0.as_ref() }
    }

    fn ops(&self) -> &bindings::liveupdate_subsystem_ops {
        // SAFETY: By the type's invariant they are there and constant.
        unsafe { &*self.raw().ops }
    }

    /// The name in a room for names, or `None` if it is too long for one.
    pub(crate) fn name(&self) -> Option<[u8; COMPAT_LENGTH]> {
        // SAFETY: By the type's invariant it is there, constant and terminated.
        let name = unsafe { CStr::from_char_ptr(self.raw().name) }.to_bytes_with_nul();
        let mut room = [0; COMPAT_LENGTH];
        bytes::copy(room.get_mut(..name.len())?, name);
        Some(room)
    }

    /// The owner of the callbacks.
    pub(crate) fn owner(&self) -> Owner {
        // SAFETY: It is the `owner` of a table that meets the type's invariant.
        unsafe { Owner::new(self.ops().owner) }
    }

    /// Gets ready for an update. Answers what is left for the next kernel.
    pub(crate) fn prepare(&self) -> Result<u64, Errno> {
        let mut data = 0;
        if let Some(prepare) = self.ops().prepare {
            // SAFETY: The argument is the subsystem's own; the data is valid for
            // the call.
            check_zero(unsafe { prepare(self.raw().arg, &mut data) })?;
        }
        Ok(data)
    }

    /// The last look before the kexec. Answers what is left for the next kernel.
    pub(crate) fn freeze(&self, data: u64) -> Result<u64, Errno> {
        let mut data = data;
        if let Some(freeze) = self.ops().freeze {
            // SAFETY: As for `prepare`.
            check_zero(unsafe { freeze(self.raw().arg, &mut data) })?;
        }
        Ok(data)
    }

    /// Undoes `prepare`, and `freeze` if there was one.
    pub(crate) fn cancel(&self, data: u64) {
        if let Some(cancel) = self.ops().cancel {
            // SAFETY: The argument is the subsystem's own.
            unsafe { cancel(self.raw().arg, data) }
        }
    }

    /// The update is over: lets go of what the previous kernel left.
    pub(crate) fn finish(&self, data: u64) {
        if let Some(finish) = self.ops().finish {
            // SAFETY: The argument is the subsystem's own.
            unsafe { finish(self.raw().arg, data) }
        }
    }
}
