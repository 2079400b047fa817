// SPDX-License-Identifier: GPL-2.0-only
//! Queues of work that Rust for Linux has no name for yet.

use kernel::bindings;
use kernel::workqueue::Queue;

/// The system's queue for work that is bound to no processor. `workqueue::system_unbound` is the
/// one that it replaces: the kernel complains of each who still uses that.
pub(crate) fn system_dfl() -> &'static Queue {
    // SAFETY: `system_dfl_wq` is made before any initcall runs, and never goes.
    unsafe { Queue::from_raw(bindings::system_dfl_wq) }
}

/// The queue of those who close sessions for a thread of the kernel's, if there is one.
pub(crate) fn closers() -> Option<&'static Queue> {
    // SAFETY: The queue is made before anybody can close a session, and never goes.
    let queue = unsafe { bindings::luo_shim_closers() };
    // SAFETY: As above.
    (!queue.is_null()).then(|| unsafe { Queue::from_raw(queue) })
}
