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
use kernel::time::delay::fsleep;
use kernel::time::{msecs_to_jiffies, Delta, Instant, Monotonic};
use kernel::types::Opaque;
use luo_abi::errno::Errno;
use luo_core::held::PAUSE_MILLIS;

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

/// Sleeps for so many milliseconds, or until the task is killed.
///
/// # Errors
/// [`Killed`].
pub(crate) fn pause(milliseconds: u32) -> Result<(), Killed> {
    // SAFETY: No spinlock is held; `current` is a task that runs.
    let killed = unsafe {
        bindings::schedule_timeout_killable(msecs_to_jiffies(milliseconds) as isize);
        bindings::luo_fatal_signal_pending(bindings::get_current())
    };
    match killed {
        true => Err(Killed),
        false => Ok(()),
    }
}

/// How often something that is locked is tried for a moment, and what is slept in between, in
/// microseconds.
const TRIES: u32 = 10;
const SPINS: u32 = 32;
const SLEEP: i64 = 25;

/// Tries something for a moment. What is written to all the time is locked a good part of it, for
/// some microseconds each time. It is not held: who tries once would take it for something that is.
fn for_a_moment(tries: &mut impl FnMut() -> bool) -> bool {
    for _ in 0..TRIES {
        for _ in 0..SPINS {
            if tries() {
                return true;
            }
            core::hint::spin_loop();
        }
        fsleep(Delta::from_micros(SLEEP));
    }
    tries()
}

/// Tries something that fails while a program has a file locked: for a moment, and then again and
/// again for as long as so many pauses last by the clock, of which it takes those that have passed.
/// On a busy machine one may take as long as many.
///
/// # Errors
/// EBUSY at the end of them; EAGAIN if the task is killed.
pub(crate) fn patiently(pauses: &mut u32, mut tries: impl FnMut() -> bool) -> Result<(), Errno> {
    let mut done = for_a_moment(&mut tries);
    while !done {
        if *pauses == 0 {
            return Err(Errno::EBUSY);
        }
        let begun = Instant::<Monotonic>::now();
        pause(PAUSE_MILLIS).map_err(|Killed| Errno::EAGAIN)?;
        let took = u32::try_from(begun.elapsed().as_millis_ceil()).unwrap_or(u32::MAX);
        *pauses = pauses.saturating_sub((took / PAUSE_MILLIS).max(1));
        done = tries();
    }
    Ok(())
}

/// Until when a task may wait. What it does meanwhile counts, and so does the time that it
/// stands in line for the mutex.
#[derive(Clone, Copy)]
pub(crate) struct Patience(Option<Instant<Monotonic>>);

impl Patience {
    /// No time ends it.
    pub(crate) const WITHOUT_END: Self = Self(None);

    /// `seconds` from now on.
    pub(crate) fn of_seconds(seconds: u32) -> Self {
        Self(Some(Instant::now() + Delta::from_secs(seconds.into())))
    }

    /// Whether there is none left.
    pub(crate) fn is_over(self) -> bool {
        self.ticks() == 0
    }

    /// What is left of it, in ticks of the kernel's clock.
    fn ticks(self) -> c_long {
        // The kernel's own word for a sleep that no time ends.
        const WITHOUT_END: c_long = c_long::MAX;
        let Some(until) = self.0 else {
            return WITHOUT_END;
        };
        let left = (until - Instant::now()).as_millis_ceil();
        let left = u32::try_from(left.max(0)).unwrap_or(u32::MAX);
        c_long::try_from(msecs_to_jiffies(left)).unwrap_or(WITHOUT_END)
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
    /// patience.
    ///
    /// # Errors
    /// [`Killed`] if there is such a signal, whatever else has happened.
    pub(crate) fn wait_killable<T>(
        &self,
        held: MutexGuard<'_, T>,
        patience: Patience,
    ) -> Result<(), Killed> {
        self.sleep(held, bindings::TASK_KILLABLE, patience);
        // SAFETY: `current` is a task that runs.
        let killed = unsafe { bindings::luo_fatal_signal_pending(bindings::get_current()) };
        if killed {
            Err(Killed)
        } else {
            Ok(())
        }
    }

    /// Sleeps for as long as a patience lasts at most.
    fn sleep<T>(&self, held: MutexGuard<'_, T>, state: u32, patience: Patience) {
        let entry = Opaque::<bindings::wait_queue_entry>::uninit();
        // SAFETY: The entry is valid for writes.
        unsafe { bindings::init_wait(entry.get()) };
        let ticks = patience.ticks();
        // In the queue before the mutex is let go: who changes what we wait for
        // holds it, so the notification cannot come too early.
        //
        // SAFETY: The head is initialised and pinned; the entry stays where it is
        // on this stack until `finish_wait` has taken it out of the queue.
        unsafe { bindings::prepare_to_wait(self.head.get(), entry.get(), state as c_int) };
        drop(held);
        // SAFETY: No spinlock is held. If there was a notification meanwhile, or
        // for a killable state a fatal signal, this returns at once.
        unsafe { bindings::schedule_timeout(ticks) };
        // SAFETY: The pair given to `prepare_to_wait`.
        unsafe { bindings::finish_wait(self.head.get(), entry.get()) };
    }
}
