// SPDX-License-Identifier: GPL-2.0-only
//! Queues of work: one that Rust for Linux has no name for yet, and one of our own.

use kernel::bindings;
use kernel::workqueue::Queue;

/// The system's queue for work that is bound to no processor. `workqueue::system_unbound` is the
/// one that it replaces: the kernel complains of each who still uses that.
pub(crate) fn system_dfl() -> &'static Queue {
    // SAFETY: `system_dfl_wq` is made before any initcall runs, and never goes.
    unsafe { Queue::from_raw(bindings::system_dfl_wq) }
}

/// The queue of what wakes users: a worker is there for it when memory is short, too.
///
/// [`set_up`](super::line::set_up) has made it.
pub(crate) fn waker() -> Option<&'static Queue> {
    // SAFETY: It is made once, before the device is there, and changed by nobody afterwards.
    let waker = unsafe { bindings::luo_shim_waker };
    // SAFETY: Once it is made it never goes.
    (!waker.is_null()).then(|| unsafe { Queue::from_raw(waker) })
}
