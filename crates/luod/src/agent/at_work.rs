// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an update is at while it asks no workload: it looks at the target, or the kernel does its
//! part. Whoever waits for the update is told.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use luo_varlink::Work;

/// A part of an update.
struct Part {
    /// What is waited for.
    what: String,
    /// When it is late.
    until: Option<Instant>,
    /// Whether the kernel's thread is at it, so that nobody else gets an answer.
    is_the_kernels: bool,
}

/// The part that an update is at, if it is at one.
#[derive(Default)]
pub(super) struct AtWork(RefCell<Option<Part>>);

/// As long as this is there, it is told of.
pub(super) struct Begun<'a>(&'a AtWork);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.0.replace(None);
    }
}

impl AtWork {
    /// Begins with a part that has so much time; `call` is what the kernel is asked for, if it is.
    pub(super) fn begin(&self, what: &str, call: Option<&str>, patience: Duration) -> Begun<'_> {
        self.0.replace(Some(Part {
            what: match call {
                Some(call) => format!("{what} ({call})"),
                None => what.to_owned(),
            },
            until: Instant::now().checked_add(patience),
            is_the_kernels: call.is_some(),
        }));
        Begun(self)
    }

    /// Whether the kernel's thread is at a part of an update.
    pub(super) fn has_the_kernel(&self) -> bool {
        let at = self.0.borrow();
        at.as_ref().is_some_and(|at| at.is_the_kernels)
    }

    /// What is waited for, and how long still.
    pub(super) fn told(&self) -> Option<Work> {
        let at = self.0.borrow();
        let Part { what, until, .. } = at.as_ref()?;
        let left = (*until)?.saturating_duration_since(Instant::now());
        Some(Work {
            what: what.clone(),
            left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        })
    }
}
