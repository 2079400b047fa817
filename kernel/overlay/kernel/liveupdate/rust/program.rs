// SPDX-License-Identifier: GPL-2.0-only
//! The calling process, as the call layer sees it: its memory and its descriptors.

use kernel::fs::file::{flags, FileDescriptorReservation};
use kernel::prelude::*;
use kernel::uaccess::{UserPtr, UserSlice};
use luo_abi::errno::Errno;
use luo_calls::{Caller, Identity};
use luo_core::{Actor, SessionId, SessionName};

use crate::sys::lent::Lent;
use crate::sys::{file, session_file, task};
use crate::{errno, host};

/// The calling process.
pub(crate) struct Program;

/// `length` bytes of the program's memory.
fn memory(address: u64, length: usize) -> Result<UserSlice, Errno> {
    let address = usize::try_from(address).map_err(|_| Errno::EFAULT)?;
    Ok(UserSlice::new(UserPtr::from_addr(address), length))
}

impl Caller for Program {
    type File = Lent;
    type Slot = FileDescriptorReservation;

    fn identity(&self) -> Identity {
        let privileged = task::is_administrator();
        if !privileged {
            host::users_call();
        }
        Identity {
            uid: task::effective_user(),
            privileged,
        }
    }

    fn actor(&self) -> Actor {
        // Whoever makes a call has come by `host::somebody_comes`, which looks.
        match host::users_have_called() {
            false => Actor::Administrator,
            true => self.identity().actor(),
        }
    }

    fn read(&self, from: u64, to: &mut [u8]) -> Result<(), Errno> {
        let read = memory(from, to.len())?.reader().read_slice(to);
        read.map_err(errno::of_kernel)
    }

    fn write(&self, to: u64, bytes: &[u8]) -> Result<(), Errno> {
        let written = memory(to, bytes.len())?.writer().write_slice(bytes);
        written.map_err(errno::of_kernel)
    }

    fn file(&self, fd: i32) -> Result<Lent, Errno> {
        file::get(fd).map(Lent::from).map_err(errno::of_kernel)
    }

    fn session(&self, fd: i32) -> Result<SessionId, Errno> {
        session_file::of_descriptor(fd).map_err(errno::of_kernel)
    }

    fn reserve(&self) -> Result<FileDescriptorReservation, Errno> {
        let reserved = FileDescriptorReservation::get_unused_fd_flags(flags::O_CLOEXEC);
        reserved.map_err(errno::of_kernel)
    }

    fn number(slot: &FileDescriptorReservation) -> i32 {
        slot.reserved_fd() as i32
    }

    fn install_file(&self, slot: FileDescriptorReservation, file: Lent) -> Result<i32, Errno> {
        let number = Self::number(&slot);
        slot.fd_install(file.into_file());
        Ok(number)
    }

    fn install_session(
        &self,
        slot: FileDescriptorReservation,
        name: &SessionName,
        id: SessionId,
    ) -> Result<i32, Errno> {
        let file = session_file::create(name, id).map_err(errno::of_kernel)?;
        self.install_file(slot, file.into())
    }
}
