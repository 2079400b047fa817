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
