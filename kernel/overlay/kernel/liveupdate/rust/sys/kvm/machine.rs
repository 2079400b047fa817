// SPDX-License-Identifier: GPL-2.0-only
//! Virtual machines.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::error::{from_err_ptr, to_result};
use kernel::fs::File;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use luo_abi::note::{Capability, KvmVm, IRQCHIP, MOST_CAPABILITIES, PIT, PIT_SPEAKER};
use luo_core::note::NO_CALL;

use super::{has, ops, OF_MACHINES};

const _: () = {
    assert!(MOST_CAPABILITIES == bindings::LUO_KVM_CALLS as usize);
    assert!(size_of::<Capability>() == size_of::<bindings::luo_kvm_call>());
    assert!(IRQCHIP == bindings::LUO_KVM_IRQCHIP as u64);
    assert!(PIT == bindings::LUO_KVM_PIT as u64);
    assert!(PIT_SPEAKER == bindings::LUO_KVM_PIT_SPEAKER as u64);
};

/// Whether a file is a virtual machine.
pub(crate) fn is_machine(file: &File) -> bool {
    has(file, &OF_MACHINES)
}

/// The number of a machine, as long as it is open: the address of what KVM has of it, which is
/// not followed.
pub(crate) fn number(machine: &File) -> u64 {
    // SAFETY: The file is open. KVM sets this when it makes a machine, and never again.
    unsafe { (*machine.as_ptr()).private_data as u64 }
}

/// What a machine was set up with.
///
/// # Errors
/// EINVAL for another file; EOPNOTSUPP for a machine that cannot be made anew; EIO for one that
/// is dead.
pub(crate) fn look(file: &File) -> Result<KvmVm> {
    let mut what = bindings::luo_kvm_machine::default();
    let mut calls = [bindings::luo_kvm_call::default(); MOST_CAPABILITIES];
    if !is_machine(file) {
        return Err(EINVAL);
    }
    // SAFETY: The machine is open for the whole call.
    let ops = unsafe { ops() }?;
    let (look, copy) = ops.look.zip(ops.calls).ok_or(EINVAL)?;
    // SAFETY: It is a machine, and the structure is valid for writes.
    to_result(unsafe { look(file.as_ptr(), &mut what) })?;
    // SAFETY: It is a machine, and there is room for so many calls.
    let count = unsafe { copy(file.as_ptr(), calls.as_mut_ptr()) };
    let mut note = KvmVm {
        kind: what.kind,
        identity: what.identity,
        devices: what.devices,
        count: count.into(),
        calls: [NO_CALL; MOST_CAPABILITIES],
    };
    for (to, from) in note.calls.iter_mut().zip(&calls).take(count as usize) {
        *to = Capability {
            cap: from.cap,
            flags: from.flags,
            args: from.args,
        };
    }
    Ok(note)
}

/// A machine that is being made, which nobody else has. Called by the handler that restores it.
///
/// # Invariants
///
/// It is a machine of KVM's, and the reference is the only one.
pub(crate) struct New(ARef<File>);

impl New {
    /// A machine of a kind that is set up with nothing.
    ///
    /// # Errors
    /// Those of KVM_CREATE_VM; EAGAIN for a task that is no process's.
    pub(crate) fn make(kind: u64, identity: u64) -> Result<Self> {
        // SAFETY: The handler is called, so the engine holds the module.
        let make = unsafe { ops() }?.make.ok_or(EINVAL)?;
        // SAFETY: Takes any numbers.
        let file = from_err_ptr(unsafe { make(kind, identity) })?;
        let file = NonNull::new(file).ok_or(ENOMEM)?;
        // SAFETY: The file is new: its one reference is ours, and nobody is in `fdget_pos` with it.
        // INVARIANT: As KVM has made it.
        Ok(Self(unsafe { ARef::from_raw(file.cast()) }))
    }

    /// Makes devices of it.
    ///
    /// # Errors
    /// Those of KVM_CREATE_IRQCHIP and KVM_CREATE_PIT2.
    pub(crate) fn furnish(&self, devices: u64) -> Result {
        // SAFETY: The machine is open for the whole call.
        let furnish = unsafe { ops() }?.furnish.ok_or(EINVAL)?;
        // SAFETY: By the type's invariant.
        to_result(unsafe { furnish(self.0.as_ptr(), devices) })
    }

    /// Repeats a call of KVM_ENABLE_CAP.
    ///
    /// # Errors
    /// Its errors.
    pub(crate) fn repeat(&self, call: &Capability) -> Result {
        let call = bindings::luo_kvm_call {
            cap: call.cap,
            flags: call.flags,
            args: call.args,
        };
        // SAFETY: The machine is open for the whole call.
        let repeat = unsafe { ops() }?.repeat.ok_or(EINVAL)?;
        // SAFETY: By the type's invariant, and the structure is valid for reads.
        to_result(unsafe { repeat(self.0.as_ptr(), &call) })
    }

    /// The file, which is complete.
    pub(crate) fn into_file(self) -> ARef<File> {
        self.0
    }
}
