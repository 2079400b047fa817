// SPDX-License-Identifier: GPL-2.0-only
//! The handler of eventfds: their count, whether a read takes one of it or all, and whether a
//! read waits.
//!
//! This is the example of `docs/handlers.md`: a file of which a few words tell everything. Its
//! words are written and read by `luo_core::one_page` and `luo_core::note`; the kernel's eventfds
//! are reached through `sys::eventfd`.

use kernel::bindings;
use luo_abi::errno::Errno;
use luo_abi::note::{self, Eventfd, NONBLOCK, SEMAPHORE};
use luo_core::{OnePage, Small, Unrestored};

use crate::errno;
use crate::host::Linux;
use crate::sys::lent::Lent;
use crate::sys::{eventfd, file};

/// The handler.
pub(super) static EVENTFDS: OnePage<Eventfds> = OnePage(Eventfds);

/// Eventfds, of which a note tells everything.
pub(super) struct Eventfds;

impl Small<Linux> for Eventfds {
    type Note = Eventfd;

    fn compatible(&self) -> &'static str {
        note::EVENTFD
    }

    fn knows(&self, _: &Linux, file: &Lent) -> bool {
        eventfd::look(file).is_some()
    }

    fn object_id(&self, _: &Linux, file: &Lent) -> u64 {
        // Only the same open file is the same eventfd: there is no way to open one anew.
        file::address(file)
    }

    fn look(&self, _: &Linux, file: &Lent) -> Result<Eventfd, Errno> {
        let (count, semaphore) = eventfd::look(file).ok_or(Errno::EINVAL)?;
        let nonblock = file.flags() & bindings::O_NONBLOCK != 0;
        let flags = [(nonblock, NONBLOCK), (semaphore, SEMAPHORE)];
        let flags = flags.iter().filter(|(is_set, _)| *is_set);
        Ok(Eventfd {
            count,
            flags: flags.fold(0, |all, (_, flag)| all | flag),
        })
    }

    fn make(&self, _: &Linux, note: &Eventfd) -> Result<Lent, Unrestored> {
        let (nonblock, semaphore) = (note.flags & NONBLOCK != 0, note.flags & SEMAPHORE != 0);
        let made = eventfd::make(note.count, nonblock, semaphore);
        // Nothing but memory can be missing.
        made.map(Lent::from)
            .map_err(|why| Unrestored::Now(errno::of_kernel(why)))
    }
}
