// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device's calls of the original proposal, see [`luo_abi::rfc`]. All but
//! [`Device::state`] take CAP_SYS_ADMIN, else they end with EACCES.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use luo_abi::rfc::{self, LiveupdateFd, State};

use crate::call::{owned, with_fixed, without_argument};

use crate::device::Device;
use crate::error::{Error, Result};
use crate::name::Token;

impl Device {
    /// Registers a file, which prepare preserves. The registration belongs to
    /// this open instance and goes with it, unless a prepare came before.
    ///
    /// # Errors
    /// - EBADF: `fd` is not open, or open as `O_PATH`.
    /// - ENOENT: no handler knows this kind of file.
    /// - EBUSY: the state is neither normal nor updated, or the file is
    ///   registered or preserved already.
    /// - ENOTTY: the implementation lacks the call.
    /// - ENOMEM, ENOSPC.
    pub fn fd_preserve(&self, fd: impl AsFd) -> Result<Token> {
        let mut argument = LiveupdateFd {
            fd: fd.as_fd().as_raw_fd(),
            flags: 0,
            token: 0,
        };
        with_fixed(self, rfc::FD_PRESERVE, &mut argument)?;
        Ok(Token(argument.token))
    }

    /// Takes a registration of this open instance back.
    ///
    /// # Errors
    /// - ENOENT: this instance has no such token.
    /// - EBUSY: the state is neither normal nor updated.
    /// - ENOTTY: the implementation lacks the call.
    pub fn fd_unpreserve(&self, token: Token) -> Result<()> {
        let mut argument = token.0;
        with_fixed(self, rfc::FD_UNPRESERVE, &mut argument)
    }

    /// Restores a file that was registered in the previous kernel. Each token
    /// is restored once.
    ///
    /// # Errors
    /// - EBUSY: the state is not updated.
    /// - ENOENT: nothing was registered under this token.
    /// - EINVAL: it is restored already.
    /// - EAGAIN: its handler, or that of a file that it needs, is not here yet: try again when
    ///   its kernel module is loaded.
    /// - ENOTRECOVERABLE: the reboot could not hand it over.
    /// - EMFILE, ENFILE, and whatever the file's handler reports, which is
    ///   final.
    /// - ENOTTY: the implementation lacks the call.
    pub fn fd_restore(&self, token: Token) -> Result<OwnedFd> {
        let mut argument = LiveupdateFd {
            fd: -1,
            flags: 0,
            token: token.0,
        };
        with_fixed(self, rfc::FD_RESTORE, &mut argument)?;
        Ok(owned(argument.fd))
    }

    /// The state the machine is in.
    ///
    /// # Errors
    /// EIO: the kernel answers with an unknown number. ENOTTY, or EINVAL in
    /// mainline: the implementation lacks the call.
    pub fn state(&self) -> Result<State> {
        let mut number = u32::MAX;
        with_fixed(self, rfc::GET_STATE, &mut number)?;
        State::from_number(number)
            .ok_or_else(|| Error::of_command(rfc::GET_STATE)(rustix::io::Errno::IO))
    }

    /// Asks everybody to get ready: normal to prepared.
    ///
    /// # Errors
    /// - EINVAL: the state is not normal.
    /// - EACCES: without CAP_SYS_ADMIN.
    /// - EAGAIN: killed while waiting for another transition.
    /// - EBUSY: what it has to wait for takes too long.
    /// - ENOLINK: a file needs another that is not there.
    /// - Whatever a handler or a subsystem answers.
    ///
    /// Then everything is undone and the state is normal.
    pub fn prepare(&self) -> Result<()> {
        without_argument(self, rfc::EVENT_PREPARE)
    }

    /// The last step before the kexec: prepared to frozen.
    ///
    /// # Errors
    /// As [`Device::prepare`]; the state must be prepared.
    pub fn freeze(&self) -> Result<()> {
        without_argument(self, rfc::EVENT_FREEZE)
    }

    /// Undoes prepare and freeze: back to normal.
    ///
    /// # Errors
    /// EINVAL: the state is neither prepared nor frozen. EACCES, EAGAIN, EBUSY.
    pub fn cancel(&self) -> Result<()> {
        without_argument(self, rfc::EVENT_CANCEL)
    }

    /// Ends the update: updated to normal. What nobody took back is released.
    ///
    /// # Errors
    /// EINVAL: the state is not updated. EACCES, EAGAIN, EBUSY.
    pub fn finish_update(&self) -> Result<()> {
        without_argument(self, rfc::EVENT_FINISH)
    }
}
