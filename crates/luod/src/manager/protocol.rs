// SPDX-License-Identifier: MIT OR Apache-2.0
//! The agreement between the agent and its service manager beyond sd_notify(3): how many
//! descriptors the manager keeps, and how an agent that `luod supervise` has started
//! fetches those of an earlier one.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use luo_sys::message;
use rustix::net::{
    AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
};

/// Sessions that are put in at most: all labels together have 96 KiB then.
pub(super) const MOST: usize = 16_384;

/// The variable in which a manager says how many descriptors it keeps: systemd 254 and
/// newer, and `luod supervise`.
pub(super) const ROOM: &str = "FDSTORE";

/// The variable that names the socket from which kept descriptors are fetched.
pub(super) const SOCKET: &str = "LUOD_STORE_SOCKET";

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
    let socket = seqpacket()?;
    connect(&socket, &SocketAddrUnix::new(Path::new(&path))?)?;
    let mut kept = Vec::new();
    loop {
        let (length, mut fds, text) = take(socket.as_fd(), RecvFlags::empty())?;
        match (length, fds.pop()) {
            (0, _) => return Ok(kept),
            (_, Some(fd)) => kept.push((text, fd)),
            (_, None) => {}
        }
    }
}

/// One message: its length, the descriptors that came along, and its text.
pub(super) fn take(
    socket: BorrowedFd<'_>,
    flags: RecvFlags,
) -> io::Result<(usize, Vec<OwnedFd>, String)> {
    let mut text = [0; MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
    let received = message::receive(socket, &mut text, &mut space, flags)?;
    if received.is_cut {
        tracing::error!("a descriptor did not arrive: is there room for one more?");
    }
    let text = text.get(..received.bytes).unwrap_or_default();
    let text = String::from_utf8_lossy(text).into_owned();
    Ok((received.bytes, received.fds, text))
}
