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
mod preserved;

use kernel::prelude::*;
use luo_abi::errno::Errno;
use luo_core::held::{wait_for_holder, Files};
use luo_core::{Kind, Subject, Unrestored};
use luo_memfd::Format;

use crate::handler::Handler;
use crate::host::Linux;
use crate::policy;
use crate::sys::file;
use crate::sys::handler_table::HandlerTable;
use crate::sys::lent::Lent;
use crate::sys::memfd::{self, Made, Still};
use crate::sys::module::Owner;

#[cfg(CONFIG_LIVEUPDATE_KVM_RUST)]
pub(super) use half::discard;
pub(crate) use half::{Half, Halves};
pub(crate) use owners::Owners;
pub(crate) use pools::{set_up as set_up_pools, Page as PoolsPage};
pub(super) use preserved::Preserved;

/// The seals that can be handed over: `MEMFD_LUO_ALL_SEALS` of mainline.
const SEALS: u32 = 0x3f;

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

/// Goes on with a file that is half restored. One that does not fit is kept as far as it has come.
///
/// # Errors
/// As of [`Half::go_on`].
pub(super) fn go_on(
    linux: &Linux,
    of: &Subject,
    mut half: Half,
    data: u64,
) -> Result<Lent, Unrestored> {
    match half.go_on(data) {
        Ok(()) => {
            if !of.is_in_call() {
                note_owner(linux, data, &half.owner());
            }
            Ok(half.into_file().into())
        }
        Err(Unrestored::Now(errno)) => {
            linux.keep_half(data, half);
            Err(Unrestored::Now(errno))
        }
        Err(why) => {
            half.free();
            Err(why)
        }
    }
}

/// Notes who has paid for a file, which is carried on.
fn note_owner(linux: &Linux, data: u64, path: &owners::Path) {
    if let Some(owner) = owners::owner(data, path) {
        drop(linux.with_owners(|owners| owners.note(owner)));
    }
}

/// A file of the previous kernel is finished.
pub(super) fn forget(linux: &Linux, data: u64) {
    drop(linux.with_owners(|owners| owners.forget(data)));
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
        Preserved::new(linux, of, self.0, still)
    }

    /// What was written since arrives, too, and what has become of the file otherwise.
    ///
    /// # Errors
    /// As for [`Self::preserve`].
    fn freeze(&self, linux: &Linux, _: &Lent, preserved: &mut Preserved) -> Result<(), Errno> {
        preserved.look_again(linux, self.0)
    }

    fn lose(&self, linux: &Linux, preserved: &mut Preserved) {
        preserved.is_lost(linux);
    }

    /// # Errors
    /// `Now` if memory is short; `Ever` if what was left is damaged.
    fn retrieve(&self, linux: &Linux, of: &Subject, data: u64) -> Result<Lent, Unrestored> {
        let half = match linux.take_half(data) {
            Some(half) => half,
            None => Half::begin(self.0, data, Made::new)?,
        };
        go_on(linux, of, half, data)
    }

    fn discard(&self, linux: &Linux, data: u64) {
        match linux.take_half(data) {
            Some(half) => half.free(),
            None => half::discard(self.0, data),
        }
    }

    fn finish(&self, linux: &Linux, data: u64) {
        forget(linux, data);
    }
}
