// SPDX-License-Identifier: MIT OR Apache-2.0
//! The agreement between the agent and its service manager beyond sd_notify(3): how many
//! descriptors the manager keeps, and how an agent that `luod supervise` has started
//! fetches those of an earlier one.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use luo_sys::message;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
};

/// Sessions that are put in at most: all labels together have 96 KiB then.
pub(super) const MOST: usize = 16_384;

/// The variable that names the manager's socket, as sd_notify(3) has it.
pub(super) const NOTIFY: &str = "NOTIFY_SOCKET";

/// The variable in which a manager says how many descriptors it keeps: systemd 254 and
/// newer, and `luod supervise`.
pub(super) const ROOM: &str = "FDSTORE";

/// The variable that names the socket from which kept descriptors are fetched.
pub(super) const SOCKET: &str = "LUOD_STORE_SOCKET";

/// The variable that says how many descriptors that are, so that none is missed: `luod supervise`
/// of this version and newer.
pub(super) const COUNT: &str = "LUOD_STORE_COUNT";

/// The files of the sockets of `luod supervise` in its folder.
pub(super) const NOTIFY_FILE: &str = ".notify";

/// As [`NOTIFY_FILE`], where descriptors are fetched.
pub(super) const STORE_FILE: &str = ".store";

/// How long the manager may take for one of them.
const PATIENCE: Duration = Duration::from_secs(10);

/// Descriptors that come with one message.
const AT_ONCE: usize = 16;

/// Bytes of a message.
const MESSAGE: usize = 4096;

pub(super) fn seqpacket() -> io::Result<OwnedFd> {
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC, None)?)
}

/// Fetches what `luod supervise` has kept of an earlier process, by name; nothing if
/// another manager, or none, has started this process.
///
/// # Errors
/// The manager is there and does not answer.
pub(super) fn fetch() -> io::Result<Vec<(String, OwnedFd)>> {
    let Some(path) = std::env::var_os(SOCKET) else {
        return Ok(Vec::new());
    };
    let count = std::env::var(COUNT)
        .ok()
        .and_then(|count| count.parse().ok());
    fetch_from(Path::new(&path), count)
}

fn fetch_from(path: &Path, count: Option<usize>) -> io::Result<Vec<(String, OwnedFd)>> {
    let socket = seqpacket()?;
    // The first is for the connection as well.
    for which in [Timeout::Send, Timeout::Recv] {
        set_socket_timeout(&socket, which, Some(PATIENCE))?;
    }
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    let mut kept = Vec::new();
    loop {
        let mut taken = take(socket.as_fd(), RecvFlags::empty())?;
        match (taken.bytes, taken.fds.pop()) {
            (0, _) => break,
            (_, Some(fd)) => kept.push((taken.text, fd)),
            (_, None) => {}
        }
    }
    match count {
        Some(count) if count != kept.len() => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("{} of {count} descriptors have come", kept.len()),
        )),
        _ => Ok(kept),
    }
}

/// One message.
pub(super) struct Taken {
    /// Its length.
    pub(super) bytes: usize,
    /// The descriptors that came along.
    pub(super) fds: Vec<OwnedFd>,
    /// Its text.
    pub(super) text: String,
    /// The process that sent it, where the socket asks for that.
    pub(super) sender: Option<i32>,
}

/// Takes one message.
pub(super) fn take(socket: BorrowedFd<'_>, flags: RecvFlags) -> io::Result<Taken> {
    let mut text = [0; MESSAGE];
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE), ScmCredentials(1))];
    let received = message::receive(socket, &mut text, &mut space, flags)?;
    if received.is_cut {
        tracing::error!("a descriptor did not arrive: is there room for one more?");
    }
    let text = text.get(..received.bytes).unwrap_or_default();
    Ok(Taken {
        bytes: received.bytes,
        fds: received.fds,
        text: String::from_utf8_lossy(text).into_owned(),
        sender: received.sender,
    })
}

#[cfg(test)]
mod tests {
    use rustix::net::{accept, bind, listen};

    use super::*;

    /// One that ends in the middle must not pass for the whole: what did not come would be
    /// taken for lost.
    #[test]
    fn what_has_not_come_whole_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let listener = seqpacket().unwrap();
        bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&listener, 1).unwrap();
        for (count, is_whole) in [(None, true), (Some(0), true), (Some(1), false)] {
            let fetched = std::thread::scope(|scope| {
                let fetching = scope.spawn(|| fetch_from(&path, count));
                drop(accept(&listener).unwrap());
                fetching.join().unwrap()
            });
            assert_eq!(fetched.is_ok(), is_whole, "{count:?}");
        }
    }
}
