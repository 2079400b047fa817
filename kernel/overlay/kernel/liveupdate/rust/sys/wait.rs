// SPDX-License-Identifier: GPL-2.0-only
//! Waiting until another has run a step, in a way that can end by being killed.
//!
//! The kernel crate's condition variable knows waits that no signal ends and
//! waits that any signal ends. Neither is right for a program that asked for a
//! transition: signals it handles must not end the wait, and it must die when it
//! is killed.

use core::marker::PhantomPinned;

use kernel::bindings;
use kernel::ffi::{c_int, c_long};
use kernel::prelude::*;
use kernel::sync::{LockClassKey, MutexGuard};
use kernel::time::msecs_to_jiffies;
use kernel::types::Opaque;

/// Tasks that wait for something which is protected by a mutex.
#[pin_data]
pub(crate) struct WaitQueue {
    #[pin]
    head: Opaque<bindings::wait_queue_head>,
    // The head is a list that refers to itself.
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: A wait queue has a lock of its own and belongs to no task.
unsafe impl Send for WaitQueue {}
// SAFETY: As above.
unsafe impl Sync for WaitQueue {}

/// The task was killed while it waited.
pub(crate) struct Killed;

/// How long a task may sleep still, in ticks of the kernel's clock.
#[derive(Clone, Copy)]
pub(crate) struct Patience(c_long);

impl Patience {
    /// The kernel's own word for a sleep that no time ends.
    pub(crate) const WITHOUT_END: Self = Self(c_long::MAX);

    /// So many seconds of it.
    pub(crate) fn of_seconds(seconds: u32) -> Self {
        let ticks = msecs_to_jiffies(seconds.saturating_mul(1000));
        Self(c_long::try_from(ticks).unwrap_or(c_long::MAX))
    }

    /// Whether there is none left.
    pub(crate) fn is_over(self) -> bool {
        self.0 <= 0
    }
}

impl WaitQueue {
    /// An initialiser of a queue without waiters.
    pub(crate) fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: The slot is valid; the name and the key are static.
            head <- Opaque::ffi_init(|slot| unsafe {
                bindings::__init_waitqueue_head(slot, name.as_char_ptr(), key.as_ptr())
            }),
            _pin: PhantomPinned,
        })
    }

    /// Wakes all who wait.
    pub(crate) fn notify_all(&self) {
        // SAFETY: The head is initialised and pinned. Zero stands for all.
        unsafe {
            bindings::__wake_up(
                self.head.get(),
                bindings::TASK_NORMAL,
                0,
                core::ptr::null_mut(),
            );
        }
    }

    /// Lets the mutex go and sleeps until somebody notifies. May wake up for no
    /// reason; no signal ends it. It may take long without being an error, so the
    /// detector of hung tasks does not look at those who wait here.
    pub(crate) fn wait<T>(&self, held: MutexGuard<'_, T>) {
        self.sleep(held, bindings::TASK_IDLE, Patience::WITHOUT_END);
    }

    /// Like [`Self::wait`], ended also by a signal that kills the task, and by the end of a
    /// patience, from which the time goes that has been slept.
    ///
    /// # Errors
    /// [`Killed`] if there is such a signal, whatever else has happened.
    pub(crate) fn wait_killable<T>(
        &self,
        held: MutexGuard<'_, T>,
        patience: &mut Patience,
    ) -> Result<(), Killed> {
        *patience = self.sleep(held, bindings::TASK_KILLABLE, *patience);
        // SAFETY: `current` is a task that runs.
        let killed = unsafe { bindings::luo_fatal_signal_pending(bindings::get_current()) };
        if killed {
            Err(Killed)
        } else {
            Ok(())
        }
    }

    /// Sleeps for as long as a patience lasts at most; gives what is left of it.
    fn sleep<T>(&self, held: MutexGuard<'_, T>, state: u32, patience: Patience) -> Patience {
        let entry = Opaque::<bindings::wait_queue_entry>::uninit();
        // SAFETY: The entry is valid for writes.
        unsafe { bindings::init_wait(entry.get()) };
        // In the queue before the mutex is let go: who changes what we wait for
        // holds it, so the notification cannot come too early.
        //
        // SAFETY: The head is initialised and pinned; the entry stays where it is
        // on this stack until `finish_wait` has taken it out of the queue.
        unsafe { bindings::prepare_to_wait(self.head.get(), entry.get(), state as c_int) };
        drop(held);
        // SAFETY: No spinlock is held. If there was a notification meanwhile, or
        // for a killable state a fatal signal, this returns at once.
        let left = unsafe { bindings::schedule_timeout(patience.0) };
        // SAFETY: The pair given to `prepare_to_wait`.
        unsafe { bindings::finish_wait(self.head.get(), entry.get()) };
        Patience(left)
    }
}
