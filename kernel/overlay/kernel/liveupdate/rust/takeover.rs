// SPDX-License-Identifier: GPL-2.0-only
//! The worker that takes over what the previous kernel left, once somebody opens the device.
//!
//! How much there is has nothing to do with who comes first, which may be a program without
//! privileges: its time does not pay for it, nor does the memory cgroup it is in.

use kernel::prelude::*;
use kernel::sync::{Arc, SetOnce};
use kernel::workqueue::{impl_has_work, new_work, Work, WorkItem};
use luo_core::ops;

use crate::host::linux;
use crate::sys::workqueue;

#[pin_data]
struct Worker {
    #[pin]
    work: Work<Worker>,
}

impl_has_work! {
    impl HasWork<Self> for Worker { self.work }
}

impl WorkItem for Worker {
    type Pointer = Arc<Self>;

    fn run(_: Arc<Self>) {
        if let Some(linux) = linux() {
            // Those who wait get the outcome, and the log has it.
            let _ = ops::take_over(linux);
        }
    }
}

static WORKER: SetOnce<Arc<Worker>> = SetOnce::new();

/// Makes the worker. Called once, before the device is there.
pub(crate) fn set_up() -> Result {
    let made = Arc::pin_init(
        pin_init!(Worker {
            work <- new_work!("luo_takeover"),
        }),
        GFP_KERNEL,
    )?;
    WORKER.populate(made);
    Ok(())
}

/// Has the worker begin, and does not wait for it.
pub(crate) fn begin() {
    if let Some(worker) = WORKER.as_ref() {
        // Work that is queued already has not begun: it will see what this caller means.
        let _ = workqueue::system_dfl().enqueue(worker.clone());
    }
}
