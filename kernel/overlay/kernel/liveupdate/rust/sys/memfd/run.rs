// SPDX-License-Identifier: GPL-2.0-only
//! Runs of pages, as C has them: referred to, and kept over a kexec.

use kernel::bindings;
use kernel::error::to_result;
use kernel::prelude::*;
use luo_memfd::{Format, Run};

pub(super) fn run_to(run: &Run) -> bindings::luo_memfd_run {
    bindings::luo_memfd_run {
        index: run.index,
        frame: run.frame,
        pages: run.pages,
        order: run.order,
        state: if run.fresh {
            bindings::luo_memfd_state_LUO_MEMFD_FRESH
        } else {
            bindings::luo_memfd_state_LUO_MEMFD_WRITTEN
        },
    }
}

pub(super) fn run_of(run: &bindings::luo_memfd_run) -> Run {
    Run {
        index: run.index,
        frame: run.frame,
        pages: run.pages,
        order: run.order,
        fresh: run.state == bindings::luo_memfd_state_LUO_MEMFD_FRESH,
    }
}

/// References to the folios of a run. Ends when it is dropped.
///
/// # Invariants
///
/// There is a reference to each folio, and they are what the run says.
pub(super) struct Referred(pub(super) Run);

impl Referred {
    /// Has Kexec HandOver keep them, too.
    pub(super) fn keep(self, format: Format) -> Result<KeptRun> {
        // SAFETY: By the type's invariant these are pages, and they stay what they are.
        to_result(unsafe { bindings::luo_memfd_keep(&run_to(&self.0), format.step(&self.0)) })?;
        // INVARIANT: Just kept.
        Ok(KeptRun {
            referred: self,
            format,
        })
    }
}

impl Drop for Referred {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant there are references to give back.
        unsafe { bindings::luo_memfd_let_go(&run_to(&self.0)) }
    }
}

/// A run that Kexec HandOver keeps. Ends when it is dropped.
///
/// # Invariants
///
/// It is kept in the steps of the format.
pub(super) struct KeptRun {
    pub(super) referred: Referred,
    format: Format,
}

impl KeptRun {
    /// The run, which is the caller's business from now on.
    pub(super) fn into_run(self) -> Run {
        let run = self.referred.0;
        core::mem::forget(self);
        run
    }

    /// # Safety
    ///
    /// The run is from [`Self::into_run`] of one with this format, and this is done once.
    pub(super) unsafe fn from_run(run: Run, format: Format) -> Self {
        // INVARIANT: By the caller's promise.
        Self {
            referred: Referred(run),
            format,
        }
    }
}

impl Drop for KeptRun {
    fn drop(&mut self) {
        let run = &self.referred.0;
        // SAFETY: By the type's invariant. The references go after this.
        unsafe { bindings::luo_memfd_keep_no_more(&run_to(run), self.format.step(run)) }
    }
}
