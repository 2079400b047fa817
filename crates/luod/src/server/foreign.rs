// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors that peers send, and which of them may be held here.
//!
//! Closing a file of a file system in user space waits for that file system, and so do
//! nearly all other calls on it; closing a socket can wait for its peer. So only kinds of
//! descriptors are taken in whose close waits for nobody. Threads that may wait close the
//! rest.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{AtFlags, FileType, StatxFlags, fcntl_get_seals, statx};
use rustix::net::{AddressFamily, sockopt::socket_domain};

/// Threads that may wait at the same time.
const MOST: usize = 64;

/// Threads that wait now.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Whether descriptors can be received at all: a thread must be free to close them.
pub(super) fn can_receive() -> bool {
    WAITING.load(Ordering::Relaxed) < MOST
}

/// Whether all of them may be held. If not, all are closed.
pub(super) fn admit(fds: Vec<OwnedFd>) -> Option<Vec<OwnedFd>> {
    let (good, bad): (Vec<_>, Vec<_>) = fds.into_iter().partition(waits_for_nobody);
    if bad.is_empty() {
        return Some(good);
    }
    WAITING.fetch_add(1, Ordering::Relaxed);
    let close = move || {
        drop(bad);
        WAITING.fetch_sub(1, Ordering::Relaxed);
    };
    // If no thread can be started, the descriptors are closed here, even if that waits.
    let thread = std::thread::Builder::new().name("close".into());
    if thread.spawn(close).is_err() {
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
    None
}

/// Whether closing a descriptor waits for nobody. None of the calls here reaches a file
/// system.
fn waits_for_nobody(fd: &OwnedFd) -> bool {
    // A memfd, or another file of shared memory.
    if fcntl_get_seals(fd).is_ok() {
        return true;
    }
    if let Ok(family) = socket_domain(fd) {
        return family == AddressFamily::UNIX;
    }
    is_anonymous(fd.as_fd()) || is_device(fd.as_fd())
}

/// Whether it is an object of the kernel without a file. A file's path begins with `/`.
fn is_anonymous(fd: BorrowedFd<'_>) -> bool {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let target = fs::read_link(path).unwrap_or_default();
    let begins = |with| Path::to_str(&target).is_some_and(|text| text.starts_with(with));
    begins("anon_inode:") || begins("pipe:")
}

fn is_device(fd: BorrowedFd<'_>) -> bool {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let stat = statx(fd, c"", flags, StatxFlags::TYPE);
    stat.is_ok_and(|stat| {
        let mode = u32::from(stat.stx_mode);
        FileType::from_raw_mode(mode) == FileType::CharacterDevice
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_nobody_is_taken_in() {
        let file = |path: &str| OwnedFd::from(fs::File::open(path).unwrap());
        let (unix, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let good = [
            luo_sys::memfd::create("x", 1).unwrap().into(),
            file("/dev/null"),
            OwnedFd::from(unix),
            rustix::event::eventfd(0, rustix::event::EventfdFlags::empty()).unwrap(),
        ];
        for fd in good {
            assert!(waits_for_nobody(&fd), "{fd:?}");
        }
        let net = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        for fd in [file("/proc/self/status"), file("/"), net.into()] {
            assert!(!waits_for_nobody(&fd), "{fd:?}");
        }
    }

    #[test]
    fn one_that_is_not_taken_closes_all() {
        let null = || OwnedFd::from(fs::File::open("/dev/null").unwrap());
        let folder = OwnedFd::from(fs::File::open("/").unwrap());
        assert_eq!(admit(vec![null()]).map(|fds| fds.len()), Some(1));
        assert!(admit(vec![null(), folder]).is_none());
    }
}
