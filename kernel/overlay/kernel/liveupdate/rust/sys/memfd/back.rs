// SPDX-License-Identifier: GPL-2.0-only
//! Pages that came back from the previous kernel.

use kernel::alloc::KVec;
use kernel::bindings;
use kernel::error::to_result;
use kernel::prelude::*;
use luo_memfd::{Format, Run, MOST_PIECES};

use super::huge::HugeGroup;
use super::made::Made;
use super::run::run_to;
use crate::sys::kho::Handed;
use crate::sys::memory::flags;

/// Pages that came back from the previous kernel, some runs of them. Dropping it frees
/// them.
///
/// # Invariants
///
/// The pages of the runs are ours alone.
pub(crate) struct Back {
    runs: KVec<bindings::luo_memfd_run>,
    format: Format,
    /// The highest order that single pages are joined to.
    join_order: u32,
}

/// The highest order of a folio that single pages of a format can be joined to.
pub(crate) fn join_order(format: Format) -> u32 {
    // SAFETY: May be called in any context.
    format.join_order(unsafe { bindings::luo_memfd_join_order() })
}

/// Runs that are put into a file at once.
const MOST_BACK: usize = 64;

// SAFETY: Pages belong to no task.
unsafe impl Send for Back {}

impl Back {
    /// Without pages. Single ones will be joined to folios up to some order.
    pub(crate) fn new(format: Format, join_order: u32) -> Self {
        Self {
            runs: KVec::new(),
            format,
            join_order,
        }
    }

    /// Makes the room for the runs that are put into a file at once, if it is not there yet.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn make_room(&mut self) -> Result {
        match self.runs.capacity() {
            0 => Ok(self.runs.reserve(MOST_BACK, flags())?),
            _ => Ok(()),
        }
    }

    /// Whether there is room for the pieces of one more run.
    pub(crate) fn has_room(&self) -> bool {
        let left = self.runs.capacity().saturating_sub(self.runs.len());
        left >= MOST_PIECES
    }

    /// Gets the pages of a run back, all or none, into room that there is. Those that follow
    /// each other where a large folio can be are joined to one. False if they are gone.
    pub(crate) fn get(&mut self, _alone: &Handed, run: Run) -> bool {
        let step = self.format.step(&run);
        // SAFETY: The callee looks first whether Kexec HandOver has them, and nobody else does
        // meanwhile.
        if step == 0 || !unsafe { bindings::luo_memfd_get_back(&run_to(&run), step) } {
            return false;
        }
        for piece in luo_memfd::joined(run, self.join_order) {
            // INVARIANT: Kexec HandOver has given them away. There is room for all pieces.
            let _ = self.runs.push_within_capacity(run_to(&piece));
        }
        true
    }

    /// How many pages there are.
    pub(crate) fn pages(&self) -> u64 {
        self.runs
            .iter()
            .fold(0, |sum, run| sum.saturating_add(run.pages))
    }

    /// Puts them into a file.
    ///
    /// # Errors
    /// ENOMEM: those that are not in it are still here, and another try can go on.
    pub(crate) fn put_into(&mut self, file: &Made) -> Result {
        // SAFETY: By the type's invariant, and nobody else knows the file. The group is null or
        // there for the call.
        let result = to_result(unsafe {
            bindings::luo_memfd_insert(
                file.file.as_ptr(),
                self.runs.as_mut_ptr(),
                self.runs.len(),
                HugeGroup::as_ptr(file.payer.as_ref()),
            )
        });
        // INVARIANT: What was taken off the runs is the page cache's now. A run of which nothing
        // is left begins behind what was ours; they are the first ones, or all.
        if result.is_ok() {
            self.runs.clear();
        }
        while self.runs.first().is_some_and(|run| run.pages == 0) {
            if self.runs.remove(0).is_err() {
                break;
            }
        }
        result
    }
}

impl Back {
    /// Frees the pages; the room stays. Huge ones take places that their pool has left for
    /// them.
    pub(crate) fn free(&mut self) {
        for run in &self.runs {
            // SAFETY: By the type's invariant.
            unsafe { bindings::luo_memfd_drop(run, self.format == Format::Huge) }
        }
        // INVARIANT: They are not ours any more.
        self.runs.clear();
    }
}

impl Drop for Back {
    fn drop(&mut self) {
        self.free();
    }
}
