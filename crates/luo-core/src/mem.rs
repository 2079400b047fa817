// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Memory that may be refused.
//!
//! The one place where the engine meets an allocator: the kernel's `KVVec` in
//! the kernel, `Vec::try_reserve` elsewhere. Growing a [`Vec`] is the only way
//! to get memory, and each growth can fail with [`OutOfMemory`].

#[cfg(not(CONFIG_LIVEUPDATE_RUST))]
extern crate alloc;

#[cfg(not(CONFIG_LIVEUPDATE_RUST))]
type Inner<T> = alloc::vec::Vec<T>;
#[cfg(CONFIG_LIVEUPDATE_RUST)]
type Inner<T> = kernel::alloc::KVVec<T>;

#[cfg(CONFIG_LIVEUPDATE_RUST)]
use kernel::alloc::flags::{__GFP_NORETRY, __GFP_NOWARN, GFP_KERNEL_ACCOUNT};

/// How memory is asked for. It is charged to the caller's memory cgroup. A request that
/// cannot be met fails: nobody is killed for it, and nobody waits for long, because the
/// engine's lock may be held. It fails without a warning in the log, because its size may
/// come from a damaged handover.
#[cfg(CONFIG_LIVEUPDATE_RUST)]
fn flags() -> kernel::alloc::Flags {
    GFP_KERNEL_ACCOUNT | __GFP_NORETRY | __GFP_NOWARN
}

/// Elements that the first request of an array makes room for at least, so that one
/// which grows to a few does not ask for each. The standard library does the same.
#[cfg(CONFIG_LIVEUPDATE_RUST)]
const FEW: usize = 4;

/// A request for memory was refused; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// A growing array whose growth may fail.
pub struct Vec<T>(Inner<T>);

impl<T> Vec<T> {
    /// An empty array; asks for no memory.
    #[must_use]
    pub const fn new() -> Self {
        Self(Inner::new())
    }

    /// Makes room for `additional` more elements, at amortised constant cost.
    ///
    /// # Errors
    /// [`OutOfMemory`]; the array is as it was.
    pub fn reserve(&mut self, additional: usize) -> Result<(), OutOfMemory> {
        if self.spare() >= additional {
            return Ok(());
        }
        #[cfg(feature = "fault-injection")]
        fault::request()?;
        #[cfg(not(CONFIG_LIVEUPDATE_RUST))]
        let grown = self.0.try_reserve(additional).map_err(|_| OutOfMemory);
        #[cfg(CONFIG_LIVEUPDATE_RUST)]
        let grown = {
            let additional = match self.0.capacity() {
                0 => additional.max(FEW),
                _ => additional,
            };
            self.0.reserve(additional, flags()).map_err(|_| OutOfMemory)
        };
        grown
    }

    /// Elements that can be pushed without asking for memory.
    pub(crate) fn spare(&self) -> usize {
        self.0.capacity().saturating_sub(self.0.len())
    }

    /// Elements there are, and elements there is room for.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn shape(&self) -> [usize; 2] {
        [self.0.len(), self.0.capacity()]
    }

    /// Appends an element.
    ///
    /// # Errors
    /// [`OutOfMemory`]; the array is as it was and `value` is dropped.
    pub fn push(&mut self, value: T) -> Result<(), OutOfMemory> {
        self.reserve(1)?;
        #[cfg(not(CONFIG_LIVEUPDATE_RUST))]
        self.0.push(value);
        #[cfg(CONFIG_LIVEUPDATE_RUST)]
        self.0
            .push_within_capacity(value)
            .map_err(|_| OutOfMemory)?;
        Ok(())
    }

    /// Takes the last element off.
    pub fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    /// Forgets the elements from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// Takes the element at `at` out; the ones behind it move up.
    pub fn remove(&mut self, at: usize) -> Option<T> {
        if at >= self.0.len() {
            return None;
        }
        #[cfg(not(CONFIG_LIVEUPDATE_RUST))]
        let removed = Some(self.0.remove(at));
        #[cfg(CONFIG_LIVEUPDATE_RUST)]
        let removed = self.0.remove(at).ok();
        removed
    }
}

impl<T> Vec<T> {
    /// Elements that are worth giving room back for.
    const FEW_TO_KEEP: usize = 64;

    /// Gives room back if the array has room for many times its elements. It keeps its
    /// room where that takes memory which there is not.
    pub(crate) fn shrink(&mut self) {
        let room = self.len().saturating_add(self.spare());
        if room <= Self::FEW_TO_KEEP || self.len() > room / 4 {
            return;
        }
        let wanted = self.len().saturating_mul(2);
        #[cfg(not(CONFIG_LIVEUPDATE_RUST))]
        self.0.shrink_to(wanted);
        #[cfg(CONFIG_LIVEUPDATE_RUST)]
        let _ = self.0.shrink_to(wanted, flags());
    }
}

impl<T: Clone> Vec<T> {
    /// An array of `len` times `value`.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn filled(value: T, len: usize) -> Result<Self, OutOfMemory> {
        let mut all = Self::new();
        all.reserve(len)?;
        // There is room for all of them now, so none has to ask.
        #[cfg(not(CONFIG_LIVEUPDATE_RUST))]
        all.0.resize(len, value);
        #[cfg(CONFIG_LIVEUPDATE_RUST)]
        for _ in 0..len {
            all.0
                .push_within_capacity(value.clone())
                .map_err(|_| OutOfMemory)?;
        }
        Ok(all)
    }
}

impl<T> Default for Vec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> core::ops::Deref for Vec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> core::ops::DerefMut for Vec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T> IntoIterator for Vec<T> {
    type Item = T;
    type IntoIter = <Inner<T> as IntoIterator>::IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Makes the n-th request for memory fail, to show that each failure is undone.
///
/// The count is the thread's own, so tests do not disturb each other. A host
/// under test counts its own requests here too.
#[cfg(feature = "fault-injection")]
pub mod fault {
    use super::OutOfMemory;
    use std::cell::Cell;

    std::thread_local! {
        static COUNTDOWN: Cell<Option<u64>> = const { Cell::new(None) };
        static REQUESTS: Cell<u64> = const { Cell::new(0) };
    }

    /// Lets the next `requests` requests pass and the one behind them fail;
    /// those after it pass again.
    pub fn fail_after(requests: u64) {
        COUNTDOWN.set(Some(requests));
    }

    /// Stops failing. True if the failure did not come about.
    pub fn disarm() -> bool {
        COUNTDOWN.take().is_some()
    }

    /// Requests of this thread so far.
    #[must_use]
    pub fn requests() -> u64 {
        REQUESTS.get()
    }

    /// Counts one request.
    ///
    /// # Errors
    /// [`OutOfMemory`] when it is this one's turn to fail.
    pub fn request() -> Result<(), OutOfMemory> {
        REQUESTS.set(REQUESTS.get().wrapping_add(1));
        match COUNTDOWN.get() {
            None => Ok(()),
            Some(0) => {
                COUNTDOWN.set(None);
                Err(OutOfMemory)
            }
            Some(left) => {
                COUNTDOWN.set(Some(left.saturating_sub(1)));
                Ok(())
            }
        }
    }
}
