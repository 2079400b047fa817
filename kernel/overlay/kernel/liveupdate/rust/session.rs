// SPDX-License-Identifier: GPL-2.0-only
//! A session's descriptor: preserve and retrieve files, finish, close.

use kernel::fs::file::{flags, FileDescriptorReservation};
use kernel::prelude::*;
use luo_abi::contract::{
    UnpreserveFd, ADD_DEPENDENCY, DROP_DEPENDENCY, LIST_DEPENDENCIES, LIST_FILES, UNPRESERVE_FD,
};
use luo_abi::uapi::{
    Finish, GetName, PreserveFd, RetrieveFd, SESSION_FINISH, SESSION_GET_NAME, SESSION_PRESERVE_FD,
    SESSION_RETRIEVE_FD,
};
use luo_core::ops::{self, Page};
use luo_core::{Lock, SessionId};

use crate::argument;
use crate::contract;
use crate::errno;
use crate::fdinfo;
use crate::host::{linux, Linux};
use crate::say::Say;
use crate::sys::file;
use crate::sys::seq::Text;

/// An ioctl on a session's descriptor.
pub(crate) fn ioctl(id: SessionId, command: u32, argument: usize) -> Result {
    let linux = linux().ok_or(ENODEV)?;
    match command {
        SESSION_PRESERVE_FD => preserve(linux, id, argument),
        SESSION_RETRIEVE_FD => retrieve(linux, id, argument),
        SESSION_FINISH => finish(linux, id, argument),
        SESSION_GET_NAME => get_name(linux, id, argument),
        UNPRESERVE_FD => unpreserve(linux, id, argument),
        ADD_DEPENDENCY => contract::add_dependency(linux, Some(id), argument),
        DROP_DEPENDENCY => contract::drop_dependency(linux, Some(id), argument),
        LIST_FILES => contract::list_files(linux, id, argument),
        LIST_DEPENDENCIES => contract::list_dependencies(linux, Some(id), argument),
        _ => Err(ENOTTY),
    }
}

/// The last close of a session's descriptor.
pub(crate) fn release(id: SessionId) {
    let Some(linux) = linux() else {
        return;
    };
    let name = linux.now(|engine| engine.session_info(id));
    if let (Err(why), Some((name, _))) = (ops::close_session(linux, id), name) {
        // close(2) has nobody to tell; the session is not lost.
        pr_warn!(
            "session \"{}\" was closed but is not finished: {}; \
             the next open of /dev/liveupdate tries again\n",
            Say(name),
            Say(why)
        );
    }
}

/// What procfs shows of a session's descriptor.
pub(crate) fn show(id: SessionId, to: &Text<'_>) {
    let Some(linux) = linux() else {
        return;
    };
    let described = linux.now(|engine| engine.describe_session(id));
    let Some(session) = described else {
        return;
    };
    // Page by page; a file that goes meanwhile ends what is shown.
    let mut page = Page::empty();
    let (mut at, mut more) = (0usize, true);
    fdinfo::show(to, &session, || {
        if at == page.entries.len() && more {
            page = ops::list_files(linux, id, page.next, ops::MAX_PAGE).ok()?;
            (at, more) = (0, page.next != 0);
        }
        let file = page.entries.get(at).copied();
        at = at.saturating_add(1);
        file
    });
}

fn preserve(linux: &Linux, id: SessionId, argument: usize) -> Result {
    let (call, answer) = argument::read::<PreserveFd>(argument)?;
    // The answer says nothing new, so it is given before the work: a program
    // that cannot be answered has preserved nothing, and a freeze does not wait
    // for a page of the program's.
    answer.write(&call)?;
    let open = || file::get(call.fd).map_err(errno::of_kernel);
    ops::preserve_file(linux, id, call.token, open).map_err(errno::of_operation)
}

fn unpreserve(linux: &Linux, id: SessionId, argument: usize) -> Result {
    let (call, answer) = argument::read::<UnpreserveFd>(argument)?;
    if call.reserved != 0 {
        return Err(EINVAL);
    }
    answer.write(&call)?;
    ops::unpreserve_file(linux, id, call.token).map_err(errno::of_operation)
}

fn retrieve(linux: &Linux, id: SessionId, argument: usize) -> Result {
    let (mut call, answer) = argument::read::<RetrieveFd>(argument)?;
    let fd = FileDescriptorReservation::get_unused_fd_flags(flags::O_CLOEXEC)?;
    let file = ops::retrieve_file(linux, id, call.token).map_err(errno::of_operation)?;
    call.fd = fd.reserved_fd() as i32;
    // If this fails the file stays with the session: asking again gives it.
    answer.write(&call)?;
    fd.fd_install(file);
    Ok(())
}

fn finish(linux: &Linux, id: SessionId, argument: usize) -> Result {
    let (call, answer) = argument::read::<Finish>(argument)?;
    if call.reserved != 0 {
        return Err(EINVAL);
    }
    answer.write(&call)?;
    ops::finish_session(linux, id).map_err(errno::of_operation)
}

fn get_name(linux: &Linux, id: SessionId, argument: usize) -> Result {
    let (mut call, answer) = argument::read::<GetName>(argument)?;
    if call.reserved != 0 {
        return Err(EINVAL);
    }
    let info = linux.now(|engine| engine.session_info(id));
    let (name, _) = info.ok_or(EINVAL)?;
    call.name = *name.room();
    answer.write(&call)
}
