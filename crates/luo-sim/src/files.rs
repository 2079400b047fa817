// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files of ours beside the device: `/sys/kernel/liveupdate`, `/dev/kmsg`, and what
//! `/proc` shows of a session's descriptor.
//!
//! A text is a sealed memfd with what there was to say at the open.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use luo_abi::errno::Errno;
use luo_abi::uapi::SESSION_LINK_PREFIX;
use luo_core::SessionId;
use rustix::fs::{Mode, OFlags};
use rustix::net::SocketFlags;
use rustix::thread::CapabilitySet;

use crate::caller::Thread;
use crate::machine::Machine;
use crate::path::Place;
use crate::permissions::Permissions;
use crate::reboot::Loaded;
use crate::table::{Object, Table};

/// An open of one of our paths.
pub(crate) fn open(
    machine: &Machine,
    table: &Table,
    loaded: &Loaded,
    caller: &Thread<'_>,
    place: Place,
    flags: OFlags,
) -> Result<Option<RawFd>, Errno> {
    let close_on_exec = flags.contains(OFlags::CLOEXEC);
    let is_always_there = matches!(place, Place::Log | Place::CommandLine | Place::BootId);
    if !machine.policy.enabled && !is_always_there {
        return Ok(None);
    }
    match place {
        Place::Device => open_device(machine, table, caller, flags).map(Some),
        Place::Lock => open_lock(machine, caller, flags).map(Some),
        // Without the driver there are no such devices, in this machine.
        Place::Forge => {
            let driver = machine.driver.as_ref().ok_or(Errno::ENOENT)?;
            driver.open(caller, close_on_exec).map(Some)
        }
        Place::Participant => {
            machine.driver.as_ref().ok_or(Errno::ENOENT)?;
            let given = table.give_participant(machine, caller, close_on_exec);
            given.map(Some)
        }
        // A program that writes to the log writes to the real one.
        Place::Log if writes(flags) => Ok(None),
        Place::Log => open_log(machine, caller, flags).map(Some),
        Place::State | Place::UpdateCount | Place::Image | Place::Choice(_)
            if !machine.permissions(place).admit(caller, wanted(flags)) =>
        {
            Err(Errno::EACCES)
        }
        Place::Choice(choice) if writes(flags) => {
            // The kernel refuses the write. Here a write is no call that we are asked about.
            if !caller.has(CapabilitySet::SYS_ADMIN) {
                return Err(Errno::EACCES);
            }
            let text = attribute(machine, loaded, place);
            let given = table.give_choice(caller, choice, &text, close_on_exec);
            given.map(Some)
        }
        Place::State
        | Place::UpdateCount
        | Place::Image
        | Place::Choice(_)
        | Place::CommandLine
        | Place::BootId => {
            if writes(flags) {
                return Err(Errno::EACCES);
            }
            give_text(caller, &attribute(machine, loaded, place), close_on_exec).map(Some)
        }
        Place::FdInfo(whose, fd) => {
            let text = fdinfo(machine, table, caller, whose, fd);
            text.map(|text| give_text(caller, &text, close_on_exec))
                .transpose()
        }
        Place::InFile => Err(not_a_folder()),
        Place::Folder | Place::Fd(..) => Ok(None),
    }
}

/// ENOTDIR, which the ABI does not name.
pub(crate) fn not_a_folder() -> Errno {
    const ENOTDIR: i32 = -20;
    Errno::check(ENOTDIR).err().unwrap_or(Errno::EINVAL)
}

/// Whether an open is for more than reading.
fn writes(flags: OFlags) -> bool {
    flags & OFlags::ACCMODE != OFlags::RDONLY
}

/// The bits of a mode that an open wants.
fn wanted(flags: OFlags) -> u32 {
    match flags & OFlags::ACCMODE {
        OFlags::RDONLY => 4,
        OFlags::WRONLY => 2,
        _ => 6,
    }
}

fn open_device(
    machine: &Machine,
    table: &Table,
    caller: &Thread<'_>,
    flags: OFlags,
) -> Result<RawFd, Errno> {
    if flags.contains(OFlags::DIRECTORY) {
        return Err(not_a_folder());
    }
    if flags.contains(OFlags::CREATE | OFlags::EXCL) {
        return Err(Errno::EEXIST);
    }
    if !machine
        .permissions(Place::Device)
        .admit(caller, wanted(flags))
    {
        return Err(Errno::EACCES);
    }
    if flags.contains(OFlags::EXCL) {
        return Err(Errno::EINVAL);
    }
    table.give_device(machine, caller, flags.contains(OFlags::CLOEXEC))
}

/// Opens the file that agents lock: each open is one of its own, as locks go by opens.
fn open_lock(machine: &Machine, caller: &Thread<'_>, flags: OFlags) -> Result<RawFd, Errno> {
    if flags.contains(OFlags::DIRECTORY) {
        return Err(not_a_folder());
    }
    if flags.contains(OFlags::CREATE | OFlags::EXCL) {
        return Err(Errno::EEXIST);
    }
    // What it takes at most: to read and to write.
    if !Permissions::default().admit(caller, 6) {
        return Err(Errno::EACCES);
    }
    let kept = OFlags::ACCMODE | OFlags::APPEND | OFlags::TRUNC | OFlags::NONBLOCK;
    let file = reopen(&machine.lock_file, flags & kept).map_err(|_| Errno::ENOMEM)?;
    caller.install(file.as_fd(), flags.contains(OFlags::CLOEXEC))
}

/// Opens a file anew.
fn reopen(file: &File, flags: OFlags) -> std::io::Result<OwnedFd> {
    // Of this thread: the process has other descriptors.
    let path = format!("/proc/thread-self/fd/{}", file.as_raw_fd());
    let flags = flags | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Opens the log, to be read.
fn open_log(machine: &Machine, caller: &Thread<'_>, flags: OFlags) -> Result<RawFd, Errno> {
    let nonblocking = if flags.contains(OFlags::NONBLOCK) {
        SocketFlags::NONBLOCK
    } else {
        SocketFlags::empty()
    };
    let reader = machine.log.reader(nonblocking);
    let reader = reader.map_err(|_| Errno::ENOMEM)?;
    caller.install(reader.as_fd(), flags.contains(OFlags::CLOEXEC))
}

/// What `/proc` shows of a session's descriptor; nothing of ours if it is no session's.
fn fdinfo(
    machine: &Machine,
    table: &Table,
    caller: &Thread<'_>,
    whose: u32,
    fd: RawFd,
) -> Option<String> {
    let id = session_of(table, caller, whose, fd)?;
    let mut text =
        std::fs::read_to_string(format!("/proc/{whose}/fdinfo/{fd}")).unwrap_or_default();
    // Writing to a string does not fail.
    let _ = luo_calls::fdinfo::show(machine, id, &mut text);
    Some(text)
}

fn attribute(machine: &Machine, loaded: &Loaded, place: Place) -> String {
    match place {
        Place::Image => format!("{}\n", loaded.image().word()),
        Place::UpdateCount => {
            let count = machine.look(luo_core::Engine::update_number);
            format!("{count}\n")
        }
        Place::Choice(choice) => format!("{}\n", machine.chosen(choice)),
        Place::CommandLine => format!("{}\n", machine.policy.command_line),
        Place::BootId => format!("{}\n", machine.boot_id),
        _ => format!("{}\n", machine.state().0),
    }
}

/// Gives a caller a file with a text, to be read.
fn give_text(caller: &Thread<'_>, text: &str, close_on_exec: bool) -> Result<RawFd, Errno> {
    let file = text_file(text).map_err(|_| Errno::ENOMEM)?;
    caller.install(file.as_fd(), close_on_exec)
}

fn text_file(text: &str) -> std::io::Result<OwnedFd> {
    use luo_sys::memfd::{self, Seals};
    use std::os::unix::fs::FileExt;
    let file = memfd::create("liveupdate", 0)?;
    file.write_all_at(text.as_bytes(), 0)?;
    memfd::add_seals(
        &file,
        Seals::WRITE | Seals::GROW | Seals::SHRINK | Seals::SEAL,
    )?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o444))?;
    reopen(&file, OFlags::RDONLY)
}

fn session_of(table: &Table, caller: &Thread<'_>, whose: u32, fd: RawFd) -> Option<SessionId> {
    let file = caller.descriptor_of(whose, fd).ok()?;
    match table.find(&file)? {
        Object::Session(id) => Some(id),
        Object::Device(_) | Object::Choice(_) | Object::Participant(_) => None,
    }
}

/// What `readlink` says of a descriptor, if it is one of ours.
pub(crate) fn link(
    machine: &Machine,
    table: &Table,
    caller: &Thread<'_>,
    whose: u32,
    fd: RawFd,
) -> Option<Vec<u8>> {
    let file = caller.descriptor_of(whose, fd).ok()?;
    match table.find(&file)? {
        Object::Device(_) => Some(luo_abi::uapi::DEVICE_PATH.into()),
        Object::Session(id) => {
            let (name, _) = machine.look(|engine| engine.session_info(id))?;
            Some([SESSION_LINK_PREFIX.as_bytes(), name.as_bytes()].concat())
        }
        Object::Choice(_) | Object::Participant(_) => None,
    }
}
