// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The calls that list. `id` is the session whose files are meant; a device has none
//! before something is registered on it.

use core::mem::size_of;

use luo_abi::calls::DescriptorKind;
use luo_abi::contract::{List, LIST_INCOMING};
use luo_abi::errno::Errno;
use luo_abi::extend;
use luo_core::ops::{self, Page};
use luo_core::{Actor, Error, SessionId};
use zerocopy::{Immutable, IntoBytes};

use crate::caller::Caller;
use crate::host::CallHost;
use crate::request::{Answer, Request};

/// Zeros that are written together behind an entry.
const ZEROS: [u8; 64] = [0; 64];

impl<H: CallHost, C: Caller<File = H::File>> Request<'_, H, C> {
    /// LIST_FILES of a session.
    pub(crate) fn list_files(&self, id: SessionId) -> Result<(), Errno> {
        self.list(DescriptorKind::Session, |call, room| {
            ops::list_files(self.host, id, call.cursor, room)
        })
    }

    /// LIST_FILES of the device: what is registered there, or was in the previous kernel.
    pub(crate) fn list_device_files(&self, id: Option<SessionId>) -> Result<(), Errno> {
        self.list(DescriptorKind::Device, |call, room| {
            match (call.flags, id) {
                // They are the administrator's.
                (LIST_INCOMING, _) if self.actor() != Actor::Administrator => Ok(Page::empty()),
                (LIST_INCOMING, _) => ops::list_arrived_files(self.host, call.cursor, room),
                // Nothing is registered on a device without a session.
                (_, None) => Ok(Page::empty()),
                (_, Some(id)) => ops::list_files(self.host, id, call.cursor, room),
            }
        })
    }

    /// LIST_DEPENDENCIES.
    pub(crate) fn list_dependencies(
        &self,
        id: Option<SessionId>,
        on: DescriptorKind,
    ) -> Result<(), Errno> {
        self.list(on, |call, room| {
            // On a device without a session no file has this token.
            let id = id.ok_or(Error::NoToken)?;
            ops::list_dependencies(self.host, self.actor(), id, call.token, call.cursor, room)
        })
    }

    /// LIST_SESSIONS.
    pub(crate) fn list_sessions(&self) -> Result<(), Errno> {
        self.list(DescriptorKind::Device, |call, room| {
            ops::list_sessions(self.host, self.actor(), call.flags, call.cursor, room)
        })
    }

    /// LIST_PARTICIPANTS.
    pub(crate) fn list_participants(&self) -> Result<(), Errno> {
        self.list(DescriptorKind::Device, |call, room| {
            ops::list_participants(self.host, call.cursor, room)
        })
    }

    /// Reads the argument, gets a page of as many entries as there is room for, and
    /// answers with it.
    fn list<T: IntoBytes + Immutable>(
        &self,
        on: DescriptorKind,
        page: impl FnOnce(&List, usize) -> Result<Page<T>, Error>,
    ) -> Result<(), Errno> {
        let (call, answer) = self.read::<List>()?;
        self.allow(&call, on)?;
        let page = page(&call, call.capacity as usize).map_err(|why| why.errno())?;
        self.give(call, &answer, &page)
    }

    /// Refuses what this call does not know, by the table.
    fn allow(&self, call: &List, on: DescriptorKind) -> Result<(), Errno> {
        let entries = self.call.list.ok_or(Errno::EINVAL)?;
        let flags = call.flags & !entries.flags_on(on) == 0;
        let token = entries.of_file || call.token == 0;
        if flags && token && call.reserved == 0 {
            Ok(())
        } else {
            Err(Errno::EINVAL)
        }
    }

    /// Copies the entries, then what there is to say of them.
    fn give<T: IntoBytes + Immutable>(
        &self,
        mut call: List,
        answer: &Answer<'_, C>,
        page: &Page<T>,
    ) -> Result<(), Errno> {
        let size = call.entry_size as usize;
        if size < size_of::<T>() || size > extend::MAX_SIZE {
            return Err(Errno::EINVAL);
        }
        if size == size_of::<T>() {
            self.caller.write(call.entries, page.entries.as_bytes())?;
        } else {
            let mut to = call.entries;
            for entry in page.entries.iter() {
                self.give_entry(to, entry.as_bytes(), size)?;
                to = to.checked_add(size as u64).ok_or(Errno::EFAULT)?;
            }
        }
        call.cursor = page.next;
        // A page has `ops::MAX_PAGE` entries at most.
        call.count = page.entries.len() as u32;
        call.total = page.total;
        answer.write(&call)
    }

    /// Copies an entry. What a newer program knows of it is zero.
    fn give_entry(&self, to: u64, entry: &[u8], size: usize) -> Result<(), Errno> {
        self.caller.write(to, entry)?;
        for at in (entry.len()..size).step_by(ZEROS.len()) {
            let zeros = ZEROS.get(..size.saturating_sub(at)).unwrap_or(&ZEROS);
            let to = to.checked_add(at as u64).ok_or(Errno::EFAULT)?;
            self.caller.write(to, zeros)?;
        }
        Ok(())
    }
}
