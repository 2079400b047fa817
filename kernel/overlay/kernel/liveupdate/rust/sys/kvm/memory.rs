// SPDX-License-Identifier: GPL-2.0-only
//! Memory of virtual machines (guest_memfd).

use core::ptr::NonNull;

use kernel::bindings;
use kernel::error::from_err_ptr;
use kernel::fs::File;
use kernel::prelude::*;
use kernel::sync::aref::ARef;

use super::machine::is_machine;
use super::{has, ops, OF_MEMORY};

/// Whether a file is memory of a virtual machine.
pub(crate) fn is_memory(file: &File) -> bool {
    has(file, &OF_MEMORY)
}

/// What KVM knows of such memory.
pub(crate) type What = bindings::luo_kvm_memory;

/// Memory of a virtual machine, which is open.
///
/// # Invariants
///
/// It is such a file.
#[derive(Clone, Copy)]
pub(crate) struct Memory<'a>(&'a File);

impl<'a> Memory<'a> {
    /// A file, if it is that.
    pub(crate) fn of(file: &'a File) -> Option<Self> {
        // INVARIANT: Just looked.
        is_memory(file).then_some(Self(file))
    }

    /// Runs a callback of KVM's, if there is one.
    fn with<C, R>(
        self,
        pick: impl FnOnce(&bindings::luo_kvm_ops) -> Option<C>,
        run: impl FnOnce(C, *mut bindings::file) -> R,
    ) -> Option<R> {
        // SAFETY: By the type's invariant a file of KVM's is open for the whole call.
        let callback = unsafe { ops() }.ok().and_then(pick)?;
        Some(run(callback, self.0.as_ptr()))
    }

    /// What KVM knows of it.
    pub(crate) fn look(self) -> What {
        let mut what = What::default();
        self.with(
            |ops| ops.look_memory,
            // SAFETY: By the type's invariant, and the structure is valid for writes.
            |look, file| unsafe { look(file, &mut what) },
        );
        what
    }

    /// Sees to it that no page goes from now on. False if somebody is at it right now.
    pub(crate) fn hold(self) -> bool {
        // SAFETY: By the type's invariant.
        let held = self.with(|ops| ops.hold, |hold, file| unsafe { hold(file) });
        held.unwrap_or(false)
    }

    /// Undoes [`Self::hold`].
    pub(crate) fn let_go(self) {
        // SAFETY: By the type's invariant.
        self.with(|ops| ops.let_go, |let_go, file| unsafe { let_go(file) });
    }

    /// Lets nobody begin to bring a page in.
    pub(crate) fn freeze(self) {
        // SAFETY: By the type's invariant.
        self.with(|ops| ops.freeze, |freeze, file| unsafe { freeze(file) });
    }

    /// Whether all who had begun before [`Self::freeze`] have ended.
    pub(crate) fn is_still(self) -> bool {
        let still = self.with(
            |ops| ops.is_still,
            // SAFETY: By the type's invariant.
            |is_still, file| unsafe { is_still(file) },
        );
        still.unwrap_or(false)
    }

    /// Undoes [`Self::freeze`].
    pub(crate) fn thaw(self) {
        // SAFETY: By the type's invariant.
        self.with(|ops| ops.thaw, |thaw, file| unsafe { thaw(file) });
    }
}

/// Makes memory of a machine, without a page.
///
/// # Errors
/// EINVAL if the other file is no machine, or one that has no memory of this size and with these
/// flags; ENOMEM, or those of making a file.
pub(crate) fn make(machine: &File, size: u64, flags: u64) -> Result<ARef<File>> {
    if !is_machine(machine) {
        return Err(EINVAL);
    }
    // SAFETY: The machine is open for the whole call.
    let make = unsafe { ops() }?.make_memory.ok_or(EINVAL)?;
    // SAFETY: It is a machine; the callee looks at the numbers.
    let file = from_err_ptr(unsafe { make(machine.as_ptr(), size, flags) })?;
    let file = NonNull::new(file).ok_or(ENOMEM)?;
    // SAFETY: The file is new: its one reference is ours, and nobody is in `fdget_pos` with it.
    Ok(unsafe { ARef::from_raw(file.cast()) })
}
