// SPDX-License-Identifier: GPL-2.0-only
//! The calling task.

use kernel::bindings;
use kernel::ffi::c_int;

/// Whether the calling task may administer the machine: `CAP_SYS_ADMIN` in the
/// first user namespace.
pub(crate) fn is_administrator() -> bool {
    // SAFETY: Called from system calls, as a task that runs.
    unsafe { bindings::capable(bindings::CAP_SYS_ADMIN as c_int) }
}
