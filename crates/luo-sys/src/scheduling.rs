// SPDX-License-Identifier: MIT OR Apache-2.0
//! When the kernel lets a thread run beside others.
//!
//! For tests: a program may have its threads wait for nearly all others, while they have something
//! that others want; and who measures how long that takes wants no time to pass before it runs.

use crate::error::{Error, Result};

/// A way in which threads are scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// When others leave the processor time (`SCHED_IDLE`). Anybody may have it.
    Idle,
    /// Before all that are scheduled as usual (`SCHED_FIFO`). It takes privileges.
    First,
}

/// Has the calling thread be scheduled so.
///
/// # Errors
/// EPERM: it may not be.
pub fn set(policy: Policy) -> Result<()> {
    let (policy, priority) = match policy {
        Policy::Idle => (libc::SCHED_IDLE, 0),
        Policy::First => (libc::SCHED_FIFO, 1),
    };
    // SAFETY: a structure of plain numbers may be all zeros.
    let mut parameters: libc::sched_param = unsafe { core::mem::zeroed() };
    parameters.sched_priority = priority;
    let calling_thread = 0;
    // SAFETY: the kernel reads the structure during the call. Not every C library makes the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            calling_thread,
            policy,
            &raw const parameters,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(Error::last("sched_setscheduler")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_gives_way_ends_all_the_same() {
        let thread = std::thread::spawn(|| set(Policy::Idle));
        assert!(thread.join().unwrap().is_ok());
    }
}
