// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's log has little room, which no program may fill.

use kernel::bindings;

use super::task;

/// Whether one more line may go into the log of those that a program can cause as often as
/// it likes, by what is users' or not. The log says how many lines were left out.
pub(crate) fn may_say_more_of(users: bool) -> bool {
    // SAFETY: May be called in any context.
    unsafe { bindings::luo_shim_may_say_more(users) }
}

/// The same for what the calling task does.
pub(crate) fn may_say_more() -> bool {
    may_say_more_of(!task::is_administrator())
}
