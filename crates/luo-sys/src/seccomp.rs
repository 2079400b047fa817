// SPDX-License-Identifier: MIT OR Apache-2.0
//! The supervisor's end of seccomp user notification: system calls of other
//! processes, to be answered by this one.
//!
//! See seccomp_unotify(2). [`crate::supervise`] makes a [`Listener`].

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use luo_abi::errno::Errno;

use crate::error::{Error, Result};

/// One instruction of a filter, as the kernel takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// How far to jump if it holds.
    pub jt: u8,
    /// How far to jump if it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// What a filter returns for a call that the supervisor is to be asked about.
pub const RETURN_USER_NOTIF: u32 = libc::SECCOMP_RET_USER_NOTIF;

/// Whether this kernel knows user notification.
///
/// # Errors
/// EOPNOTSUPP if it does not; ENOSYS or EPERM if something forbids to ask.
pub fn check_available() -> Result<()> {
    let action = RETURN_USER_NOTIF;
    // SAFETY: the kernel reads four bytes at the pointer, which is what it has.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            0,
            &raw const action,
        )
    };
    match ret {
        0 => Ok(()),
        _ => Err(Error::last("seccomp(GET_ACTION_AVAIL)")),
    }
}

/// A call that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Names it in answers.
    pub id: u64,
    /// The thread that made it.
    pub thread: u32,
    /// Number of the system call.
    pub number: i32,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It returns this.
    Value(i64),
    /// It fails.
    Error(Errno),
    /// The kernel carries it out as if there were no supervisor.
    Continue,
}

/// Where calls of the supervised processes arrive.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
}

impl Listener {
    /// Takes a descriptor over that seccomp(2) made.
    #[must_use]
    pub const fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Has the kernel switch to the other side at once when a call is made or
    /// answered, if it can (Linux 6.6): it halves the time of a call.
    pub fn wake_synchronously(&self) {
        /// From `linux/seccomp.h`.
        const SYNC_WAKE_UP: libc::c_ulong = 1;
        // SAFETY: this command takes its argument by value.
        let _ = unsafe {
            libc::ioctl(
                self.fd.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS,
                SYNC_WAKE_UP,
            )
        };
    }

    /// Takes the next call, waiting for one; `None` if it was taken back while it
    /// was on its way, or a signal came.
    ///
    /// # Errors
    /// Those of the kernel; there is none in ordinary use.
    pub fn receive(&self) -> Result<Option<Notification>> {
        // Zeroed, as the kernel asks.
        let mut raw = libc::seccomp_notif {
            id: 0,
            pid: 0,
            flags: 0,
            data: libc::seccomp_data {
                nr: 0,
                arch: 0,
                instruction_pointer: 0,
                args: [0; 6],
            },
        };
        // SAFETY: the kernel writes one `seccomp_notif` at the pointer; any bytes
        // are a valid one.
        let ret = unsafe {
            libc::ioctl(
                self.fd.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                &raw mut raw,
            )
        };
        if ret == 0 {
            return Ok(Some(Notification {
                id: raw.id,
                thread: raw.pid,
                number: raw.data.nr,
                arguments: raw.data.args,
            }));
        }
        match std::io::Error::last_os_error().raw_os_error() {
            Some(libc::ENOENT | libc::EINTR) => Ok(None),
            _ => Err(Error::last("SECCOMP_IOCTL_NOTIF_RECV")),
        }
    }

    /// Answers a call.
    ///
    /// # Errors
    /// ENOENT: nobody waits for the answer any more.
    pub fn answer(&self, id: u64, answer: Answer) -> Result<()> {
        let (val, error, flags) = match answer {
            Answer::Value(value) => (value, 0, 0),
            Answer::Error(errno) => (0, errno.to_ret(), 0),
            Answer::Continue => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
        };
        let mut raw = libc::seccomp_notif_resp {
            id,
            val,
            error,
            flags,
        };
        self.command(
            "SECCOMP_IOCTL_NOTIF_SEND",
            libc::SECCOMP_IOCTL_NOTIF_SEND,
            &mut raw,
        )
        .map(drop)
    }

    /// Whether somebody waits for the answer still: if so, the thread that made
    /// the call is the one it was, and its memory is there.
    #[must_use]
    pub fn is_waiting(&self, id: u64) -> bool {
        let mut id = id;
        self.command(
            "SECCOMP_IOCTL_NOTIF_ID_VALID",
            libc::SECCOMP_IOCTL_NOTIF_ID_VALID,
            &mut id,
        )
        .is_ok()
    }

    /// Installs a copy of a descriptor in the process that made the call; gives
    /// its number there.
    ///
    /// # Errors
    /// EMFILE: that process has too many. ENOENT: nobody waits any more.
    pub fn install(&self, id: u64, fd: impl AsFd, close_on_exec: bool) -> Result<RawFd> {
        let mut raw = libc::seccomp_notif_addfd {
            id,
            flags: 0,
            // A raw descriptor is never negative.
            srcfd: fd.as_fd().as_raw_fd().unsigned_abs(),
            newfd: 0,
            newfd_flags: if close_on_exec {
                libc::O_CLOEXEC.unsigned_abs()
            } else {
                0
            },
        };
        self.command(
            "SECCOMP_IOCTL_NOTIF_ADDFD",
            libc::SECCOMP_IOCTL_NOTIF_ADDFD,
            &mut raw,
        )
    }

    /// `command` and `T` must be a pair of `linux/seccomp.h`.
    fn command<T: Plain>(
        &self,
        name: &'static str,
        command: libc::Ioctl,
        argument: &mut T,
    ) -> Result<i32> {
        let argument: *mut T = argument;
        // SAFETY: the kernel reads and writes one `T` at the pointer, whose size the
        // command's value encodes; any bytes are a valid `T` (`Plain`).
        let ret = unsafe { libc::ioctl(self.fd.as_raw_fd(), command, argument) };
        if ret >= 0 {
            Ok(ret)
        } else {
            Err(Error::last(name))
        }
    }
}

/// Structures of numbers only.
trait Plain {}
impl Plain for u64 {}
impl Plain for libc::seccomp_notif_resp {}
impl Plain for libc::seccomp_notif_addfd {}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_listener_is_told() {
        let file = crate::memfd::create("no listener", 0).unwrap();
        let listener = Listener::from_fd(file.into());
        assert!(!listener.is_waiting(1));
        let error = listener.answer(1, Answer::Continue).unwrap_err();
        assert_eq!(error.errno(), Errno::ENOTTY);
        assert_eq!(listener.receive().unwrap_err().errno(), Errno::ENOTTY);
    }
}
