// SPDX-License-Identifier: GPL-2.0-only
//! Memfds of huge pages, where they differ from others: the control group that pays, the node of
//! a page, and what the pools are told at boot.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::ffi::{c_int, c_uint, c_ulong};
use luo_abi::handover::BLOCK_SIZE;
use luo_abi::memfd::GROUP_LENGTH;
use luo_memfd::Short;

/// A control group of huge pages that pays.
///
/// # Invariants
///
/// There is a reference to it.
pub(super) struct HugeGroup(NonNull<bindings::hugetlb_cgroup>);

// SAFETY: A group belongs to no task.
unsafe impl Send for HugeGroup {}

impl HugeGroup {
    /// The group with a path, if there is one.
    pub(super) fn of_path(path: &Short<GROUP_LENGTH>) -> Option<Self> {
        // SAFETY: The room has a byte for the end of the string.
        let group = unsafe { bindings::luo_hugetlb_group(path.room().as_ptr().cast()) };
        // INVARIANT: The callee has taken a reference.
        NonNull::new(group).map(Self)
    }

    /// For C, which takes null for the caller's.
    pub(super) fn as_ptr(of: Option<&Self>) -> *mut bindings::hugetlb_cgroup {
        of.map_or(core::ptr::null_mut(), |group| group.0.as_ptr())
    }
}

impl Drop for HugeGroup {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant.
        unsafe { bindings::luo_hugetlb_group_put(self.0.as_ptr()) }
    }
}

/// The number of the node that a page frame is on, which a run of a file has.
pub(crate) fn node_of(frame: u64) -> u32 {
    // SAFETY: Takes any frame of memory; it does not follow it.
    let node = unsafe { bindings::luo_memfd_node(frame) };
    u32::try_from(node).unwrap_or(0)
}

/// How many huge pages of an order come with the previous kernel's files, on a node or, if it
/// is none, on all. Nothing of ours is set up yet.
///
/// # Safety
///
/// `page` is a page of memory, of which nobody changes a byte meanwhile.
#[no_mangle]
unsafe extern "C" fn luo_rust_huge_pages_kept(
    page: *const core::ffi::c_void,
    order: c_uint,
    node: c_int,
) -> c_ulong {
    // SAFETY: By the caller's promise.
    let page = unsafe { core::slice::from_raw_parts(page.cast::<u8>(), BLOCK_SIZE) };
    let kept = luo_memfd::kept_huge_pages(&page, order, u32::try_from(node).ok());
    c_ulong::try_from(kept).unwrap_or(c_ulong::MAX)
}
