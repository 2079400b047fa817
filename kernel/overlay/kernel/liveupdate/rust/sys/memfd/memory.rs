// SPDX-License-Identifier: GPL-2.0-only
//! How the handler of memfds asks for memory of its own.

use kernel::alloc::flags::{__GFP_NORETRY, __GFP_NOWARN, GFP_KERNEL_ACCOUNT};
use kernel::alloc::Flags;
use kernel::prelude::*;

/// How memory for lists of runs is asked for: charged to the caller, who may wait for it;
/// nobody is killed for it.
pub(crate) fn flags() -> Flags {
    GFP_KERNEL_ACCOUNT | __GFP_NORETRY | __GFP_NOWARN
}

/// As [`flags`], and charged to nobody: it is a few bytes for a moment, most of the time.
pub(crate) fn uncharged() -> Flags {
    GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN
}
