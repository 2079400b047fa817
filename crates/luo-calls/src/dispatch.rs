// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! From a command to what is done for it: the table says which commands a descriptor
//! takes, and here is a line for each.

use luo_abi::calls::{Call, DescriptorKind, Name, Who};
use luo_abi::errno::Errno;
use luo_core::{ops, SessionId};

use crate::caller::Caller;
use crate::device::event;
use crate::host::CallHost;
use crate::instance::Instance;
use crate::request::Request;

/// The call of a command, if this caller may make it. It is refused before its argument
/// is looked at, so that a refusal says nothing about the machine.
///
/// # Errors
/// ENOTTY if there is none on this kind of descriptor, EACCES if it takes privileges
/// that the caller does not have.
fn admit<C: Caller>(
    caller: &C,
    command: u32,
    kind: DescriptorKind,
) -> Result<&'static Call, Errno> {
    let call = Call::on(command, kind)?;
    match call.who {
        // Most calls: who the caller is need not be found out.
        Who::Holder => Ok(call),
        Who::Administrator => match call.who.refusal(caller.identity().privileged) {
            Some(refusal) => Err(refusal),
            None => Ok(call),
        },
    }
}

/// An ioctl on the device. `argument` is the address that the program gave.
///
/// # Errors
/// ENOTTY if the device does not take the command; else those that
/// [`luo_abi::calls::CALLS`] names for the call, and for the first one on an instance
/// [`luo_abi::calls::TAKE_OVER`].
pub fn on_device<H, C>(
    host: &H,
    caller: &C,
    instance: &Instance,
    command: u32,
    argument: u64,
) -> Result<(), Errno>
where
    H: CallHost,
    C: Caller<File = H::File>,
{
    let call = admit(caller, command, DescriptorKind::Device)?;
    let request = Request {
        host,
        caller,
        call,
        argument,
    };
    if call.moves {
        host.for_all(|| answer(&request, instance))
    } else {
        answer(&request, instance)
    }
}

/// Does what was called on the device.
fn answer<H, C>(request: &Request<'_, H, C>, instance: &Instance) -> Result<(), Errno>
where
    H: CallHost,
    C: Caller<File = H::File>,
{
    let host = request.host;
    instance.catch_up(host, request.caller)?;
    match request.call.name {
        Name::CreateSession => request.create_session(),
        Name::RetrieveSession => request.retrieve_session(),
        Name::AddDependency => request.add_dependency(instance.session()),
        Name::DropDependency => request.drop_dependency(instance.session()),
        Name::ListFiles => request.list_device_files(instance.session()),
        Name::ListDependencies => {
            request.list_dependencies(instance.session(), DescriptorKind::Device)
        }
        Name::ListSessions => request.list_sessions(),
        Name::ListParticipants => request.list_participants(),
        Name::GetInfo => request.get_info(instance),
        Name::GetFailure => request.get_failure(),
        Name::FdPreserve => request.register_file(instance),
        Name::FdUnpreserve => request.unregister_file(instance),
        Name::FdRestore => request.restore_file(),
        Name::GetState => request.get_state(instance),
        Name::EventPrepare => event(ops::prepare(host)),
        Name::EventFreeze => event(ops::freeze(host)),
        Name::EventCancel => event(ops::cancel(host)),
        Name::EventFinish => event(ops::finish_update(host, |_| ())),
        // The table has these on a session only.
        Name::PreserveFd
        | Name::RetrieveFd
        | Name::Finish
        | Name::GetName
        | Name::UnpreserveFd
        | Name::SessionFreeze => Err(Errno::ENOTTY),
    }
}

/// An ioctl on the descriptor of a session. `argument` is the address that the program
/// gave.
///
/// # Errors
/// As [`on_device`].
pub fn on_session<H, C>(
    host: &H,
    caller: &C,
    id: SessionId,
    command: u32,
    argument: u64,
) -> Result<(), Errno>
where
    H: CallHost,
    C: Caller<File = H::File>,
{
    let call = admit(caller, command, DescriptorKind::Session)?;
    let request = Request {
        host,
        caller,
        call,
        argument,
    };
    match call.name {
        Name::PreserveFd => request.preserve_file(id),
        Name::RetrieveFd => request.retrieve_file(id),
        Name::Finish => request.finish_session(id),
        Name::GetName => request.get_name(id),
        Name::UnpreserveFd => request.unpreserve_file(id),
        Name::SessionFreeze => request.freeze_session(id),
        Name::AddDependency => request.add_dependency(Some(id)),
        Name::DropDependency => request.drop_dependency(Some(id)),
        Name::ListFiles => request.list_files(id),
        Name::ListDependencies => request.list_dependencies(Some(id), DescriptorKind::Session),
        // The table has these on the device only.
        Name::CreateSession
        | Name::RetrieveSession
        | Name::ListSessions
        | Name::ListParticipants
        | Name::GetInfo
        | Name::GetFailure
        | Name::FdPreserve
        | Name::FdUnpreserve
        | Name::FdRestore
        | Name::GetState
        | Name::EventPrepare
        | Name::EventFreeze
        | Name::EventCancel
        | Name::EventFinish => Err(Errno::ENOTTY),
    }
}
