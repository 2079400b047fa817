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
use kernel::alloc::flags::{
    __GFP_NORETRY, __GFP_NOWARN, GFP_KERNEL, GFP_KERNEL_ACCOUNT, GFP_NOWAIT,
};

/// How memory is asked for where the engine's lock may be held. It is charged to the caller's
/// memory cgroup. A request that cannot be met at once fails: nothing is reclaimed for it,
/// because all others would wait for that, too. It fails without a warning in the log, because
/// its size may come from a damaged handover.
#[cfg(CONFIG_LIVEUPDATE_RUST)]
fn flags() -> kernel::alloc::Flags {
    let account = GFP_KERNEL_ACCOUNT & !GFP_KERNEL;
    GFP_NOWAIT | account | __GFP_NOWARN
}

/// How memory is asked for without the lock. The caller may wait until some has been
/// reclaimed, in its own cgroup; nobody is killed for it.
#[cfg(CONFIG_LIVEUPDATE_RUST)]
fn flags_without_lock() -> kernel::alloc::Flags {
    GFP_KERNEL_ACCOUNT | __GFP_NORETRY | __GFP_NOWARN
}

/// Bytes that room is made for in one piece.
const PIECE: usize = 64 << 10;

/// Makes room for so many bytes by asking for as much and giving it back. The engine's lock
/// must not be held.
///
/// # Errors
/// [`OutOfMemory`].
pub(crate) fn make_room(bytes: usize) -> Result<(), OutOfMemory> {
    #[cfg(feature = "fault-injection")]
    fault::room()?;
    let pieces = bytes.div_ceil(PIECE);
    let mut held: Vec<Vec<u8>> = Vec::with_capacity(pieces)?;
    for _ in 0..pieces {
        held.push(Vec::with_capacity(PIECE)?)?;
    }
    Ok(())
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

    /// An empty array with room for some elements. The engine's lock must not be held: the
    /// caller may wait for it.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn with_capacity(elements: usize) -> Result<Self, OutOfMemory> {
        #[cfg(feature = "fault-injection")]
        fault::request_without_lock()?;
        let mut all = Self::new();
        #[cfg(not(CONFIG_LIVEUPDATE_RUST))]
        all.0.try_reserve_exact(elements).map_err(|_| OutOfMemory)?;
        #[cfg(CONFIG_LIVEUPDATE_RUST)]
        all.0
            .reserve(elements, flags_without_lock())
            .map_err(|_| OutOfMemory)?;
        Ok(all)
    }

    /// Makes room for `additional` more elements, at amortised constant cost. Nobody waits:
    /// the engine's lock may be held.
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
/// under test counts its own requests here too, and says when it has the engine's lock.
#[cfg(feature = "fault-injection")]
pub mod fault {
    use super::OutOfMemory;
    use std::cell::Cell;

    std::thread_local! {
        static COUNTDOWN: Cell<Option<u64>> = const { Cell::new(None) };
        static REQUESTS: Cell<u64> = const { Cell::new(0) };
        static ROOMS: Cell<u64> = const { Cell::new(0) };
        static HAS_ROOM: Cell<bool> = const { Cell::new(true) };
        static LOCKED: Cell<bool> = const { Cell::new(false) };
        static SESSIONS: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// Lets the next `requests` requests pass and the one behind them fail, and no room be
    /// made for that; those after it pass again.
    pub fn fail_after(requests: u64) {
        COUNTDOWN.set(Some(requests));
        HAS_ROOM.set(false);
    }

    /// As [`fail_after`], of a machine where room can be made.
    pub fn wait_after(requests: u64) {
        COUNTDOWN.set(Some(requests));
        HAS_ROOM.set(true);
    }

    /// Stops failing. True if the failure did not come about.
    pub fn disarm() -> bool {
        HAS_ROOM.set(true);
        COUNTDOWN.take().is_some()
    }

    /// Requests of this thread so far.
    #[must_use]
    pub fn requests() -> u64 {
        REQUESTS.get()
    }

    /// How often this thread has made room so far.
    #[must_use]
    pub fn rooms() -> u64 {
        ROOMS.get()
    }

    /// Says whether this thread has the engine's lock from now on.
    pub fn set_locked(locked: bool) {
        LOCKED.set(locked);
    }

    /// Lets so many sessions be added and the one behind them not, though there is memory for it.
    pub fn refuse_session_after(sessions: u64) {
        SESSIONS.set(Some(sessions));
    }

    /// A session is to be added.
    pub(crate) fn adds_session() -> Result<(), OutOfMemory> {
        let left = SESSIONS.get();
        SESSIONS.set(left.and_then(|left| left.checked_sub(1)));
        match left {
            Some(0) => Err(OutOfMemory),
            _ => Ok(()),
        }
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

    /// Counts one request that may wait until there is memory. It fails only where no room
    /// can be made.
    pub(super) fn request_without_lock() -> Result<(), OutOfMemory> {
        assert!(!LOCKED.get(), "waits for memory under the engine's lock");
        let told = request();
        if HAS_ROOM.get() {
            return Ok(());
        }
        told
    }

    /// Somebody makes room.
    pub(super) fn room() -> Result<(), OutOfMemory> {
        assert!(!LOCKED.get(), "makes room under the engine's lock");
        ROOMS.set(ROOMS.get().wrapping_add(1));
        if HAS_ROOM.get() {
            Ok(())
        } else {
            // Once: whoever tries again later has it.
            HAS_ROOM.set(true);
            Err(OutOfMemory)
        }
    }
}
