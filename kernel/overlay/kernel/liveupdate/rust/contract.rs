// SPDX-License-Identifier: GPL-2.0-only
//! The calls of `luo_abi::contract` that a session's descriptor and the device both
//! take: dependencies and lists.

use core::mem::size_of;

use kernel::prelude::*;
use kernel::uaccess::{UserPtr, UserSlice};
use luo_abi::contract::{Dependency, List, DEPENDENCY_ON_DEVICE, LIST_INCOMING, LIST_OUTGOING};
use luo_abi::extend;
use luo_core::ops::{self, Needed, Page};
use luo_core::{SessionId, SessionName};
use zerocopy::{Immutable, IntoBytes};

use crate::argument;
use crate::errno;
use crate::host::Linux;

/// ADD_DEPENDENCY.
pub(crate) fn add_dependency(linux: &Linux, id: Option<SessionId>, argument: usize) -> Result {
    let (token, on) = read_dependency(argument)?;
    let id = id.ok_or(ENOENT)?;
    ops::add_dependency(linux, id, token, on).map_err(errno::of_operation)
}

/// DROP_DEPENDENCY.
pub(crate) fn drop_dependency(linux: &Linux, id: Option<SessionId>, argument: usize) -> Result {
    let (token, on) = read_dependency(argument)?;
    let id = id.ok_or(ENOENT)?;
    ops::drop_dependency(linux, id, token, on).map_err(errno::of_operation)
}

fn read_dependency(argument: usize) -> Result<(u64, Needed)> {
    let (call, answer) = argument::read::<Dependency>(argument)?;
    // It says nothing new; a program that cannot be answered has declared nothing.
    answer.write(&call)?;
    let here = call.on_session.iter().all(|&byte| byte == 0);
    let on = match call.flags {
        0 if here => Needed::Here(call.on_token),
        0 => {
            let name = SessionName::parse(&call.on_session);
            let name = name.map_err(|why| errno::of_operation(why.into()))?;
            Needed::In(name, call.on_token)
        }
        DEPENDENCY_ON_DEVICE if here => Needed::OnDevice(call.on_token),
        _ => return Err(EINVAL),
    };
    Ok((call.token, on))
}

/// LIST_FILES of a session.
pub(crate) fn list_files(linux: &Linux, id: SessionId, argument: usize) -> Result {
    let request = Request::read(argument)?;
    request.allow(0, 0)?;
    let page = ops::list_files(linux, id, request.call.cursor, request.room());
    request.answer(&page.map_err(errno::of_operation)?)
}

/// LIST_FILES of the device: what is registered there, or was in the previous kernel.
pub(crate) fn list_device_files(linux: &Linux, id: Option<SessionId>, argument: usize) -> Result {
    let request = Request::read(argument)?;
    request.allow(LIST_INCOMING, 0)?;
    let (cursor, room) = (request.call.cursor, request.room());
    let page = match (request.call.flags, id) {
        (LIST_INCOMING, _) => ops::list_arrived_files(linux, cursor, room),
        // Nothing is registered on a device without a session.
        (_, None) => Ok(Page::empty()),
        (_, Some(id)) => ops::list_files(linux, id, cursor, room),
    };
    request.answer(&page.map_err(errno::of_operation)?)
}

/// LIST_DEPENDENCIES.
pub(crate) fn list_dependencies(linux: &Linux, id: Option<SessionId>, argument: usize) -> Result {
    let request = Request::read(argument)?;
    let token = request.call.token;
    request.allow(0, token)?;
    let id = id.ok_or(ENOENT)?;
    let page = ops::list_dependencies(linux, id, token, request.call.cursor, request.room());
    request.answer(&page.map_err(errno::of_operation)?)
}

/// LIST_SESSIONS.
pub(crate) fn list_sessions(linux: &Linux, argument: usize) -> Result {
    let request = Request::read(argument)?;
    let which = request.call.flags;
    request.allow(LIST_OUTGOING | LIST_INCOMING, 0)?;
    let page = ops::list_sessions(linux, which, request.call.cursor, request.room());
    request.answer(&page.map_err(errno::of_operation)?)
}

/// LIST_PARTICIPANTS.
pub(crate) fn list_participants(linux: &Linux, argument: usize) -> Result {
    let request = Request::read(argument)?;
    request.allow(0, 0)?;
    let page = ops::list_participants(linux, request.call.cursor, request.room());
    request.answer(&page.map_err(errno::of_operation)?)
}

/// What a program wants of a list.
struct Request {
    call: List,
    to: argument::Answer,
}

impl Request {
    fn read(argument: usize) -> Result<Self> {
        let (call, to) = argument::read::<List>(argument)?;
        Ok(Self { call, to })
    }

    /// Refuses what the call does not know.
    fn allow(&self, flags: u32, token: u64) -> Result {
        let known = self.call.flags & !flags == 0 && self.call.token == token;
        if known && self.call.reserved == 0 {
            Ok(())
        } else {
            Err(EINVAL)
        }
    }

    /// Entries the program has room for.
    fn room(&self) -> usize {
        self.call.capacity as usize
    }

    /// Copies the entries, then what there is to say of them.
    fn answer<T: IntoBytes + Immutable>(self, page: &Page<T>) -> Result {
        let Self { mut call, to } = self;
        let size = call.entry_size as usize;
        if size < size_of::<T>() || size > extend::MAX_SIZE {
            return Err(EINVAL);
        }
        let length = size.checked_mul(page.entries.len()).ok_or(EINVAL)?;
        let address = usize::try_from(call.entries).map_err(|_| EFAULT)?;
        let mut writer = UserSlice::new(UserPtr::from_addr(address), length).writer();
        for entry in page.entries.iter() {
            writer.write_slice(entry.as_bytes())?;
            // What a newer program knows of an entry is zero.
            for _ in size_of::<T>()..size {
                writer.write(&0u8)?;
            }
        }
        call.cursor = page.next;
        call.count = page.entries.len() as u32;
        call.total = page.total;
        to.write(&call)
    }
}
