// SPDX-License-Identifier: GPL-2.0-only
//! Random numbers, for hash keys that clients cannot guess.

use kernel::bindings;

/// A random number.
pub(crate) fn u64() -> u64 {
    // SAFETY: May be called in any context.
    unsafe { bindings::get_random_u64() }
}
