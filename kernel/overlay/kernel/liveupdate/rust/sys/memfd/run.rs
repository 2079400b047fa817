// SPDX-License-Identifier: GPL-2.0-only
//! Runs of pages, as C has them.

use kernel::bindings;
use luo_memfd::Run;

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
