// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors that peers send, and which of them may be held here.
//!
//! Closing a file of a file system in user space waits for that file system, and so do
//! nearly all other calls on it; closing a socket can wait for its peer. So only kinds of
//! descriptors are taken in whose close waits for nobody, and sessions, which the agent has
//! closed by threads ([`Aside`]). Threads that may wait close the rest, too. In the place of one that is not taken in comes a memfd whose name says what it
//! was, so that its sender gets an answer. A peer that sends such a memfd itself gets the same answer.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use luo_preflight::file::Kind;
use rustix::fs::{AtFlags, FileType, OFlags, StatxFlags, fcntl_get_seals, fcntl_getfl, statx};
use rustix::net::{AddressFamily, sockopt::socket_domain};

use crate::agent::Declaration;
use crate::aside::{self, Aside};

/// Whether descriptors can be received at all: a thread must be free to close them.
pub(super) fn can_receive() -> bool {
    aside::has_room()
}

/// How the names of memfds begin that stand for descriptors that were not taken in.
const NOT_TAKEN: &str = "luod-not-taken:";

/// The kinds that are not taken in, with their words in those names.
const KINDS: [(&str, Kind); 6] = [
    ("path", Kind::Path),
    (
        "file",
        Kind::Other("a file on a file system, or secret memory"),
    ),
    ("folder", Kind::Other("a folder")),
    ("block", Kind::Other("a block device")),
    ("socket", Kind::Other("a socket")),
    ("other", Kind::Object("an object of the kernel")),
];

/// Makes them such that all may be held. If that is not possible, all are closed.
pub(super) fn admit(fds: Vec<OwnedFd>) -> Option<Vec<OwnedFd>> {
    let mut bad = Vec::new();
    let mut all = Vec::new();
    for fd in fds {
        if waits_for_nobody(&fd) {
            all.push(Some(fd));
        } else {
            let name = format!("{NOT_TAKEN}{}", word(&fd));
            all.push(luo_sys::memfd::create(&name, 0).ok().map(OwnedFd::from));
            bad.push(fd);
        }
    }
    if !bad.is_empty() {
        drop(aside::close(bad));
    }
    all.into_iter().collect()
}

/// The word for the kind of a descriptor that is not taken in. None of the calls here
/// reaches a file system.
fn word(fd: &OwnedFd) -> &'static str {
    if fcntl_getfl(fd).is_ok_and(|flags| flags.contains(OFlags::PATH)) {
        return "path";
    }
    if socket_domain(fd).is_ok() {
        return "socket";
    }
    match file_type(fd.as_fd()) {
        Some(FileType::RegularFile) => "file",
        Some(FileType::Directory) => "folder",
        Some(FileType::BlockDevice) => "block",
        _ => "other",
    }
}

/// The thing that a workload declares by a descriptor: a file, or what stands for one.
pub(super) fn declaration(fd: Aside<OwnedFd>) -> Declaration {
    let target = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    let target = target.unwrap_or_default();
    let name = target
        .to_str()
        .and_then(|target| target.strip_prefix("/memfd:"));
    let kind = name.and_then(|name| name.strip_prefix(NOT_TAKEN));
    let word = kind.and_then(|kind| kind.split(' ').next());
    match KINDS.iter().find(|(known, _)| Some(*known) == word) {
        Some((_, kind)) => Declaration::NotTaken(*kind),
        None => Declaration::File(fd),
    }
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
    file_type(fd) == Some(FileType::CharacterDevice)
}

fn file_type(fd: BorrowedFd<'_>) -> Option<FileType> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let stat = statx(fd, c"", flags, StatxFlags::TYPE).ok()?;
    Some(FileType::from_raw_mode(u32::from(stat.stx_mode)))
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
    fn for_one_that_is_not_taken_something_stands() {
        let open = |path: &str| OwnedFd::from(fs::File::open(path).unwrap());
        let path = rustix::fs::open("/", OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        let net = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let sent = vec![
            open("/dev/null"),
            open("/proc/self/status"),
            open("/"),
            path,
            net.into(),
        ];
        let admitted = admit(sent).unwrap();
        let kinds = admitted.into_iter().map(|fd| declaration(fd.into()));
        let kinds: Vec<_> = kinds.collect();
        assert!(matches!(kinds[0], Declaration::File(_)));
        let kinds = kinds[1..].iter().map(|kind| match kind {
            Declaration::NotTaken(kind) => *kind,
            Declaration::File(fd) => panic!("{fd:?} was taken in"),
        });
        let words = ["file", "folder", "path", "socket"];
        let expected = words.map(|word| KINDS.iter().find(|(known, _)| *known == word));
        let expected: Vec<_> = expected
            .into_iter()
            .flatten()
            .map(|(_, kind)| *kind)
            .collect();
        assert_eq!(kinds.collect::<Vec<_>>(), expected);
    }
}
