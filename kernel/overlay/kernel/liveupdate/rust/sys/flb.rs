// SPDX-License-Identifier: GPL-2.0-only
//! `struct liveupdate_flb`: a file-lifecycle-bound global, in C.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::ffi::c_void;
use luo_abi::errno::Errno;
use luo_abi::handover::COMPAT_LENGTH;

use super::handler_table::check_zero;
use super::module::Owner;

/// An FLB's table of callbacks.
///
/// # Invariants
///
/// Points to a `struct liveupdate_flb` with operations; both stay as they are
/// while it is registered, while a [`super::module::ModulePin`] on its owner is
/// held, and during a call of its owner's. The engine keeps tables no longer.
#[derive(Clone, PartialEq)]
pub(crate) struct FlbTable(NonNull<bindings::liveupdate_flb>);

// SAFETY: The table is constant and its callbacks may be called by any task.
unsafe impl Send for FlbTable {}

/// An FLB's live object: a pointer of its owner's.
#[derive(Clone)]
pub(crate) struct FlbObject(NonNull<c_void>);

// SAFETY: Only ever given to the FLB's owner, who shares it among tasks.
unsafe impl Send for FlbObject {}

impl FlbObject {
    /// The pointer, for its owner.
    pub(crate) fn as_ptr(&self) -> *mut c_void {
        self.0.as_ptr()
    }
}

fn raw(object: Option<FlbObject>) -> *mut c_void {
    object.map_or(core::ptr::null_mut(), |object| object.as_ptr())
}

type Args = bindings::liveupdate_flb_op_args;

impl FlbTable {
    /// # Safety
    ///
    /// `flb` is null or meets the type's invariant.
    pub(crate) unsafe fn from_raw(flb: *mut bindings::liveupdate_flb) -> Option<Self> {
        // INVARIANT: By the caller's promise.
        NonNull::new(flb).map(Self)
    }

    fn ops(&self) -> &bindings::liveupdate_flb_ops {
        // SAFETY: By the type's invariant both pointers lead to constant data.
        unsafe { &*(*self.0.as_ptr()).ops }
    }

    /// Whether all callbacks are there.
    pub(crate) fn is_complete(&self) -> bool {
        let ops = self.ops();
        ops.preserve.is_some()
            && ops.unpreserve.is_some()
            && ops.retrieve.is_some()
            && ops.finish.is_some()
    }

    /// The name, in its room.
    pub(crate) fn name(&self) -> [u8; COMPAT_LENGTH] {
        // SAFETY: By the type's invariant the name is there and constant.
        unsafe { (*self.0.as_ptr()).compatible }
    }

    /// The owner of the callbacks.
    pub(crate) fn owner(&self) -> Owner {
        // SAFETY: It is the `owner` of a table that meets the type's invariant.
        unsafe { Owner::new(self.ops().owner) }
    }

    fn args(&self) -> Args {
        Args {
            flb: self.0.as_ptr(),
            ..Default::default()
        }
    }

    /// Saves the state: handle and object.
    pub(crate) fn preserve(&self) -> Result<(u64, Option<FlbObject>), Errno> {
        let mut args = self.args();
        let preserve = self.ops().preserve.ok_or(Errno::EINVAL)?;
        // SAFETY: The arguments are valid for the call.
        check_zero(unsafe { preserve(&mut args) })?;
        Ok((args.data, NonNull::new(args.obj).map(FlbObject)))
    }

    /// Undoes `preserve`.
    pub(crate) fn unpreserve(&self, data: u64, object: Option<FlbObject>) {
        let mut args = Args {
            data,
            obj: raw(object),
            ..self.args()
        };
        if let Some(unpreserve) = self.ops().unpreserve {
            // SAFETY: The arguments are valid for the call.
            unsafe { unpreserve(&mut args) }
        }
    }

    /// Restores the object.
    pub(crate) fn retrieve(&self, data: u64) -> Result<Option<FlbObject>, Errno> {
        let mut args = Args {
            data,
            ..self.args()
        };
        let retrieve = self.ops().retrieve.ok_or(Errno::EINVAL)?;
        // SAFETY: The arguments are valid for the call.
        check_zero(unsafe { retrieve(&mut args) })?;
        Ok(NonNull::new(args.obj).map(FlbObject))
    }

    /// Releases the restored object.
    pub(crate) fn finish(&self, object: Option<FlbObject>) {
        let mut args = Args {
            obj: raw(object),
            ..self.args()
        };
        if let Some(finish) = self.ops().finish {
            // SAFETY: The arguments are valid for the call.
            unsafe { finish(&mut args) }
        }
    }
}
