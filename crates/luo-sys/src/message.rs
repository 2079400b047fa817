// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages over local sockets, with the descriptors that come along.
//!
//! The caller gives the room for descriptors, which bounds how many can come: a buffer of
//! `rustix::cmsg_space!(ScmRights(N))` bytes. The kernel closes those that do not fit.

use core::mem::MaybeUninit;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// What has come.
#[derive(Debug)]
pub struct Received {
    /// Bytes in the buffer; 0 at the end of a stream.
    pub bytes: usize,
    /// The descriptors, close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// The process that sent it, on a socket that asks for credentials (SO_PASSCRED).
    pub sender: Option<i32>,
    /// Some did not come: there was no room for them, here or in this process.
    pub is_cut: bool,
}

/// Receives once.
///
/// # Errors
/// As recvmsg(2).
pub fn receive(
    socket: impl AsFd,
    buffer: &mut [u8],
    room: &mut [MaybeUninit<u8>],
    flags: RecvFlags,
) -> Result<Received> {
    let mut ancillary = RecvAncillaryBuffer::new(room);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(buffer)],
        &mut ancillary,
        flags,
    )?;
    let mut fds = Vec::new();
    let mut sender = None;
    for message in ancillary.drain() {
        match message {
            RecvAncillaryMessage::ScmRights(rights) => fds.extend(rights),
            RecvAncillaryMessage::ScmCredentials(credentials) => {
                sender = Some(credentials.pid.as_raw_nonzero().get());
            }
            _ => {}
        }
    }
    Ok(Received {
        bytes: received.bytes,
        fds,
        sender,
        is_cut: received.flags.contains(ReturnFlags::CTRUNC),
    })
}

/// Sends once; descriptors go with the first byte. A peer that is gone is an error and
/// no signal.
///
/// # Errors
/// E2BIG: there is no room for so many descriptors. As sendmsg(2).
pub fn send(
    socket: impl AsFd,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    room: &mut [MaybeUninit<u8>],
    flags: SendFlags,
) -> Result<usize> {
    let mut ancillary = SendAncillaryBuffer::new(room);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::TOOBIG);
    }
    let flags = flags | SendFlags::NOSIGNAL;
    sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    type Room = [MaybeUninit<u8>; rustix::cmsg_space!(ScmRights(1))];

    fn room() -> Room {
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))]
    }

    #[test]
    fn descriptors_come_along_as_far_as_there_is_room() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let fds = [ours.as_fd()];
        let sent = send(&ours, b"one", &fds, &mut room(), SendFlags::empty());
        assert_eq!(sent, Ok(3));
        let mut bytes = [0; 8];
        let got = receive(&theirs, &mut bytes, &mut room(), RecvFlags::empty()).unwrap();
        assert_eq!((&bytes[..got.bytes], got.fds.len()), (&b"one"[..], 1));
        let flags = rustix::io::fcntl_getfd(&got.fds[0]).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC) && !got.is_cut);

        send(&ours, b"two", &fds, &mut room(), SendFlags::empty()).unwrap();
        let cut = receive(&theirs, &mut bytes, &mut [], RecvFlags::empty()).unwrap();
        assert!(cut.is_cut && cut.fds.is_empty());
        let none = send(&ours, b"x", &fds, &mut [], SendFlags::empty());
        assert_eq!(none, Err(Errno::TOOBIG));
    }

    #[test]
    fn who_sends_is_told_where_it_is_asked_for() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        rustix::net::sockopt::set_socket_passcred(&theirs, true).unwrap();
        send(&ours, b"x", &[], &mut [], SendFlags::empty()).unwrap();
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let got = receive(&theirs, &mut [0], &mut room, RecvFlags::empty()).unwrap();
        assert_eq!(got.sender, Some(std::process::id() as i32));
    }

    #[test]
    fn a_peer_that_is_gone_is_an_error() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let sent = send(&ours, b"x", &[], &mut [], SendFlags::empty());
        assert_eq!(sent, Err(Errno::PIPE));
        let end = receive(&ours, &mut [0], &mut [], RecvFlags::empty()).unwrap();
        assert_eq!(end.bytes, 0);
    }
}
