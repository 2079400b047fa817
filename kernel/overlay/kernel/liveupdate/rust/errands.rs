// SPDX-License-Identifier: GPL-2.0-only
//! Errands: work that concerns the whole machine, and that workers of the kernel do for a caller.
//!
//! How much work an errand is does not depend on the caller, which may be a program without
//! privileges. So neither the caller's time nor its memory cgroup pays for it, and nobody waits
//! until the caller's user lets it run.
//!
//! This file does not know what an errand consists of: the maker of the workers says which function
//! does each.

use kernel::prelude::*;
use kernel::sync::{Arc, SetOnce};
use kernel::workqueue::{impl_has_work, new_work, Queue, Work, WorkItem};

use crate::sys::workqueue;

/// Something that a worker does.
#[derive(Clone, Copy)]
pub(crate) enum Errand {
    /// Takes over what the previous kernel left.
    TakeOver,
    /// Does what follows for others when a user has finished a session.
    Rest,
    /// Wakes users who wait in a queue.
    WakeUsers,
    /// Tells those who watch that the state has changed.
    Announce,
}

/// All of them, by their numbers.
const ALL: [Errand; 4] = [
    Errand::TakeOver,
    Errand::Rest,
    Errand::WakeUsers,
    Errand::Announce,
];

#[pin_data]
struct Worker {
    #[pin]
    work: Work<Worker>,
    errand: Errand,
    does: fn(Errand),
}

impl_has_work! {
    impl HasWork<Self> for Worker { self.work }
}

impl WorkItem for Worker {
    type Pointer = Arc<Self>;

    fn run(worker: Arc<Self>) {
        (worker.does)(worker.errand);
    }
}

static WORKERS: [SetOnce<Arc<Worker>>; ALL.len()] = [const { SetOnce::new() }; ALL.len()];

/// Makes the workers, which have each errand done by a function. Called once, before the device is
/// there.
pub(crate) fn set_up(does: fn(Errand)) -> Result {
    for errand in ALL {
        let made = Arc::pin_init(
            pin_init!(Worker {
                work <- new_work!("luo_errand"),
                errand,
                does,
            }),
            GFP_KERNEL,
        )?;
        if let Some(worker) = WORKERS.get(errand as usize) {
            worker.populate(made);
        }
    }
    Ok(())
}

/// Has a worker begin, and does not wait for it.
pub(crate) fn begin(errand: Errand) {
    let worker = WORKERS.get(errand as usize).and_then(SetOnce::as_ref);
    if let Some(worker) = worker {
        // Work that is queued already has not begun: it will see what this caller means.
        let _ = queue(errand).enqueue(worker.clone());
    }
}

/// Users who wait may be those who give memory back: they are woken when there is none, too. The
/// other errands may wait for calls, and so do not share the worker that there is then.
fn queue(errand: Errand) -> &'static Queue {
    let of_its_own = match errand {
        Errand::WakeUsers => workqueue::waker(),
        Errand::TakeOver | Errand::Rest | Errand::Announce => None,
    };
    of_its_own.unwrap_or_else(workqueue::system_dfl)
}
