// SPDX-License-Identifier: MIT OR Apache-2.0
//! A peer's socket, with limits: what a message may have in bytes and in descriptors.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use luo_sys::message;
use luo_varlink::limits::{MAX_CALL, MAX_FDS};
use rustix::net::{RecvFlags, SendFlags};
use tokio::io::Interest;
use tokio::net::UnixStream;
use zlink_core::connection::PassedCredentials;
use zlink_core::connection::socket::{ReadHalf, ReadResult, Socket, UnixSocket, WriteHalf};

use super::foreign;

/// How long the rest of a message may take with which a descriptor has come. That may be the
/// peer's end of this very connection, or have it on its way in turn: then nobody else has it, and
/// the connection would end by itself never.
const PATIENCE: Duration = Duration::from_secs(5);

/// The socket.
#[derive(Debug)]
pub(super) struct Peer(Rc<UnixStream>);

impl Peer {
    /// A socket that was accepted.
    #[must_use]
    pub(super) fn new(stream: Rc<UnixStream>) -> Self {
        Self(stream)
    }
}

impl Socket for Peer {
    type ReadHalf = Reader;
    type WriteHalf = Writer;
    const CAN_TRANSFER_FDS: bool = true;

    fn split(self) -> (Reader, Writer) {
        let reader = Reader {
            stream: Rc::clone(&self.0),
            meter: Meter::default(),
        };
        (reader, Writer { stream: self.0 })
    }
}

/// How much of an incomplete message has arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Meter {
    bytes: usize,
    descriptors: usize,
    /// Whether a descriptor has come, and not all of the message that it may belong to.
    holds: bool,
}

impl Meter {
    /// Counts bytes and descriptors that have arrived. Says whether the message is within
    /// the limits.
    fn take(&mut self, bytes: &[u8], descriptors: usize) -> bool {
        // Descriptors come with the last byte of a read at the latest, and belong to the
        // message that is begun there, or to one that ends in it.
        self.descriptors = self.descriptors.saturating_add(descriptors);
        let within = self.descriptors <= MAX_FDS;
        match bytes.iter().rposition(|&byte| byte == 0) {
            Some(end) => {
                self.bytes = bytes.len() - end - 1;
                self.descriptors = 0;
            }
            None => self.bytes = self.bytes.saturating_add(bytes.len()),
        }
        self.holds = (self.holds || descriptors > 0) && self.bytes > 0;
        within && self.bytes <= MAX_CALL
    }
}

/// The half that is read.
#[derive(Debug)]
pub(super) struct Reader {
    stream: Rc<UnixStream>,
    meter: Meter,
}

impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl UnixSocket for Reader {}

impl ReadHalf for Reader {
    async fn read(&mut self, buffer: &mut [u8]) -> zlink_core::Result<ReadResult> {
        let stream = Rc::clone(&self.stream);
        let (length, result) = loop {
            let readable = stream.readable();
            match self.meter.holds {
                true => tokio::time::timeout(PATIENCE, readable)
                    .await
                    .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, NOT_WHOLE))??,
                false => readable.await?,
            }
            let read = || receive(stream.as_fd(), &mut *buffer);
            match stream.try_io(Interest::READABLE, read) {
                Ok(read) => break read,
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
                Err(why) => return Err(why.into()),
            }
        };
        let descriptors = result.fds().len();
        let bytes = buffer.get(..length).unwrap_or_default();
        if length > 0 && !self.meter.take(bytes, descriptors) {
            return Err(zlink_core::Error::BufferOverflow);
        }
        Ok(result)
    }
}

const NOT_WHOLE: &str = "a descriptor came along, and not the rest of its message";

/// Reads once, with the descriptors that come along.
fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, ReadResult)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    // Where there is no room for them, the kernel drops descriptors by itself.
    let room = if foreign::can_receive() {
        &mut space[..]
    } else {
        &mut []
    };
    let received = message::receive(socket, buffer, room, RecvFlags::empty())?;
    let refused = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    let count = received.fds.len();
    let Some(fds) = foreign::admit(received.fds) else {
        return refused("no descriptor is left for what came along");
    };
    // The kernel has closed those for which there was no room.
    if received.is_cut || count > MAX_FDS {
        return refused("too many descriptors came along");
    }
    let result = ReadResult::new(received.bytes).set_fds(fds);
    Ok((received.bytes, result))
}

/// The half that is written.
#[derive(Debug)]
pub(super) struct Writer {
    stream: Rc<UnixStream>,
}

impl WriteHalf for Writer {
    async fn write(
        &mut self,
        buffer: &[u8],
        fds: &[impl AsFd],
        _credentials: Option<&PassedCredentials>,
    ) -> zlink_core::Result<()> {
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        Ok(write(&self.stream, buffer, &fds).await?)
    }
}

/// Writes all of a message; descriptors go with its first byte.
pub(super) async fn write(
    stream: &UnixStream,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        let along = if written == 0 { fds } else { &[] };
        stream.writable().await?;
        let send = || send(stream.as_fd(), rest, along);
        match stream.try_io(Interest::WRITABLE, send) {
            Ok(length) => written += length,
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    Ok(message::send(
        socket,
        bytes,
        fds,
        &mut space,
        SendFlags::empty(),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_so_many_bytes() {
        let mut meter = Meter::default();
        let half = vec![b'x'; MAX_CALL / 2];
        assert!(meter.take(&half, 0) && meter.take(&half, 0));
        assert!(!meter.take(b"x", 0));
        // Many small ones are no large one.
        let mut meter = Meter::default();
        for _ in 0..10 {
            assert!(meter.take(&half, 0));
            assert!(meter.take(b"\0", 0));
        }
        assert_eq!(meter, Meter::default());
    }

    #[test]
    fn a_message_has_so_many_descriptors() {
        let mut meter = Meter::default();
        assert!(meter.take(b"{", MAX_FDS));
        assert!(!meter.take(b"}", 1));
        let mut meter = Meter::default();
        assert!(meter.take(b"{}\0", 1) && meter.take(b"{}\0", 1));
        assert!(!meter.holds);
        // It may belong to what is begun behind a message's end.
        assert!(meter.take(b"{}\0{", 1) && meter.holds);
        assert!(meter.take(b"}", 0) && meter.holds);
        assert!(meter.take(b"\0", 0) && !meter.holds);
    }
}
