// SPDX-License-Identifier: MIT OR Apache-2.0
//! An open `/dev/liveupdate`.

use core::mem::size_of;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use luo_abi::uapi::{self, CreateSession, RetrieveSession};
use rustix::fs::{Mode, OFlags};

use crate::call::{owned, with_argument};
use crate::error::{Error, Result};
use crate::name::SessionName;
use crate::session::Session;

/// A file beside the device that agents lock, so that there is one of them for a kernel.
///
/// It has to be one and the same file for all of them. Most that come to mind are not:
/// abstract sockets and the files of `/sys` are each network namespace's own, those of
/// `/proc` each mount's, `/run` a container's; and a lock on the device itself takes an open
/// device, of which there may be no other. The file system of `/dev` there is once for a
/// kernel. The file is root's alone, because whoever may open a file may lock it.
pub const LOCK_PATH: &str = "/dev/liveupdate.lock";

/// The live update device. One process at a time holds it; dropping this gives
/// it back. Sessions outlive it; what was registered on it with
/// [`Device::fd_preserve`] does not, unless it is prepared.
#[derive(Debug)]
pub struct Device {
    fd: OwnedFd,
}

impl Device {
    /// Opens `/dev/liveupdate`. What the previous kernel handed over is
    /// read now on mainline, and before the first call on this orchestrator, so both can
    /// say that it could not be taken over.
    ///
    /// # Errors
    /// - EBUSY: somebody holds the device.
    /// - EIO: what was handed over could not be taken over; final until reboot.
    /// - ENOENT: no such device, for example without `liveupdate=on`.
    /// - EACCES: the file's mode forbids it, or `liveupdate_open=admin` is set, which this
    ///   orchestrator knows, and the caller is without `CAP_SYS_ADMIN`.
    pub fn open() -> Result<Self> {
        Self::open_with(OFlags::empty())
    }

    /// Opens with further flags.
    pub(crate) fn open_with(flags: OFlags) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | flags;
        rustix::fs::open(uapi::DEVICE_PATH, flags, Mode::empty())
            .map(|fd| Self { fd })
            .map_err(Error::of("open /dev/liveupdate"))
    }

    /// Takes over a descriptor that somebody else opened, for example one that
    /// was passed by a service manager.
    #[must_use]
    pub const fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Creates an outgoing session, which is handed over at the next kexec
    /// unless it is closed before.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), luo_sys::Error> {
    /// # let name = luo_sys::SessionName::new("guest-7").unwrap();
    /// let session = luo_sys::Device::open()?.create_session(&name)?;
    /// assert_eq!(session.name()?, name);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - EEXIST: an outgoing session has this name.
    /// - ENOSPC: there are as many sessions as can be handed over.
    /// - ENOMEM, EMFILE, ENFILE: a resource is exhausted.
    pub fn create_session(&self, name: &SessionName) -> Result<Session> {
        let mut argument = CreateSession {
            size: size_of::<CreateSession>() as u32,
            fd: -1,
            name: *name.as_field(),
        };
        with_argument(self, uapi::CREATE_SESSION, &mut argument)?;
        Ok(Session::from_fd(owned(argument.fd)))
    }

    /// Takes back a session of the previous kernel.
    ///
    /// # Errors
    /// - ENOENT: nothing of this name was handed over, or it is finished.
    /// - EINVAL: it has been retrieved already.
    /// - ENOMEM, EMFILE, ENFILE: a resource is exhausted.
    pub fn retrieve_session(&self, name: &SessionName) -> Result<Session> {
        let mut argument = RetrieveSession {
            size: size_of::<RetrieveSession>() as u32,
            fd: -1,
            name: *name.as_field(),
        };
        with_argument(self, uapi::RETRIEVE_SESSION, &mut argument)?;
        Ok(Session::from_fd(owned(argument.fd)))
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Device> for OwnedFd {
    fn from(device: Device) -> Self {
        device.fd
    }
}
