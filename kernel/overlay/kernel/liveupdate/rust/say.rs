// SPDX-License-Identifier: GPL-2.0-only
//! The engine's messages in the kernel's log.

use kernel::fmt;

/// Shows in the log what `core` can format. The kernel's own formatting trait
/// differs, and the engine does not know it.
pub(crate) struct Say<T>(pub(crate) T);

impl<T: core::fmt::Display> fmt::Display for Say<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        core::fmt::Display::fmt(&self.0, f)
    }
}
