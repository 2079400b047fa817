// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pairs of sockets: one end is a program's descriptor, which is recognised by its
//! number.

use core::mem::MaybeUninit;
use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::time::Duration;

use luo_abi::errno::Errno;
use rustix::fs::FileType;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    UCred, recvmsg,
};

/// A pair of sockets that are closed when a program is executed.
pub(crate) fn pair() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
}

/// Has reads and writes of a socket end where they would wait for the other end, with EAGAIN.
/// Who waits by poll(2) waits as before, and the flags of the descriptor stay as they are.
pub(crate) fn end_at_once(socket: &OwnedFd) -> rustix::io::Result<()> {
    const SOON: Duration = Duration::from_millis(1);
    for direction in [Timeout::Recv, Timeout::Send] {
        set_socket_timeout(socket, direction, Some(SOON))?;
    }
    Ok(())
}

/// A pair of sockets that keep each write apart; the first one is told who has written.
pub(crate) fn messages_with_writers() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::net::sockopt::set_socket_passcred(&ours, true)?;
    Ok((ours, theirs))
}

/// The next message, as far as it is not too long for anything that can be chosen, and who
/// wrote it. `None` if there is none.
pub(crate) fn next_message(ours: &OwnedFd) -> Option<(Vec<u8>, Option<UCred>)> {
    let mut text = vec![0; 64];
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut room);
    let into = &mut [IoSliceMut::new(&mut text)];
    let received = match recvmsg(ours, into, &mut ancillary, RecvFlags::DONTWAIT) {
        // It says once that the other end was closed before all was read there; what was
        // written here comes behind it.
        Err(rustix::io::Errno::CONNRESET) => {
            recvmsg(ours, into, &mut ancillary, RecvFlags::DONTWAIT)
        }
        received => received,
    };
    let received = received.ok()?;
    let mut writer = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmCredentials(credentials) = message {
            writer = Some(credentials);
        }
    }
    text.truncate(received.bytes);
    (received.bytes > 0).then_some((text, writer))
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
    rustix::fs::fstat(file)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last ones are read behind the close, which comes while there is something unread.
    #[test]
    fn each_write_is_a_message_that_says_who_wrote_it() {
        let (ours, theirs) = messages_with_writers().unwrap();
        rustix::io::write(&ours, b"as it is\n").unwrap();
        for text in [b"one", b"two"] {
            rustix::io::write(&theirs, text).unwrap();
        }
        drop(theirs);
        for text in [b"one", b"two"] {
            let (line, writer) = next_message(&ours).unwrap();
            assert_eq!(line, text);
            let writer = writer.unwrap();
            assert_eq!(writer.pid, rustix::process::getpid());
            assert_eq!(writer.uid, rustix::process::getuid());
            assert!(crate::caller::might_administer(writer));
        }
        assert!(next_message(&ours).is_none());
    }
}
