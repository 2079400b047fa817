// SPDX-License-Identifier: GPL-2.0-only
//! Memory control groups that pay for what comes back.

use core::ptr::NonNull;

use kernel::bindings;
use luo_abi::memfd::GROUP_LENGTH;
use luo_memfd::Short;

/// A memory control group that pays.
///
/// # Invariants
///
/// There is a reference to it.
pub(crate) struct Group(NonNull<bindings::mem_cgroup>);

// SAFETY: A group belongs to no task.
unsafe impl Send for Group {}

impl Group {
    /// The group with a path, if there is one.
    pub(crate) fn of_path(path: &Short<GROUP_LENGTH>) -> Option<Self> {
        // SAFETY: The room has a byte for the end of the string.
        let group = unsafe { bindings::luo_memfd_group(path.room().as_ptr().cast()) };
        // INVARIANT: The callee has taken a reference.
        NonNull::new(group).map(Self)
    }

    /// Does something that the group is charged for.
    pub(crate) fn charged<R>(&self, work: impl FnOnce() -> R) -> R {
        // SAFETY: By the type's invariant the group stays for as long as it is charged. What
        // was charged before is still held by who set it, and this is the same task.
        let before = unsafe { bindings::luo_memfd_charge(self.0.as_ptr()) };
        let done = work();
        // SAFETY: As above.
        unsafe { bindings::luo_memfd_charge_again(before) };
        done
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant.
        unsafe { bindings::luo_memfd_group_put(self.0.as_ptr()) }
    }
}
