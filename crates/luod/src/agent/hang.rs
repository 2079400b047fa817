// SPDX-License-Identifier: MIT OR Apache-2.0
//! A job of the kernel's thread that is not waited for any longer. It is done as soon as the
//! kernel answers; until then others are told at once what the kernel hangs in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::kernel::Kernel;

/// What the kernel may hang in.
pub(super) struct Hang {
    /// The subject of a sentence.
    what: &'static str,
    since: Instant,
    is_done: Arc<AtomicBool>,
}

impl Hang {
    /// The job, whose end can be seen from here.
    pub(super) fn watch<T>(
        what: &'static str,
        job: impl FnOnce(&mut dyn Kernel) -> T + Send + 'static,
    ) -> (Self, impl FnOnce(&mut dyn Kernel) -> T + Send + 'static) {
        let is_done = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&is_done);
        let watched = move |kernel: &mut dyn Kernel| {
            let result = job(kernel);
            done.store(true, Ordering::Release);
            result
        };
        let since = Instant::now();
        (
            Self {
                what,
                since,
                is_done,
            },
            watched,
        )
    }

    /// What it is about, and since when, while it is not done.
    pub(super) fn hangs(&self) -> Option<(&'static str, Instant)> {
        (!self.is_done.load(Ordering::Acquire)).then_some((self.what, self.since))
    }
}
