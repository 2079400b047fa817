// SPDX-License-Identifier: MIT OR Apache-2.0
//! The current work of an update while it asks no workload: it looks at the target, or the kernel
//! does its part. The same of checks, and of calls of the kernel, that somebody has asked for. All
//! who wait for it are told.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use luo_varlink::Work;

/// The thing that is waited for before a jump through the service manager.
pub(super) const SHUTDOWN: &str = "the shutdown by the service manager";

/// A hint about a shutdown that takes its time.
pub(super) const SHUTTING_DOWN: &str = "`systemctl list-jobs` says what it waits for; it goes on, and \
                                        the machine jumps at its end";

/// A part of an update, or something else that takes its time.
struct Part {
    number: u64,
    /// The thing that is waited for.
    what: String,
    /// When it is late.
    until: Option<Instant>,
    /// Whether the kernel's thread is at it, so that nobody else gets an answer.
    is_the_kernels: bool,
    /// Whether it is a part of an update, which comes before what somebody only looks at.
    is_of_update: bool,
}

/// The parts that are under way.
#[derive(Default)]
pub(super) struct AtWork {
    parts: RefCell<Vec<Part>>,
    next: Cell<u64>,
}

/// As long as this is there, it is told of.
pub(super) struct Begun<'a>(&'a AtWork, u64);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0
            .parts
            .borrow_mut()
            .retain(|part| part.number != self.1);
    }
}

impl AtWork {
    /// Begins with a part of an update that has so much time; `call` is what the kernel is asked
    /// for, if it is.
    pub(super) fn begin(&self, what: &str, call: Option<&str>, patience: Duration) -> Begun<'_> {
        self.put(what, call, patience, true)
    }

    /// The same of something that is no part of an update.
    pub(super) fn begin_beside(
        &self,
        what: &str,
        call: Option<&str>,
        patience: Duration,
    ) -> Begun<'_> {
        self.put(what, call, patience, false)
    }

    fn put(
        &self,
        what: &str,
        call: Option<&str>,
        patience: Duration,
        is_of_update: bool,
    ) -> Begun<'_> {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        self.parts.borrow_mut().push(Part {
            number,
            what: match call {
                Some(call) => format!("{what} ({call})"),
                None => what.to_owned(),
            },
            until: Instant::now().checked_add(patience),
            is_the_kernels: call.is_some(),
            is_of_update,
        });
        Begun(self, number)
    }

    /// Whether the kernel's thread is at a part.
    pub(super) fn has_the_kernel(&self) -> bool {
        self.parts.borrow().iter().any(|part| part.is_the_kernels)
    }

    /// The part of an update that goes on though it is late, but for what the kernel hangs in.
    pub(super) fn late(&self) -> Option<String> {
        let parts = self.parts.borrow();
        let mut late = parts.iter().filter(|part| {
            let is_late = part.until.is_some_and(|until| until <= Instant::now());
            is_late && part.is_of_update && !part.is_the_kernels
        });
        late.next_back().map(|part| part.what.clone())
    }

    /// The work that is waited for, and how long still.
    pub(super) fn told(&self) -> Option<Work> {
        let parts = self.parts.borrow();
        let of_update = parts.iter().rfind(|part| part.is_of_update);
        let Part { what, until, .. } = of_update.or(parts.last())?;
        let left = (*until)?.saturating_duration_since(Instant::now());
        Some(Work {
            what: what.clone(),
            left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_an_update_comes_first_and_each_ends_by_itself() {
        let at_work = AtWork::default();
        let told = || at_work.told().map(|work| work.what);
        let patience = Duration::from_secs(60);
        let looks = at_work.begin_beside("the checks", None, patience);
        let update = at_work.begin("the kernel", Some("FREEZE"), patience);
        let later = at_work.begin_beside("the checks", None, patience);
        assert_eq!(told().as_deref(), Some("the kernel (FREEZE)"));
        assert!(at_work.has_the_kernel());
        drop(looks);
        drop(update);
        assert_eq!(told().as_deref(), Some("the checks"));
        assert!(!at_work.has_the_kernel());
        drop(later);
        assert_eq!(told(), None);
        let shutdown = at_work.begin("the shutdown", None, patience);
        assert_eq!(at_work.late(), None);
        drop(shutdown);
        let _late = at_work.begin("the shutdown", None, Duration::ZERO);
        assert_eq!(at_work.late().as_deref(), Some("the shutdown"));
    }
}
