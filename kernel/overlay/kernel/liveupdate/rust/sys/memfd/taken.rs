// SPDX-License-Identifier: GPL-2.0-only
//! Runs of pages that were just found in a file, until they are kept.

use kernel::bindings;
use kernel::prelude::*;

use super::still::Still;

/// Runs that are found in one go.
const BATCH: usize = 32;

const NO_RUN: bindings::luo_memfd_run = bindings::luo_memfd_run {
    index: 0,
    frame: 0,
    pages: 0,
    order: 0,
    state: 0,
};

/// Runs that were just found in a file, in its order.
///
/// # Invariants
///
/// From `first` on there are references to the folios of each run that [`is_here`], and they are
/// what the run says.
pub(super) struct Taken {
    runs: [bindings::luo_memfd_run; BATCH],
    first: usize,
    count: usize,
}

/// Whether a run was found where it can stay, so that its folios were taken.
fn is_here(run: &bindings::luo_memfd_run) -> bool {
    run.state < bindings::luo_memfd_state_LUO_MEMFD_AWAY
}

impl Taken {
    /// The room for some, which is made once for many: it is a kibibyte.
    pub(super) const NONE: Self = Self {
        runs: [NO_RUN; BATCH],
        first: 0,
        count: 0,
    };

    /// Takes what a file has from `next` on, before `end`, in the place of what is left; `next` is
    /// where to go on.
    pub(super) fn take(&mut self, still: &Still, next: &mut u64, end: u64) {
        self.let_go();
        let room = &mut self.runs;
        // SAFETY: It is a memfd, and there is room for so many runs.
        // INVARIANT: The callee has taken them.
        self.count = unsafe {
            bindings::luo_memfd_take(still.0.as_ptr(), next, end, room.as_mut_ptr(), room.len())
        };
    }

    /// Brings pages of a file to where they can stay, and takes those, in the place of what is left.
    /// There may be fewer than were asked for.
    ///
    /// # Errors
    /// Those of moving them; EBUSY if somebody uses one, EAGAIN if it can be tried again at once.
    pub(super) fn bring(&mut self, still: &Still, from: u64, pages: u64) -> Result {
        self.let_go();
        let room = &mut self.runs;
        // SAFETY: As above.
        let count = unsafe {
            bindings::luo_memfd_bring(still.0.as_ptr(), from, pages, room.as_mut_ptr(), room.len())
        };
        // INVARIANT: The callee has taken them.
        self.count = usize::try_from(count).map_err(|_| Error::from_errno(count as i32))?;
        Ok(())
    }

    /// Gives the references back, so that there are no runs.
    fn let_go(&mut self) {
        for run in self.left().iter().filter(|run| is_here(run)) {
            // SAFETY: By the type's invariant there are references to give back.
            unsafe { bindings::luo_memfd_let_go(run) }
        }
        (self.first, self.count) = (0, 0);
    }

    fn left(&self) -> &[bindings::luo_memfd_run] {
        self.runs.get(self.first..self.count).unwrap_or_default()
    }

    /// The run that stands first.
    pub(super) fn first(&self) -> Option<&bindings::luo_memfd_run> {
        self.left().first()
    }

    /// The runs that stand first and are where they can stay.
    pub(super) fn here(&self) -> &[bindings::luo_memfd_run] {
        let left = self.left();
        let here = left.iter().take_while(|run| is_here(run)).count();
        left.get(..here).unwrap_or_default()
    }

    /// Passes over so many runs that stand first: their references are the caller's from now on.
    pub(super) fn pass_over(&mut self, runs: usize) {
        self.first = self.first.saturating_add(runs);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.let_go();
    }
}
