// SPDX-License-Identifier: GPL-2.0-only
//! How memory is asked for.

use kernel::alloc::flags::{__GFP_NORETRY, __GFP_NOWARN, GFP_KERNEL_ACCOUNT, GFP_NOWAIT};
use kernel::alloc::{Flags, KVVec};
use kernel::prelude::*;

/// Charged to the caller, who may wait for it; nobody is killed for it.
pub(crate) fn flags() -> Flags {
    GFP_KERNEL_ACCOUNT | __GFP_NORETRY | __GFP_NOWARN
}

/// As [`flags`], and charged to nobody: it is a few bytes for a moment, most of the time.
#[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
pub(crate) fn uncharged() -> Flags {
    GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN
}

/// Memory that is there at once, charged to nobody: for where others wait that have nothing to do
/// with live update.
pub(crate) fn at_once() -> Flags {
    GFP_NOWAIT | __GFP_NOWARN
}

/// Makes room for so many bytes that the kernel will ask for in its own way, for which it would
/// kill a program of the caller's group if there were none: asks for as much, and gives it back.
/// What others ask for meanwhile can make it untrue.
///
/// # Errors
/// ENOMEM.
pub(crate) fn make_room(bytes: usize) -> Result {
    drop(KVVec::<u8>::with_capacity(bytes, flags())?);
    Ok(())
}
