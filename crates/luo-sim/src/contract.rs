// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls of `luo_abi::contract` that a session's descriptor and the device both
//! take: dependencies and lists.

use luo_abi::contract::{DEPENDENCY_ON_DEVICE, Dependency, LIST_INCOMING, LIST_OUTGOING, List};
use luo_abi::errno::Errno;
use luo_abi::extend;
use luo_core::ops::{self, Needed, Page};
use luo_core::{Error, SessionId, SessionName};
use zerocopy::{Immutable, IntoBytes};

use crate::argument::{self, Answer};
use crate::call::Call;

/// ADD_DEPENDENCY.
pub(crate) fn add_dependency(call: &Call<'_>, id: Option<SessionId>) -> Result<(), Errno> {
    let (token, on) = read_dependency(call)?;
    let id = id.ok_or(Errno::ENOENT)?;
    ops::add_dependency(call.machine, id, token, on).map_err(|why| why.errno())
}

/// DROP_DEPENDENCY.
pub(crate) fn drop_dependency(call: &Call<'_>, id: Option<SessionId>) -> Result<(), Errno> {
    let (token, on) = read_dependency(call)?;
    let id = id.ok_or(Errno::ENOENT)?;
    ops::drop_dependency(call.machine, id, token, on).map_err(|why| why.errno())
}

fn read_dependency(call: &Call<'_>) -> Result<(u64, Needed), Errno> {
    let (said, answer) = argument::read::<Dependency>(call.caller, call.argument)?;
    answer.write(&said)?;
    let here = said.on_session.iter().all(|&byte| byte == 0);
    let on = match said.flags {
        0 if here => Needed::Here(said.on_token),
        0 => {
            let name = SessionName::parse(&said.on_session);
            Needed::In(name.map_err(|why| Error::from(why).errno())?, said.on_token)
        }
        DEPENDENCY_ON_DEVICE if here => Needed::OnDevice(said.on_token),
        _ => return Err(Errno::EINVAL),
    };
    Ok((said.token, on))
}

/// LIST_FILES. Nothing is registered on a device without a session.
pub(crate) fn list_files(call: &Call<'_>, id: Option<SessionId>) -> Result<(), Errno> {
    let request = Request::read(call)?;
    request.allow(0, 0)?;
    let page = match id {
        None => Ok(Page::empty()),
        Some(id) => ops::list_files(call.machine, id, request.list.cursor, request.room()),
    };
    request.answer(page)
}

/// LIST_DEPENDENCIES.
pub(crate) fn list_dependencies(call: &Call<'_>, id: Option<SessionId>) -> Result<(), Errno> {
    let request = Request::read(call)?;
    let (token, cursor) = (request.list.token, request.list.cursor);
    request.allow(0, token)?;
    let id = id.ok_or(Errno::ENOENT)?;
    let room = request.room();
    request.answer(ops::list_dependencies(
        call.machine,
        id,
        token,
        cursor,
        room,
    ))
}

/// LIST_SESSIONS.
pub(crate) fn list_sessions(call: &Call<'_>) -> Result<(), Errno> {
    let request = Request::read(call)?;
    let (which, cursor) = (request.list.flags, request.list.cursor);
    request.allow(LIST_OUTGOING | LIST_INCOMING, 0)?;
    let room = request.room();
    request.answer(ops::list_sessions(call.machine, which, cursor, room))
}

/// LIST_PARTICIPANTS.
pub(crate) fn list_participants(call: &Call<'_>) -> Result<(), Errno> {
    let request = Request::read(call)?;
    request.allow(0, 0)?;
    let (cursor, room) = (request.list.cursor, request.room());
    request.answer(ops::list_participants(call.machine, cursor, room))
}

/// What a program wants of a list.
struct Request<'a> {
    list: List,
    to: Answer<'a>,
}

impl<'a> Request<'a> {
    fn read(call: &'a Call<'_>) -> Result<Self, Errno> {
        let (list, to) = argument::read::<List>(call.caller, call.argument)?;
        Ok(Self { list, to })
    }

    /// Refuses what the call does not know.
    fn allow(&self, flags: u32, token: u64) -> Result<(), Errno> {
        let known = self.list.flags & !flags == 0 && self.list.token == token;
        if known && self.list.reserved == 0 {
            Ok(())
        } else {
            Err(Errno::EINVAL)
        }
    }

    /// Entries the program has room for.
    fn room(&self) -> usize {
        self.list.capacity as usize
    }

    /// Copies the entries, then what there is to say of them.
    fn answer<T: IntoBytes + Immutable>(self, page: Result<Page<T>, Error>) -> Result<(), Errno> {
        let page = page.map_err(|why| why.errno())?;
        let Self { mut list, to } = self;
        let size = list.entry_size as usize;
        if size < size_of::<T>() || size > extend::MAX_SIZE {
            return Err(Errno::EINVAL);
        }
        let mut bytes = Vec::with_capacity(size * page.entries.len());
        for entry in page.entries.iter() {
            let end = bytes.len() + size;
            bytes.extend_from_slice(entry.as_bytes());
            // What a newer program knows of an entry is zero.
            bytes.resize(end, 0);
        }
        to.write_to(list.entries, &bytes)?;
        list.cursor = page.next;
        // A page has 128 entries at most.
        list.count = page.entries.len() as u32;
        list.total = page.total;
        to.write(&list)
    }
}
