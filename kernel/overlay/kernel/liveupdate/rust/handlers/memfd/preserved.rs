// SPDX-License-Identifier: GPL-2.0-only
//! The pages of a file that is preserved, and what is written of them and of it.

use kernel::prelude::*;
use luo_abi::errno::Errno;
use luo_core::held::{wait_for_holder, Files};
use luo_core::{Host as _, Subject};
use luo_memfd::{Format, Strings, Written, MOST_PAGES};

use super::owners::Path;
use super::pools::Counted;
use super::SEALS;
use crate::errno;
use crate::host::Linux;
use crate::sys::kho::PreservedPage;
use crate::sys::memfd::{Kept, Still};
use crate::sys::memory;

/// What is kept of a preserved file. Dropping it ends everything, the last field last.
pub(crate) struct Preserved {
    written: Written<PreservedPage>,
    counted: Counted,
    /// Who has paid for it, if nobody is charged while it is carried on.
    owner: Option<KBox<Path>>,
    kept: Kept,
    still: Still,
}

/// Pages of a file of so many bytes.
fn pages_of(size: u64) -> u64 {
    size.div_ceil(kernel::page::PAGE_SIZE as u64)
}

/// Looks for the name of a file, and who pays for it. The strings are large and so stay where they
/// are.
fn look_strings(strings: &mut Strings, still: &Still, kept: &Kept, owner: Option<&Path>) {
    still.look_name(&mut strings.name);
    match owner {
        Some(owner) => strings.group = owner.clone(),
        None => kept.look_group(&mut strings.group),
    }
}

/// Who has paid for the file that another carries on, if it was noted.
///
/// # Errors
/// ENOMEM.
fn owner_of(linux: &Linux, of: &Subject) -> Result<Option<KBox<Path>>, Errno> {
    let Some(data) = of.carries() else {
        return Ok(None);
    };
    let owner = linux.with_owners(|owners| owners.get(data).cloned());
    let kept = owner.map(|owner| KBox::new(owner, memory::flags()));
    kept.transpose().map_err(|_| Errno::ENOMEM)
}

impl Preserved {
    /// Keeps the pages of a file that is held still, and writes down which they are. With the
    /// address of what is written.
    ///
    /// # Errors
    /// EOPNOTSUPP for a seal that is not known; EFBIG; ENOMEM; EBUSY if somebody uses a page that
    /// has to be moved; those of moving pages to where they can stay.
    pub(in crate::handlers) fn new(
        linux: &Linux,
        of: &Subject,
        format: Format,
        still: Still,
    ) -> Result<(u64, Self), Errno> {
        let (size, seals) = still.size_and_seals();
        if seals & !SEALS != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let end = pages_of(size);
        if end > MOST_PAGES {
            return Err(Errno::EFBIG);
        }
        let mut kept = wait_for_holder(linux, of, Files::Memfds, |pauses| {
            Kept::new(format, &still, end, pauses).map_err(errno::of_kernel)
        })?;
        let mut written = Written::new(linux.alloc_block()?);
        written.make_room(format, kept.runs(), || linux.alloc_block())?;
        let owner = owner_of(linux, of)?;
        let mut strings = Strings::EMPTY;
        look_strings(&mut strings, &still, &kept, owner.as_deref());
        written.write(format, &still.facts(), &strings, kept.runs());
        kept.is_written();
        let counted = Counted::new(linux, format, kept.runs())?;
        let address = written.address();
        let preserved = Self {
            written,
            counted,
            owner,
            kept,
            still,
        };
        Ok((address, preserved))
    }

    /// What was written since is kept, too, and what has become of the file otherwise.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub(in crate::handlers) fn look_again(
        &mut self,
        linux: &Linux,
        format: Format,
    ) -> Result<(), Errno> {
        let Self {
            written,
            counted,
            owner,
            kept,
            still,
        } = self;
        counted.set_lost(linux, false);
        let (size, _) = still.size_and_seals();
        let changed = kept.look_again(still, pages_of(size));
        let mut strings = Strings::EMPTY;
        look_strings(&mut strings, still, kept, owner.as_deref());
        let facts = still.facts();
        if changed.map_err(errno::of_kernel)? {
            written.make_room(format, kept.runs(), || linux.alloc_block())?;
            // What can fail comes before it is noted that nothing is left to be done.
            *counted = Counted::new(linux, format, kept.runs())?;
            written.write(format, &facts, &strings, kept.runs());
            kept.is_written();
        } else {
            written.write_facts(&facts, &strings);
        }
        Ok(())
    }

    /// The file does not go to the next kernel, and nobody lets go of it.
    pub(super) fn is_lost(&mut self, linux: &Linux) {
        self.counted.set_lost(linux, true);
    }
}
