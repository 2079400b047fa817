// SPDX-License-Identifier: GPL-2.0-only
//! The memory account of work that is done for the whole machine.
//!
//! Memory is charged to the control group of the task that asks for it. Work that is done for
//! all would then depend on the task that comes first: a group that is full would make a reboot
//! lose a guest, or an object that many sessions share fail for all of them.

use core::marker::PhantomData;

use kernel::bindings;

/// As long as it is there, memory that the calling task asks for is charged to the machine:
/// to the control group that has no limit.
struct Scope {
    /// The group that was charged before.
    before: *mut bindings::mem_cgroup,
    /// The scope is one of the task that began it.
    of_task: PhantomData<*const ()>,
}

impl Scope {
    fn begin() -> Self {
        // SAFETY: Called as a task. The root group is always there.
        let before = unsafe { bindings::luo_shim_charge_machine() };
        Self {
            before,
            of_task: PhantomData,
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        // SAFETY: The task is the one that began the scope, because the scope cannot be sent
        // to another, and what was charged before is still held by who set it.
        unsafe { bindings::luo_shim_charge_again(self.before) }
    }
}

/// Does something that the machine is charged for.
pub(crate) fn of_machine<R>(work: impl FnOnce() -> R) -> R {
    of_machine_if(true, work)
}

/// Does something that the machine is charged for if it is done for all, and else who asks.
pub(crate) fn of_machine_if<R>(is_for_all: bool, work: impl FnOnce() -> R) -> R {
    let _scope = is_for_all.then(Scope::begin);
    work()
}
