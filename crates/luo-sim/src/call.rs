// SPDX-License-Identifier: MIT OR Apache-2.0
//! An ioctl on a descriptor of ours, and what comes of it.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use luo_abi::errno::Errno;
use luo_calls::{Caller, Identity};
use luo_core::{SessionId, SessionName};
use rustix::fs::OFlags;

use crate::client::Client;
use crate::descriptor::File;
use crate::machine::Machine;
use crate::table::{Object, Table};

/// An ioctl on a descriptor of ours.
pub(crate) struct Call<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) table: &'a Table,
    pub(crate) client: &'a dyn Client,
    pub(crate) object: &'a Object,
    /// A copy of the descriptor.
    pub(crate) file: &'a OwnedFd,
}

/// How a call has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// It returns this.
    Value(i64),
    /// It is none of ours: the kernel carries it out.
    Foreign,
    /// Nobody is to be told: the machine goes.
    Gone,
}

impl Call<'_> {
    /// Does what the call asks for.
    pub(crate) fn run(&self, command: u32, argument: u64) -> Result<Done, Errno> {
        match self.object {
            Object::Device(instance) => {
                luo_calls::on_device(self.machine, self, &instance.calls, command, argument)?;
            }
            Object::Session(id) => {
                luo_calls::on_session(self.machine, self, *id, command, argument)?;
            }
            Object::Participant(_) => return Err(Errno::ENOTTY),
            Object::Choice(_) => return Ok(Done::Foreign),
        }
        Ok(Done::Value(0))
    }
}

/// No descriptor can be set aside in another process: its number is known when
/// something is installed, and that there is none is found out only then.
impl Caller for Call<'_> {
    type File = File;
    type Slot = ();

    fn identity(&self) -> Identity {
        self.client.identity()
    }

    fn read(&self, from: u64, to: &mut [u8]) -> Result<(), Errno> {
        self.client.read(from, to)
    }

    fn write(&self, to: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.client.write(to, bytes)
    }

    fn file(&self, fd: i32) -> Result<File, Errno> {
        if fd < 0 {
            return Err(Errno::EBADF);
        }
        let file = self.client.descriptor(fd)?;
        let flags = rustix::fs::fcntl_getfl(&file).map_err(|_| Errno::EBADF)?;
        // Both access bits set mean neither reading nor writing.
        if flags.contains(OFlags::PATH) || flags & OFlags::ACCMODE == OFlags::ACCMODE {
            return Err(Errno::EBADF);
        }
        Ok(Arc::new(file.into()))
    }

    fn session(&self, fd: i32) -> Result<SessionId, Errno> {
        let file = self.client.descriptor(fd)?;
        match self.table.find(&file) {
            Some(Object::Session(id)) => Ok(id),
            _ => Err(Errno::EINVAL),
        }
    }

    fn reserve(&self) -> Result<(), Errno> {
        Ok(())
    }

    fn number((): &()) -> i32 {
        -1
    }

    fn install_file(&self, (): (), file: File) -> Result<i32, Errno> {
        self.client.install(file.as_fd(), true)
    }

    fn install_session(&self, (): (), _: &SessionName, id: SessionId) -> Result<i32, Errno> {
        self.table.give_session(self.client, id)
    }

    fn knows_state(&self) {
        if let Object::Device(instance) = self.object {
            instance.is_read(self.machine, self.file);
        }
    }
}
