// SPDX-License-Identifier: GPL-2.0-only
//! The handler of memfds.
//!
//! Preserving holds a file still, refers to its pages where they are, and has Kexec
//! HandOver keep them; nothing is copied, and a hole stays a hole. What is written
//! afterwards arrives, too: at freeze the file is looked at again, for pages that have come
//! into its holes, and for all that is known of it.
//!
//! Retrieving makes a file of which all that is true again, and puts the pages into it.
//! They are charged to the control group that had them, if there is one of the same path. A
//! file whose pages do not fit is kept half made, and the next try goes on with it.
//!
//! The formats are `luo_memfd`; what touches memory is in `sys::memfd`.

mod half;
mod owners;
mod pools;

use kernel::prelude::*;
use luo_abi::errno::Errno;
use luo_core::held::{wait_for_holder, Files};
use luo_core::{Host as _, Kind, Subject, Unrestored};
use luo_memfd::{Format, Strings, Written, MOST_PAGES};

use crate::errno;
use crate::handler::Handler;
use crate::host::Linux;
use crate::policy;
use crate::sys::file;
use crate::sys::handler_table::HandlerTable;
use crate::sys::kho::PreservedPage;
use crate::sys::lent::Lent;
use crate::sys::memfd::{self, Kept, Still};
use crate::sys::memory;
use crate::sys::module::Owner;

pub(crate) use half::{Half, Halves};
pub(crate) use owners::Owners;
pub(crate) use pools::{set_up as set_up_pools, Page as PoolsPage};

use owners::Path;
use pools::Counted;

/// The seals that can be handed over: `MEMFD_LUO_ALL_SEALS` of mainline.
const SEALS: u32 = 0x3f;

/// What is kept of a preserved file. Dropping it ends everything, the last field last.
pub(crate) struct Preserved {
    written: Written<PreservedPage>,
    counted: Counted,
    /// Who has paid for it, if nobody is charged while it is carried on.
    owner: Option<KBox<Path>>,
    kept: Kept,
    still: Still,
}

/// The handler of memfds, with a format.
pub(super) struct Memfds(Format);

/// In mainline's.
pub(super) static MAINLINES: Memfds = Memfds(Format::Mainline);

/// In runs of pages.
pub(super) static IN_RUNS: Memfds = Memfds(Format::Runs);

/// Of huge pages, which are handed over in runs always.
#[cfg(CONFIG_HUGETLBFS)]
pub(super) static HUGE: Memfds = Memfds(Format::Huge);

/// The handler that C code knows by a table.
pub(super) fn of_table(table: &HandlerTable) -> Option<Handler> {
    let is_meant = |of: &&'static Memfds| memfd::table(of.0).as_ref() == Some(table);
    let all = [
        &MAINLINES,
        &IN_RUNS,
        #[cfg(CONFIG_HUGETLBFS)]
        &HUGE,
    ];
    let kind = all.into_iter().find(is_meant)?;
    Some(Handler::Kind(kind, Owner::BUILT_IN))
}

/// The table that C code knows a handler by.
pub(super) fn table_of(compatible: &str) -> Option<HandlerTable> {
    let mut all = Format::ALL.into_iter();
    memfd::table(all.find(|format| format.compatible() == compatible)?)
}

/// Pages of a file of so many bytes.
fn pages_of(size: u64) -> u64 {
    size.div_ceil(kernel::page::PAGE_SIZE as u64)
}

/// The name of a file, and who pays for it.
fn strings_of(still: &Still, kept: &Kept, owner: Option<&Path>) -> Strings {
    let mut strings = Strings::EMPTY;
    still.look_name(&mut strings.name);
    match owner {
        Some(owner) => strings.group = owner.clone(),
        None => kept.look_group(&mut strings.group),
    }
    strings
}

/// Who has paid for the file that another carries on.
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

impl Kind<Linux> for Memfds {
    type Kept = Preserved;

    fn compatible(&self) -> &'static str {
        self.0.compatible()
    }

    fn knows(&self, _: &Linux, file: &Lent) -> bool {
        match self.0 {
            Format::Huge => memfd::is_huge(file),
            // One of both takes it.
            format => memfd::is_memfd(file) && policy::memfd_format() == format,
        }
    }

    fn object_id(&self, _: &Linux, file: &Lent) -> u64 {
        memfd::object_id(file)
    }

    fn bytes(&self, _: &Linux, file: &Lent) -> u64 {
        file::bytes(file)
    }

    /// # Errors
    /// EBUSY if somebody writes to it and does not end, or uses a page that has to be moved;
    /// EOPNOTSUPP for a seal that is not known; EFBIG; ENOMEM; those of moving pages to where they
    /// can stay.
    fn preserve(
        &self,
        linux: &Linux,
        of: &Subject,
        file: &Lent,
    ) -> Result<(u64, Preserved), Errno> {
        let still = match Still::at_once(file) {
            Some(still) => still,
            None => wait_for_holder(linux, of, Files::Memfds, |patience| {
                Still::begin(file, patience)
            })?,
        };
        let (size, seals) = still.size_and_seals();
        if seals & !SEALS != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let end = pages_of(size);
        if end > MOST_PAGES {
            return Err(Errno::EFBIG);
        }
        let mut kept = wait_for_holder(linux, of, Files::Memfds, |pauses| {
            Kept::new(self.0, &still, end, pauses).map_err(errno::of_kernel)
        })?;
        let mut written = Written::new(linux.alloc_block()?);
        written.make_room(self.0, kept.runs(), || linux.alloc_block())?;
        let owner = owner_of(linux, of)?;
        let strings = strings_of(&still, &kept, owner.as_deref());
        written.write(self.0, &still.facts(), &strings, kept.runs());
        kept.is_written();
        let counted = Counted::new(linux, self.0, kept.runs())?;
        let address = written.address();
        let preserved = Preserved {
            written,
            counted,
            owner,
            kept,
            still,
        };
        Ok((address, preserved))
    }

    /// What was written since arrives, too, and what has become of the file otherwise.
    ///
    /// # Errors
    /// As for [`Self::preserve`].
    fn freeze(&self, linux: &Linux, _: &Lent, preserved: &mut Preserved) -> Result<(), Errno> {
        let Preserved {
            written,
            counted,
            owner,
            kept,
            still,
        } = preserved;
        counted.set_lost(linux, false);
        let (size, _) = still.size_and_seals();
        let changed = kept.look_again(still, pages_of(size));
        let strings = strings_of(still, kept, owner.as_deref());
        let facts = still.facts();
        if changed.map_err(errno::of_kernel)? {
            written.make_room(self.0, kept.runs(), || linux.alloc_block())?;
            // What can fail comes before it is noted that nothing is left to be done.
            *counted = Counted::new(linux, self.0, kept.runs())?;
            written.write(self.0, &facts, &strings, kept.runs());
            kept.is_written();
        } else {
            written.write_facts(&facts, &strings);
        }
        Ok(())
    }

    fn lose(&self, linux: &Linux, preserved: &mut Preserved) {
        preserved.counted.set_lost(linux, true);
    }

    /// # Errors
    /// `Now` if memory is short; `Ever` if what was left is damaged.
    fn retrieve(&self, linux: &Linux, of: &Subject, data: u64) -> Result<Lent, Unrestored> {
        let mut half = match linux.take_half(data) {
            Some(half) => half,
            None => Half::begin(self.0, data)?,
        };
        match half.go_on(data) {
            Ok(()) => {
                if !of.is_in_call() {
                    linux.with_owners(|owners| owners.note(data, half.owner()));
                }
                Ok(KBox::into_inner(half).into_file().into())
            }
            Err(Unrestored::Now(errno)) => {
                linux.keep_half(data, half);
                Err(Unrestored::Now(errno))
            }
            Err(why) => {
                KBox::into_inner(half).free();
                Err(why)
            }
        }
    }

    fn discard(&self, linux: &Linux, data: u64) {
        match linux.take_half(data) {
            Some(half) => KBox::into_inner(half).free(),
            None => half::discard(self.0, data),
        }
    }

    fn finish(&self, linux: &Linux, data: u64) {
        linux.with_owners(|owners| owners.forget(data));
    }
}
