// SPDX-License-Identifier: GPL-2.0-only
//! The pages of a file that is preserved, and what is written of them and of it.

use luo_abi::errno::Errno;
use luo_core::held::{wait_for_holder, Files};
use luo_core::{Host as _, Subject};
use luo_memfd::{Format, Strings, Written, MOST_PAGES};

use super::pools::Counted;
use super::SEALS;
use crate::errno;
use crate::host::Linux;
use crate::sys::kho::PreservedPage;
use crate::sys::memfd::{Kept, Still};

/// What is kept of a preserved file. Dropping it ends everything, the last field last.
pub(crate) struct Preserved {
    written: Written<PreservedPage>,
    counted: Counted,
    kept: Kept,
    still: Still,
}

/// Pages of a file of so many bytes.
fn pages_of(size: u64) -> u64 {
    size.div_ceil(kernel::page::PAGE_SIZE as u64)
}

/// The name of a file, and who pays for it.
fn strings_of(still: &Still, kept: &Kept) -> Strings {
    let mut strings = Strings::EMPTY;
    still.look_name(&mut strings.name);
    kept.look_group(&mut strings.group);
    strings
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
        let strings = strings_of(&still, &kept);
        written.write(format, &still.facts(), &strings, kept.runs());
        kept.is_written();
        let counted = Counted::new(linux, format, kept.runs())?;
        let address = written.address();
        let preserved = Self {
            written,
            counted,
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
            kept,
            still,
        } = self;
        let (size, _) = still.size_and_seals();
        let changed = kept.look_again(still, pages_of(size));
        let strings = strings_of(still, kept);
        let facts = still.facts();
        if changed.map_err(errno::of_kernel)? {
            written.make_room(format, kept.runs(), || linux.alloc_block())?;
            written.write(format, &facts, &strings, kept.runs());
            kept.is_written();
            *counted = Counted::new(linux, format, kept.runs())?;
        } else {
            written.write_facts(&facts, &strings);
        }
        Ok(())
    }
}
