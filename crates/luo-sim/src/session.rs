// SPDX-License-Identifier: MIT OR Apache-2.0
//! A session's descriptor: preserve and retrieve files, finish, close.

use std::os::fd::AsFd;

use luo_abi::contract::{
    ADD_DEPENDENCY, DROP_DEPENDENCY, LIST_DEPENDENCIES, LIST_FILES, UNPRESERVE_FD, UnpreserveFd,
};
use luo_abi::errno::Errno;
use luo_abi::uapi::{
    Finish, GetName, PreserveFd, RetrieveFd, SESSION_FINISH, SESSION_GET_NAME, SESSION_PRESERVE_FD,
    SESSION_RETRIEVE_FD,
};
use luo_core::{Lock, SessionId, ops};

use crate::argument;
use crate::call::Call;
use crate::contract;
use crate::machine::Machine;

/// An ioctl on a session's descriptor.
pub(crate) fn ioctl(call: &Call<'_>, id: SessionId, command: u32) -> Result<(), Errno> {
    match command {
        SESSION_PRESERVE_FD => preserve(call, id),
        SESSION_RETRIEVE_FD => retrieve(call, id),
        SESSION_FINISH => finish(call, id),
        SESSION_GET_NAME => get_name(call, id),
        UNPRESERVE_FD => unpreserve(call, id),
        ADD_DEPENDENCY => contract::add_dependency(call, Some(id)),
        DROP_DEPENDENCY => contract::drop_dependency(call, Some(id)),
        LIST_FILES => contract::list_files(call, Some(id)),
        LIST_DEPENDENCIES => contract::list_dependencies(call, Some(id)),
        _ => Err(Errno::ENOTTY),
    }
}

/// The last close of a session's descriptor.
pub(crate) fn release(machine: &Machine, id: SessionId) {
    let name = machine.look(|engine| engine.session_info(id));
    if let (Err(why), Some((name, _))) = (ops::close_session(machine, id), name) {
        // close(2) has nobody to tell; the session is not lost.
        machine.warn(format_args!(
            "session \"{name}\" was closed but is not finished: {why}; \
             the next open of /dev/liveupdate tries again"
        ));
    }
}

fn preserve(call: &Call<'_>, id: SessionId) -> Result<(), Errno> {
    let (said, answer) = argument::read::<PreserveFd>(call.caller, call.argument)?;
    answer.write(&said)?;
    let open = || call.file(said.fd);
    ops::preserve_file(call.machine, id, said.token, open).map_err(|why| why.errno())
}

fn unpreserve(call: &Call<'_>, id: SessionId) -> Result<(), Errno> {
    let (said, answer) = argument::read::<UnpreserveFd>(call.caller, call.argument)?;
    if said.reserved != 0 {
        return Err(Errno::EINVAL);
    }
    answer.write(&said)?;
    ops::unpreserve_file(call.machine, id, said.token).map_err(|why| why.errno())
}

fn retrieve(call: &Call<'_>, id: SessionId) -> Result<(), Errno> {
    let (mut said, answer) = argument::read::<RetrieveFd>(call.caller, call.argument)?;
    let file = ops::retrieve_file(call.machine, id, said.token).map_err(|why| why.errno())?;
    // Once before the descriptor is there, which cannot be taken back. If this fails
    // the file stays with the session: asking again gives it.
    said.fd = -1;
    answer.write(&said)?;
    said.fd = call.caller.install(file.as_fd(), true)?;
    let _ = answer.write(&said);
    Ok(())
}

fn finish(call: &Call<'_>, id: SessionId) -> Result<(), Errno> {
    let (said, answer) = argument::read::<Finish>(call.caller, call.argument)?;
    if said.reserved != 0 {
        return Err(Errno::EINVAL);
    }
    answer.write(&said)?;
    ops::finish_session(call.machine, id).map_err(|why| why.errno())
}

fn get_name(call: &Call<'_>, id: SessionId) -> Result<(), Errno> {
    let (mut said, answer) = argument::read::<GetName>(call.caller, call.argument)?;
    if said.reserved != 0 {
        return Err(Errno::EINVAL);
    }
    let info = call.machine.now(|engine| engine.session_info(id));
    let (name, _) = info.ok_or(Errno::EINVAL)?;
    said.name = *name.room();
    answer.write(&said)
}
