// SPDX-License-Identifier: MIT OR Apache-2.0
//! A session descriptor.

use core::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use luo_abi::uapi::{self, Finish, GetName, PreserveFd, RetrieveFd, SESSION_NAME_LENGTH};

use crate::call::{owned, with_argument};
use crate::error::{Error, Result};
use crate::name::{SessionName, Token};

/// A session: outgoing if [`crate::Device::create_session`] made it, retrieved
/// if it comes from the previous kernel.
///
/// The last close of an outgoing session unpreserves its files; the last close
/// of a retrieved one finishes it, without telling anybody how that went. Call
/// [`Session::finish`] first.
#[derive(Debug)]
pub struct Session {
    fd: OwnedFd,
}

impl Session {
    /// Takes over a session descriptor, for example one that was passed over a
    /// socket. Whether it is one shows at the first call.
    #[must_use]
    pub const fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Preserves a file under `token`. It stays usable, within the limits of
    /// its kind: a memfd can be written but no longer resized.
    ///
    /// # Errors
    /// - EINVAL: this is a retrieved session.
    /// - EEXIST: the token is taken in this session.
    /// - EBUSY: the file is preserved already, here or elsewhere; or this session is frozen.
    /// - EBADF: `fd` is not open, or open as `O_PATH`.
    /// - ENOENT: no handler knows this kind of file.
    /// - ENOSPC: the session is full.
    /// - ENOMEM, and whatever the file's handler reports.
    pub fn preserve_fd(&self, fd: impl AsFd, token: Token) -> Result<()> {
        let mut argument = PreserveFd {
            size: size_of::<PreserveFd>() as u32,
            fd: fd.as_fd().as_raw_fd(),
            token: token.0,
        };
        with_argument(self, uapi::SESSION_PRESERVE_FD, &mut argument)
    }

    /// Takes back a file. A second call with the same token returns another
    /// descriptor of the same file.
    ///
    /// # Errors
    /// - EINVAL: this is an outgoing session.
    /// - ENOENT: nothing was preserved under this token, or the session is
    ///   finished.
    /// - EAGAIN: its handler, or that of a file that it needs, is not here yet: try again when
    ///   its kernel module is loaded.
    /// - ENOTRECOVERABLE: the reboot could not hand it over.
    /// - ENOMEM, EMFILE, ENFILE, and whatever the file's handler reports; a
    ///   handler's failure is final.
    pub fn retrieve_fd(&self, token: Token) -> Result<OwnedFd> {
        let mut argument = RetrieveFd {
            size: size_of::<RetrieveFd>() as u32,
            fd: -1,
            token: token.0,
        };
        with_argument(self, uapi::SESSION_RETRIEVE_FD, &mut argument)?;
        Ok(owned(argument.fd))
    }

    /// Ends a retrieved session: its files belong to whoever retrieved them,
    /// and what nobody retrieved is released.
    ///
    /// # Errors
    /// - EINVAL: this is an outgoing session.
    /// - EBUSY: the handler of one of its files is not ready; nothing has
    ///   happened, and the call can be repeated.
    pub fn finish(&self) -> Result<()> {
        let mut argument = Finish {
            size: size_of::<Finish>() as u32,
            reserved: 0,
        };
        with_argument(self, uapi::SESSION_FINISH, &mut argument)
    }

    /// The session's name, as the kernel knows it.
    ///
    /// # Errors
    /// ENOTTY: not a session. EIO: the kernel's answer is no valid name.
    pub fn name(&self) -> Result<SessionName> {
        let mut argument = GetName {
            size: size_of::<GetName>() as u32,
            reserved: 0,
            name: [0; SESSION_NAME_LENGTH],
        };
        with_argument(self, uapi::SESSION_GET_NAME, &mut argument)?;
        SessionName::from_field(&argument.name)
            .map_err(|_| Error::of_command(uapi::SESSION_GET_NAME)(rustix::io::Errno::IO))
    }

    /// The descriptor itself, for example to pass it on.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Another descriptor of the same session.
    ///
    /// # Errors
    /// EMFILE, ENFILE: no descriptor is left.
    pub fn try_clone(&self) -> Result<Self> {
        match self.fd.try_clone() {
            Ok(fd) => Ok(Self { fd }),
            Err(_) => Err(Error::last("dup")),
        }
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Session> for OwnedFd {
    fn from(session: Session) -> Self {
        session.fd
    }
}
