// SPDX-License-Identifier: GPL-2.0-only
//! Files of the old kernel, held still.

use kernel::bindings;
use kernel::fs::File;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use luo_abi::errno::Errno;
use luo_abi::memfd::NAME_LENGTH;
use luo_memfd::{Facts, Short};

use super::facts::facts_of;
use super::kind::{is_huge, is_memfd};
#[cfg(CONFIG_LIVEUPDATE_KVM_RUST)]
use crate::sys::kvm::memory::Memory;
use crate::sys::wait;

/// The lock of a memfd's inode, by which nobody is in the middle of a change of its size.
///
/// # Invariants
///
/// It is held, by this task.
struct Locked<'a>(&'a File);

impl<'a> Locked<'a> {
    /// Locks the inode of a memfd, if nobody has it.
    fn now(file: &'a File) -> Option<Self> {
        // SAFETY: The file is a memfd and there for the call.
        let is_ours = unsafe { bindings::luo_memfd_lock(file.as_ptr()) };
        // INVARIANT: Just locked.
        is_ours.then(|| Self(file))
    }

    /// Locks the inode of a memfd. Whoever writes to the file may have the lock for as long as
    /// they like, so there is an end to the patience: so many pauses, of which those that were
    /// waited are taken.
    ///
    /// # Errors
    /// EBUSY at the end of it. That the task is killed does not end it.
    fn patiently(file: &'a File, patience: &mut u32) -> Result<Self, Errno> {
        let mut locked = None;
        wait::patiently(patience, || {
            locked = Self::now(file);
            locked.is_some()
        })?;
        locked.ok_or(Errno::EBUSY)
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant.
        unsafe { bindings::luo_memfd_unlock(self.0.as_ptr()) }
    }
}

/// Holds a file still: its size does not change, and no hole is punched into it. Ends when
/// it is dropped.
///
/// # Invariants
///
/// The file is a memfd, of small pages or of huge ones, or memory of a virtual machine that is
/// held by KVM.
pub(crate) struct Still(pub(super) ARef<File>, Held);

/// Who holds a file still.
#[derive(Clone, Copy)]
enum Held {
    /// Shared memory, or hugetlbfs.
    Here,
    /// KVM.
    #[cfg(CONFIG_LIVEUPDATE_KVM_RUST)]
    ByKvm,
}

// SAFETY: It may be ended by any task.
unsafe impl Send for Still {}

impl Still {
    /// Begins it, if nobody has the file locked.
    pub(crate) fn at_once(file: &ARef<File>) -> Option<Self> {
        if !is_memfd(file) && !is_huge(file) {
            return None;
        }
        Locked::now(file).map(|locked| Self::of(file, &locked))
    }

    /// Begins it, and waits for so many pauses at most for who has the file locked; takes those
    /// that it has waited.
    ///
    /// # Errors
    /// EINVAL for another file; EBUSY if somebody writes to it and does not end.
    pub(crate) fn begin(file: &ARef<File>, patience: &mut u32) -> Result<Self, Errno> {
        if !is_memfd(file) && !is_huge(file) {
            return Err(Errno::EINVAL);
        }
        let locked = Locked::patiently(file, patience)?;
        Ok(Self::of(file, &locked))
    }

    /// Holds a memfd that is locked.
    fn of(file: &ARef<File>, _: &Locked<'_>) -> Self {
        // SAFETY: It is a memfd, as all are that can be locked.
        unsafe { bindings::luo_memfd_hold(file.as_ptr(), true) };
        // INVARIANT: As above.
        Self(file.clone(), Held::Here)
    }

    /// Begins it for memory of a virtual machine, of which no page goes from now on. Waits for so
    /// many pauses at most for who fills it or punches a hole; takes those that it has waited.
    ///
    /// # Errors
    /// EINVAL for another file; EBUSY if somebody is at it and does not end.
    #[cfg(CONFIG_LIVEUPDATE_KVM_RUST)]
    pub(crate) fn begin_guest(file: &ARef<File>, patience: &mut u32) -> Result<Self, Errno> {
        let memory = Memory::of(file).ok_or(Errno::EINVAL)?;
        wait::patiently(patience, || memory.hold())?;
        // INVARIANT: Just held.
        Ok(Self(file.clone(), Held::ByKvm))
    }

    /// The facts of the file now.
    pub(crate) fn facts(&self) -> Facts {
        let mut facts = bindings::luo_memfd_facts::default();
        // SAFETY: By the type's invariant, and the structure is valid for writes.
        unsafe { bindings::luo_memfd_look(self.0.as_ptr(), &mut facts) };
        facts_of(&facts)
    }

    /// Its name.
    pub(crate) fn look_name(&self, name: &mut Short<NAME_LENGTH>) {
        name.fill(|room| {
            // SAFETY: By the type's invariant, and the room is valid for writes.
            unsafe {
                bindings::luo_memfd_look_name(self.0.as_ptr(), room.as_mut_ptr().cast(), room.len())
            }
        });
    }

    /// Bytes of the file and its seals.
    pub(crate) fn size_and_seals(&self) -> (u64, u32) {
        let mut seals = 0;
        // SAFETY: By the type's invariant, and the number is valid for writes.
        let size = unsafe { bindings::luo_memfd_size(self.0.as_ptr(), &mut seals) };
        (size, seals)
    }

    /// Pages that the file has, in memory or swapped out.
    pub(super) fn pages(&self) -> u64 {
        // SAFETY: By the type's invariant.
        unsafe { bindings::luo_memfd_pages(self.0.as_ptr()) }
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        match self.1 {
            // SAFETY: By the type's invariant.
            Held::Here => unsafe { bindings::luo_memfd_hold(self.0.as_ptr(), false) },
            #[cfg(CONFIG_LIVEUPDATE_KVM_RUST)]
            Held::ByKvm => {
                if let Some(memory) = Memory::of(&self.0) {
                    memory.let_go();
                }
            }
        }
    }
}
