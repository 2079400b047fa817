// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! A count of the entries of tables that are looked at. A test takes it for the time for which a
//! step has the engine's lock; outside of tests nothing is counted.

/// Counts one look.
#[inline]
pub(crate) fn look() {
    #[cfg(feature = "fault-injection")]
    counted::LOOKS.set(counted::LOOKS.get().wrapping_add(1));
}

#[cfg(feature = "fault-injection")]
mod counted {
    use std::cell::Cell;

    // The count is the thread's own, so tests do not disturb each other.
    std::thread_local! {
        pub(super) static LOOKS: Cell<u64> = const { Cell::new(0) };
    }
}

/// Objects and entries that this thread has looked at so far, each as often as it did.
#[cfg(feature = "fault-injection")]
#[must_use]
pub fn taken() -> u64 {
    counted::LOOKS.get()
}
