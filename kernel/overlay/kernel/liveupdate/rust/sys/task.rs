// SPDX-License-Identifier: GPL-2.0-only
//! The calling task.

use kernel::bindings;
use kernel::ffi::c_int;

/// Whether the calling task may administer the machine: `CAP_SYS_ADMIN` in the
/// first user namespace. That a user may not is no attempt to be audited: it is asked at
/// each call, of which few need it.
pub(crate) fn is_administrator() -> bool {
    let first = &raw mut bindings::init_user_ns;
    // SAFETY: Called from system calls, as a task that runs. The first user namespace is
    // always there.
    unsafe { bindings::ns_capable_noaudit(first, bindings::CAP_SYS_ADMIN as c_int) }
}

/// The calling task's effective user, as the first user namespace numbers it.
pub(crate) fn effective_user() -> u32 {
    let first = &raw mut bindings::init_user_ns;
    // SAFETY: Called from system calls, as a task that runs, whose credentials nobody
    // else changes. The first user namespace is always there.
    unsafe { bindings::from_kuid(first, bindings::current_euid()) }
}
