// SPDX-License-Identifier: GPL-2.0-only
//! Files that are made for what the previous kernel has left.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::error::{from_err_ptr, to_result};
use kernel::fs::File;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use luo_memfd::{Facts, Format, Strings};

use super::back;
use super::facts::facts_to;
use super::huge::HugeGroup;

/// A file that is being made, which nobody else knows.
///
/// # Invariants
///
/// It is a memfd, or memory of a virtual machine, and the reference is the only one.
pub(crate) struct Made {
    pub(super) file: ARef<File>,
    /// Its pages stay single ones.
    is_of_pages: bool,
    /// Who pays for its huge pages, if it is not the caller.
    pub(super) payer: Option<HugeGroup>,
}

// SAFETY: A file belongs to no task.
unsafe impl Send for Made {}

impl Made {
    /// A file without pages.
    ///
    /// # Errors
    /// ENOMEM; ENODEV if the kernel has no huge pages of its size; those of making a file.
    pub(crate) fn new(facts: &Facts, strings: &Strings) -> Result<Self> {
        let to = facts_to(facts);
        let name = match facts.more {
            Some(_) => strings.name.room().as_ptr(),
            None => core::ptr::null(),
        };
        // SAFETY: The name is null or terminated: its room has a byte for that.
        let file = from_err_ptr(unsafe { bindings::luo_memfd_make(&to, name.cast()) });
        // Shared memory calls it so, too, if there is no memory for an inode.
        let file = file.map_err(|why| if why == ENOSPC { ENOMEM } else { why })?;
        let file = NonNull::new(file).ok_or(ENOMEM)?;
        // SAFETY: The file is new: its one reference is ours, and nobody is in
        // `fdget_pos` with it.
        // INVARIANT: As above.
        let file = unsafe { ARef::from_raw(file.cast()) };
        let payer = match facts.huge {
            0 => None,
            _ => HugeGroup::of_path(&strings.group),
        };
        Ok(Self {
            file,
            is_of_pages: false,
            payer,
        })
    }

    /// Memory of a virtual machine that KVM has just made, without pages; it becomes what is
    /// known of it.
    ///
    /// # Errors
    /// EINVAL if no such file is like that.
    #[cfg(CONFIG_LIVEUPDATE_KVM_RUST)]
    pub(crate) fn guest(file: ARef<File>, facts: &Facts) -> Result<Self> {
        let to = facts_to(facts);
        // SAFETY: The file is there for the call, and nobody else has it.
        to_result(unsafe { bindings::luo_guest_become(file.as_ptr(), &to) })?;
        // INVARIANT: As the caller says, who has made it.
        Ok(Self {
            file,
            is_of_pages: true,
            payer: None,
        })
    }

    /// The highest order of a folio that single pages are joined to in it.
    pub(crate) fn join_order(&self, format: Format) -> u32 {
        match self.is_of_pages {
            true => 0,
            false => back::join_order(format),
        }
    }

    /// Whether who is charged for what this task puts into it has room for so many pages, once
    /// it has given back what it can do without.
    pub(crate) fn payer_has_room(&self, pages: u64) -> bool {
        let group = HugeGroup::as_ptr(self.payer.as_ref());
        // SAFETY: By the type's invariant; the group is null or there for the call. The task may
        // sleep, and holds no lock of memory.
        unsafe { bindings::luo_memfd_payer_has_room(self.file.as_ptr(), group, pages) }
    }

    /// Accounts for pages that are to come into it.
    ///
    /// # Errors
    /// ENOSPC: the machine may not have as much.
    pub(crate) fn account(&self, pages: u64) -> Result {
        // SAFETY: By the type's invariant.
        to_result(unsafe { bindings::luo_memfd_account(self.file.as_ptr(), pages) })
    }

    /// Gives back what was accounted for and has not come. Called once for each
    /// [`Self::account`].
    pub(crate) fn settle_account(&self, pages: u64) {
        // SAFETY: By the type's invariant.
        unsafe { bindings::luo_memfd_settle_account(self.file.as_ptr(), pages) }
    }

    /// The file, which is complete.
    pub(crate) fn into_file(self) -> ARef<File> {
        self.file
    }
}
