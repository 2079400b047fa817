// SPDX-License-Identifier: GPL-2.0-only
//! Waiting until another has run a step, in a way that can end by being killed.
//!
//! The kernel crate's condition variable knows waits that no signal ends and
//! waits that any signal ends. Neither is right for a program that asked for a
//! transition: signals it handles must not end the wait, and it must die when it
//! is killed.

use core::marker::PhantomPinned;
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};

use kernel::bindings;
use kernel::ffi::{c_int, c_long, c_uint, c_void};
use kernel::prelude::*;
use kernel::sync::LockClassKey;
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
    /// How often somebody has notified.
    notified: AtomicU64,
    // The head is a list that refers to itself.
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: A wait queue has a lock of its own and belongs to no task.
unsafe impl Send for WaitQueue {}
// SAFETY: As above.
unsafe impl Sync for WaitQueue {}

/// A place among those who wait. It is taken by a task that has the mutex and has found that there
/// is something to wait for. A task that changes that afterwards notifies.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    queue: &'a WaitQueue,
    topic: u64,
    notified: u64,
}

/// A task's entry in a queue.
#[repr(C)]
struct Entry {
    /// First, so that its address is that of the whole.
    entry: bindings::wait_queue_entry,
    /// The topic that it waits for.
    topic: u64,
}

/// Wakes a task, if it waits for the topic that was notified, or if all were.
///
/// # Safety
///
/// `entry` is an [`Entry`]'s first part, in a queue whose lock is held; `topic` is null or points
/// to a number.
unsafe extern "C" fn wake_if_meant(
    entry: *mut bindings::wait_queue_entry,
    mode: c_uint,
    flags: c_int,
    topic: *mut c_void,
) -> c_int {
    // SAFETY: By the caller's promise. The topic of an entry in a queue does not change.
    let is_meant =
        unsafe { topic.is_null() || (*entry.cast::<Entry>()).topic == *topic.cast::<u64>() };
    match is_meant {
        // SAFETY: By the caller's promise; the entry was initialised for this function.
        true => unsafe { bindings::autoremove_wake_function(entry, mode, flags, topic) },
        false => 0,
    }
}

/// The task was killed while it waited.
#[derive(Debug)]
pub(crate) struct Killed;

/// Sleeps for so many milliseconds, or until the task is killed.
///
/// # Errors
/// [`Killed`].
fn pause(milliseconds: u32) -> Result<(), Killed> {
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

/// Sleeps for so many milliseconds. That somebody is killed does not end it: it may be who
/// cancels, and what cannot be preserved again then is gone.
pub(crate) fn pause_anyway(milliseconds: u32) {
    if let Err(Killed) = pause(milliseconds) {
        fsleep(Delta::from_millis(milliseconds.into()));
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
/// EBUSY at the end of them.
pub(crate) fn patiently(pauses: &mut u32, mut tries: impl FnMut() -> bool) -> Result<(), Errno> {
    let mut done = for_a_moment(&mut tries);
    while !done {
        if *pauses == 0 {
            return Err(Errno::EBUSY);
        }
        let begun = Instant::<Monotonic>::now();
        pause_anyway(PAUSE_MILLIS);
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

    /// The rest of it, in ticks of the kernel's clock; 0 if nothing is left.
    pub(crate) fn ticks(self) -> c_long {
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
            notified: AtomicU64::new(0),
            _pin: PhantomPinned,
        })
    }

    /// A place in it for who waits for a topic, and has the mutex.
    pub(crate) fn place(&self, topic: u64) -> Place<'_> {
        Place {
            queue: self,
            topic,
            notified: self.notified.load(Ordering::SeqCst),
        }
    }

    /// Wakes those who wait for a topic, or all, and those who have a place and are going to.
    /// Called after what they wait for has changed, with the mutex or without it.
    pub(crate) fn notify(&self, topic: Option<u64>) {
        self.notified.fetch_add(1, Ordering::SeqCst);
        let mut topic = topic;
        let key = topic.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
        // SAFETY: The head is initialised and pinned, and all in it are entries whose function
        // takes a topic. Zero stands for all that it wakes.
        unsafe {
            bindings::__wake_up(self.head.get(), bindings::TASK_NORMAL, 0, key.cast());
        }
    }
}

impl Place<'_> {
    /// Sleeps until somebody notifies. May wake up for no reason; no signal ends it. It may take
    /// long without being an error, so the detector of hung tasks does not look at those who wait
    /// here.
    pub(crate) fn wait(self) {
        self.sleep(bindings::TASK_IDLE, Patience::WITHOUT_END);
    }

    /// Like [`Self::wait`], ended also by a signal that kills the task, and by the end of a
    /// patience.
    ///
    /// # Errors
    /// [`Killed`] if there is such a signal, whatever else has happened.
    pub(crate) fn wait_killable(self, patience: Patience) -> Result<(), Killed> {
        self.sleep(bindings::TASK_KILLABLE, patience);
        // SAFETY: `current` is a task that runs.
        let killed = unsafe { bindings::luo_fatal_signal_pending(bindings::get_current()) };
        if killed {
            Err(Killed)
        } else {
            Ok(())
        }
    }

    /// Sleeps for as long as a patience lasts at most.
    fn sleep(self, state: u32, patience: Patience) {
        let Self {
            queue,
            topic,
            notified,
        } = self;
        let place = Opaque::<Entry>::uninit();
        let entry = place.get().cast::<bindings::wait_queue_entry>();
        // SAFETY: Both parts are valid for writes, and nobody else has them yet.
        unsafe {
            bindings::init_wait(entry);
            (*entry).func = Some(wake_if_meant);
            (&raw mut (*place.get()).topic).write(topic);
        }
        let ticks = patience.ticks();
        // In the queue before it is looked at whether somebody has notified: who does so
        // afterwards finds the entry.
        //
        // SAFETY: The head is initialised and pinned; the entry stays where it is
        // on this stack until `finish_wait` has taken it out of the queue.
        unsafe { bindings::prepare_to_wait(queue.head.get(), entry, state as c_int) };
        if queue.notified.load(Ordering::SeqCst) == notified {
            // SAFETY: No spinlock is held. If there was a notification meanwhile, or
            // for a killable state a fatal signal, this returns at once.
            unsafe { bindings::schedule_timeout(ticks) };
        }
        // SAFETY: The pair given to `prepare_to_wait`.
        unsafe { bindings::finish_wait(queue.head.get(), entry) };
    }
}
