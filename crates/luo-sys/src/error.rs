// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a failed system call reports.

use luo_abi::calls::Call;
use luo_abi::errno::Errno;

/// A system call that failed: which one, and with what error number. In words, numbers that
/// few programs meet come with what they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {errno}{}{}", hint(*errno).map_or("", |_| ": "), hint(*errno).unwrap_or_default())]
pub struct Error {
    call: &'static str,
    errno: Errno,
}

/// The result of a system call.
pub type Result<T> = core::result::Result<T, Error>;

impl Error {
    /// The call's name, for example `RETRIEVE_FD` or `open /dev/liveupdate`.
    #[must_use]
    pub const fn call(&self) -> &'static str {
        self.call
    }

    /// The error number.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        self.errno
    }

    /// For `map_err`: attaches the call's name.
    pub(crate) fn of(call: &'static str) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self {
            call,
            errno: translate(errno.raw_os_error()),
        }
    }

    /// The same for a command, whose name is in the table.
    pub(crate) fn of_command(command: u32) -> impl FnOnce(rustix::io::Errno) -> Self {
        Self::of(Call::of(command).map_or("ioctl", |call| call.word))
    }

    /// The error number that the C library left behind.
    pub(crate) fn last(call: &'static str) -> Self {
        let raw = std::io::Error::last_os_error().raw_os_error();
        Self {
            call,
            errno: translate(raw.unwrap_or_default()),
        }
    }
}

/// What an error number means that only this interface has in this sense.
#[must_use]
pub const fn hint(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::EDQUOT => Some(
            "this user has as many sessions, files, dependencies or bytes as a user may have; \
             /sys/kernel/liveupdate/user_* say how many, and users_* for all users together",
        ),
        Errno::ENOTCONN => Some(
            "the file needs one that its owner has not taken back yet; try again when that is there",
        ),
        Errno::EAGAIN => Some(
            "the file's handler is not here yet; try again when its kernel module is loaded: the \
             lists of files and the kernel's log name it",
        ),
        Errno::ENOTRECOVERABLE => Some(
            "the reboot could not hand the file over, and it is lost; this kernel's log says why",
        ),
        _ => None,
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        Self::from_raw_os_error(error.errno.get())
    }
}

/// Zero is no error number; a call that failed without one is reported as EIO.
fn translate(raw: i32) -> Errno {
    match Errno::check(raw.wrapping_neg()) {
        Err(errno) => errno,
        Ok(_) => Errno::EIO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_call() {
        let error = Error::of("PRESERVE_FD")(rustix::io::Errno::NOENT);
        assert_eq!(error.errno(), Errno::ENOENT);
        assert_eq!(error.to_string(), "PRESERVE_FD: ENOENT");
        let io = std::io::Error::from(error);
        assert_eq!(io.kind(), std::io::ErrorKind::NotFound);
    }

    #[test]
    fn what_few_have_met_is_explained() {
        for (errno, part) in [
            (rustix::io::Errno::DQUOT, "user_*"),
            (rustix::io::Errno::NOTCONN, "its owner"),
            (rustix::io::Errno::AGAIN, "module is loaded"),
            (rustix::io::Errno::NOTRECOVERABLE, "it is lost"),
        ] {
            let error = Error::of("RETRIEVE_FD")(errno).to_string();
            assert!(
                error.starts_with("RETRIEVE_FD: E") && error.contains(part),
                "{error}"
            );
        }
    }

    #[test]
    fn a_command_has_a_name() {
        let error = Error::of_command(luo_abi::uapi::SESSION_FINISH)(rustix::io::Errno::BUSY);
        assert_eq!(error.to_string(), "FINISH: EBUSY");
    }

    #[test]
    fn a_failure_without_a_number_is_still_one() {
        assert_eq!(translate(0), Errno::EIO);
    }
}
