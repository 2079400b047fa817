// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is done for each system call that the filter lets us know of.
//!
//! | call | is handled if |
//! |---|---|
//! | open, openat, openat2 | the path is one of [`crate::path`] |
//! | ioctl | its type is 0xBA and the descriptor is ours |
//! | stat, lstat, newfstatat, statx, access, faccessat, faccessat2 | the same, and it is no path that the real machine has anyway |
//! | chmod, chown and their like | the path is the device's |
//! | readlink, readlinkat | it is `/proc/PID/fd/FD` of a descriptor of ours |
//! | ftruncate, fallocate, madvise(MADV_REMOVE) | the file is a memfd that is preserved |
//! | fstatfs | the descriptor is ours |
//! | reboot, kexec_load, kexec_file_load | always |
//!
//! All others are carried out by the kernel, as if we had not been asked.

use std::os::fd::{OwnedFd, RawFd};

use luo_abi::errno::Errno;
use rustix::fs::OFlags;
use rustix::thread::CapabilitySet;

use crate::call::{Call, Done};
use crate::caller::Thread;
use crate::error::Error;
use crate::fault::Step;
use crate::files;
use crate::filter::number;
use crate::lock::lock;
use crate::machine::Machine;
use crate::path::{self, Links, Place};
use crate::reboot::{self, Loaded};
use crate::stat::{self, Form};
use crate::stop::End;
use crate::table::Table;

/// A call that is ours.
pub(crate) enum Ours {
    Open(Place, OFlags),
    /// Of a process.
    Link(u32, RawFd),
    /// With the address of the answer.
    Stat(Place, Form, u64),
    /// With what is wanted.
    Access(Place, u64),
    /// Of the device, with the new mode.
    ChangeMode(u32),
    /// Of the device, with the new user and group.
    ChangeOwners(u32, u32),
    Ioctl,
    Resize,
    /// With an address, and how many bytes from there.
    Remove(u64, u64),
    /// Of a descriptor, with the address of the answer.
    FileSystem(RawFd, u64),
    Reboot,
    KexecLoad,
    KexecFileLoad,
}

impl Ours {
    /// Whether it asks all participants.
    pub(crate) fn is_transition(&self, caller: &Thread<'_>) -> bool {
        match self {
            Self::Reboot => true,
            Self::Ioctl => {
                let call = luo_abi::calls::Call::of(caller.argument(1) as u32);
                call.is_some_and(|call| call.moves)
            }
            _ => false,
        }
    }
}

/// Whether a call is ours, as far as can be told quickly.
pub(crate) fn triage(machine: &Machine, caller: &Thread<'_>) -> Option<Ours> {
    let number = Some(caller.call().number);
    let resolve = |directory: RawFd, path: usize, links| {
        let path = caller.path(caller.argument(path))?;
        path::resolve(caller, directory, &path, links)
    };
    let open = |directory: RawFd, path: usize, flags: u64| {
        let flags = OFlags::from_bits_retain(flags as u32);
        // Such an open never reaches a driver.
        if flags.contains(OFlags::PATH) {
            return None;
        }
        let links = Links::of(flags.contains(OFlags::NOFOLLOW));
        let place = resolve(directory, path, links)?;
        (!matches!(place, Place::Fd(..))).then_some(Ours::Open(place, flags))
    };
    let link = |directory: RawFd, path: usize| match resolve(directory, path, Links::Kept)? {
        Place::Fd(whose, fd) => Some(Ours::Link(whose, fd)),
        _ => None,
    };
    let place = |directory: RawFd, path: usize, links| {
        resolve(directory, path, links).filter(|place| !place.is_real())
    };
    let stat = |directory: RawFd, path: usize, form, to: usize, links| {
        let place = place(directory, path, links)?;
        Some(Ours::Stat(place, form, caller.argument(to)))
    };
    let access = |directory: RawFd, path: usize| {
        let place = place(directory, path, Links::Followed)?;
        Some(Ours::Access(place, caller.argument(path + 1)))
    };
    let is_device = |directory: RawFd, path: usize| {
        let place = resolve(directory, path, Links::Followed)?;
        (place == Place::Device).then_some(())
    };
    /// `AT_SYMLINK_NOFOLLOW`.
    const KEEPS_LINKS: u64 = 0x100;
    let links = |flags: usize| Links::of(caller.argument(flags) & KEEPS_LINKS != 0);
    let mode = |directory: RawFd, path: usize| {
        let changed = Ours::ChangeMode(caller.argument(path + 1) as u32);
        is_device(directory, path).map(|()| changed)
    };
    let owners = |directory: RawFd, path: usize| {
        let [user, group] = [path + 1, path + 2].map(|at| caller.argument(at) as u32);
        is_device(directory, path).map(|()| Ours::ChangeOwners(user, group))
    };
    /// The `AT_FDCWD` of calls without a directory.
    const CURRENT: RawFd = -100;
    match number {
        _ if number == number::OPEN => open(CURRENT, 0, caller.argument(1)),
        _ if number == number::OPENAT => open(caller.fd_argument(0), 1, caller.argument(2)),
        _ if number == number::OPENAT2 => {
            // The flags are the first word of a structure.
            let mut how = [0; 8];
            caller.read(caller.argument(2), &mut how).ok()?;
            open(caller.fd_argument(0), 1, u64::from_ne_bytes(how))
        }
        _ if number == number::STAT => stat(CURRENT, 0, Form::Stat, 1, Links::Followed),
        _ if number == number::LSTAT => stat(CURRENT, 0, Form::Stat, 1, Links::Kept),
        Some(number::NEWFSTATAT) => stat(caller.fd_argument(0), 1, Form::Stat, 2, links(3)),
        Some(number::STATX) => stat(caller.fd_argument(0), 1, Form::Statx, 4, links(2)),
        _ if number == number::ACCESS => access(CURRENT, 0),
        _ if number == number::FACCESSAT || number == number::FACCESSAT2 => {
            access(caller.fd_argument(0), 1)
        }
        _ if number == number::CHMOD => mode(CURRENT, 0),
        _ if number == number::FCHMODAT || number == number::FCHMODAT2 => {
            mode(caller.fd_argument(0), 1)
        }
        _ if number == number::CHOWN || number == number::LCHOWN => owners(CURRENT, 0),
        _ if number == number::FCHOWNAT => owners(caller.fd_argument(0), 1),
        _ if number == number::READLINK => link(CURRENT, 0),
        _ if number == number::READLINKAT => link(caller.fd_argument(0), 1),
        _ if number == number::FTRUNCATE || number == number::FALLOCATE => {
            machine.memfds.is_any_fixed().then_some(Ours::Resize)
        }
        Some(number::MADVISE) => {
            let range = Ours::Remove(caller.argument(0), caller.argument(1));
            machine.memfds.is_any_fixed().then_some(range)
        }
        _ if number == number::FSTATFS => {
            Some(Ours::FileSystem(caller.fd_argument(0), caller.argument(1)))
        }
        _ if number == number::REBOOT => Some(Ours::Reboot),
        _ if number == number::KEXEC_LOAD => Some(Ours::KexecLoad),
        _ if number == number::KEXEC_FILE_LOAD => Some(Ours::KexecFileLoad),
        Some(number::IOCTL) => Some(Ours::Ioctl),
        _ => None,
    }
}

/// A call by name, or its number.
fn ioctl_word(command: u32) -> String {
    luo_abi::calls::Call::of(command).map_or_else(
        || format!("ioctl({command:#x})"),
        |call| call.word.to_owned(),
    )
}

/// What calls are done with.
pub(crate) struct Service<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) table: &'a Table,
    pub(crate) loaded: &'a Loaded,
}

impl Service<'_> {
    /// Does what a call asks for, and notes it.
    pub(crate) fn serve(&self, caller: &Thread<'_>, ours: &Ours) -> Result<Done, Errno> {
        let mut said = String::new();
        let handling = caller.handle();
        let done = match self.machine.reach(Step::Call) {
            Ok(()) => self.answer(caller, ours, &mut said),
            Err(errno) => Err(errno),
        };
        drop(handling);
        if done != Ok(Done::Foreign) {
            self.note(caller, &said, done);
            // A crash here is one before the program knows.
            let _ = self.machine.reach(Step::Reply);
        }
        done
    }

    fn note(&self, caller: &Thread<'_>, said: &str, done: Result<Done, Errno>) {
        if !self.machine.journal.is_wanted() {
            return;
        }
        let result = match done {
            Ok(Done::Value(value)) => value.to_string(),
            Ok(Done::Foreign) => "not ours".to_owned(),
            Ok(Done::Gone) => "the machine goes".to_owned(),
            Err(errno) => errno.to_string(),
        };
        let (call, detail) = said.split_once(' ').unwrap_or((said, ""));
        self.machine.note(caller.thread(), call, detail, result);
    }

    fn answer(&self, caller: &Thread<'_>, ours: &Ours, said: &mut String) -> Result<Done, Errno> {
        match *ours {
            Ours::Open(place, flags) => {
                *said = format!("open {place:?}");
                let opened =
                    files::open(self.machine, self.table, self.loaded, caller, place, flags)?;
                Ok(opened.map_or(Done::Foreign, |fd| Done::Value(fd.into())))
            }
            Ours::Link(whose, fd) => self.link(caller, whose, fd, said),
            Ours::Stat(place, form, to) => {
                *said = format!("stat {place:?}");
                let told = stat::tell(self.machine, caller, place, form, to)?;
                Ok(if told { Done::Value(0) } else { Done::Foreign })
            }
            Ours::Access(place, wanted) => {
                *said = format!("access {place:?}");
                let told = stat::access(self.machine, caller, place, wanted)?;
                Ok(if told { Done::Value(0) } else { Done::Foreign })
            }
            Ours::ChangeMode(mode) => {
                *said = format!("chmod {mode:o}");
                lock(&self.machine.device_file).change_mode(caller, mode)?;
                Ok(Done::Value(0))
            }
            Ours::ChangeOwners(user, group) => {
                *said = format!("chown {user} {group}");
                lock(&self.machine.device_file).change_owners(caller, user, group)?;
                Ok(Done::Value(0))
            }
            Ours::Ioctl => self.ioctl(caller, said),
            Ours::Resize => {
                "resize".clone_into(said);
                let file = caller.descriptor(caller.fd_argument(0));
                match file {
                    Ok(file) if self.machine.memfds.is_fixed(&file) => self.resize(caller, &file),
                    _ => Ok(Done::Foreign),
                }
            }
            Ours::Remove(address, length) => {
                "remove".clone_into(said);
                let mapped = caller.mapped(address, length);
                let mut mapped = mapped.into_iter();
                match mapped.any(|object| self.machine.memfds.is_fixed_object(object)) {
                    true => Err(Errno::EPERM),
                    false => Ok(Done::Foreign),
                }
            }
            Ours::FileSystem(fd, to) => {
                *said = format!("fstatfs fd {fd}");
                let file = caller.descriptor(fd);
                let object = file.ok().and_then(|file| self.table.find(&file));
                let told = stat::tell_file_system(caller, object.as_ref(), to)?;
                Ok(if told { Done::Value(0) } else { Done::Foreign })
            }
            Ours::Reboot => {
                let command = caller.argument(2) as u32;
                *said = format!("reboot {command:#x}");
                if !caller.has(CapabilitySet::SYS_BOOT) {
                    return Err(Errno::EPERM);
                }
                reboot::reboot(self.machine, self.loaded, &caller.call().arguments)
            }
            Ours::KexecLoad => {
                "kexec_load".clone_into(said);
                if !caller.has(CapabilitySet::SYS_BOOT) {
                    return Err(Errno::EPERM);
                }
                reboot::load_legacy(self.loaded, caller)
            }
            Ours::KexecFileLoad => {
                "kexec_file_load".clone_into(said);
                if !caller.has(CapabilitySet::SYS_BOOT) {
                    return Err(Errno::EPERM);
                }
                reboot::load(self.loaded, caller, said)
            }
        }
    }

    /// The size of a preserved memfd is fixed. That it stays as it is is allowed.
    fn resize(&self, caller: &Thread<'_>, file: &OwnedFd) -> Result<Done, Errno> {
        let truncates = Some(caller.call().number) == number::FTRUNCATE;
        let size = rustix::fs::fstat(file).map(|stat| stat.st_size.unsigned_abs());
        if truncates && size == Ok(caller.argument(1)) {
            return Ok(Done::Foreign);
        }
        Err(Errno::EPERM)
    }

    fn link(
        &self,
        caller: &Thread<'_>,
        whose: u32,
        fd: RawFd,
        said: &mut String,
    ) -> Result<Done, Errno> {
        *said = format!("readlink {fd}");
        let Some(text) = files::link(self.machine, self.table, caller, whose, fd) else {
            return Ok(Done::Foreign);
        };
        let at = usize::from(Some(caller.call().number) == number::READLINKAT);
        let (to, room) = (
            caller.argument(1 + at),
            caller.argument(2 + at) as u32 as i32,
        );
        let room = usize::try_from(room).ok().filter(|&room| room > 0);
        let length = text.len().min(room.ok_or(Errno::EINVAL)?);
        caller.write(to, &text[..length])?;
        Ok(Done::Value(length as i64))
    }

    fn ioctl(&self, caller: &Thread<'_>, said: &mut String) -> Result<Done, Errno> {
        let file = match caller.descriptor(caller.fd_argument(0)) {
            Ok(file) => file,
            Err(why) => {
                self.look_forbidden(why);
                return Ok(Done::Foreign);
            }
        };
        // The command has 32 bits.
        let command = caller.argument(1) as u32;
        let Some(object) = self.table.find(&file) else {
            return self.driver_ioctl(caller, &file, command, said);
        };
        let word = ioctl_word(command);
        *said = format!("{word} fd {}", caller.fd_argument(0));
        let call = Call {
            machine: self.machine,
            table: self.table,
            client: caller,
            object: &object,
            file: &file,
        };
        // `file` goes before the caller is told: when it closes its own descriptor,
        // that may be the last.
        call.run(command, caller.argument(2))
    }

    /// An ioctl on a file that may be the test driver's.
    fn driver_ioctl(
        &self,
        caller: &Thread<'_>,
        file: &OwnedFd,
        command: u32,
        said: &mut String,
    ) -> Result<Done, Errno> {
        let found = self.machine.driver.as_ref();
        let Some(found) = found.and_then(|driver| Some((driver, driver.find(file)?))) else {
            return Ok(Done::Foreign);
        };
        let argument = caller.argument(2);
        crate::driver::call(self.machine, caller, found, command, argument, said)?;
        Ok(Done::Value(0))
    }

    /// A descriptor could not be looked at: if that is forbidden, we cannot go on.
    fn look_forbidden(&self, why: luo_sys::Error) {
        if why.errno() == Errno::EPERM {
            self.machine.stop.ask(End::Broken(Error::forbidden(why)));
        }
    }
}
