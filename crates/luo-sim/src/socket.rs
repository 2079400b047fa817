// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pairs of sockets: one end is a program's descriptor, which is recognised by its
//! number.

use std::os::fd::OwnedFd;

use luo_abi::errno::Errno;
use rustix::fs::FileType;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// A pair of sockets that are closed when a program is executed.
pub(crate) fn pair() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
}

/// The ABI's error number for an error of the real kernel.
pub(crate) fn errno(error: rustix::io::Errno) -> Errno {
    match Errno::check(error.raw_os_error().wrapping_neg()) {
        Err(errno) => errno,
        Ok(_) => Errno::EIO,
    }
}

/// The number by which a descriptor of a program is recognised.
pub(crate) fn number(fd: &OwnedFd) -> Result<u64, Errno> {
    rustix::fs::fstat(fd).map(|stat| stat.st_ino).map_err(errno)
}

/// Whether a file is of a kind that we give: those of other kinds have numbers of
/// their own.
pub(crate) fn may_be_ours(file: &OwnedFd) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| {
        matches!(
            FileType::from_raw_mode(stat.st_mode),
            FileType::Socket | FileType::Fifo
        )
    })
}
