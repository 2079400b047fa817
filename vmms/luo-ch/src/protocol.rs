// SPDX-License-Identifier: MIT OR Apache-2.0
//! The messages of an offload, as Cloud Hypervisor's documents describe them ("Offload Snapshot
//! and Restore", v53; the local migration of earlier versions is the same). Numbers are
//! little-endian.
//!
//! ```text
//! request   0  2  command          response  0  2  status: 1 good, 2 bad
//!           2  6  of the command             2  6  zero
//!           8  8  bytes that follow          8  8  bytes that follow
//! ```
//!
//! | command | bytes that follow |
//! |---|---|
//! | 1 start | none; the first two of the six are the version of the protocol |
//! | 7 memory | 4, the number of a slot, and with them a descriptor |
//! | 2 configuration, 3 state | as many as it says, JSON |
//! | 8 complete, paused; 5 complete, running | none |
//! | 6 abandon | none |

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Bytes of a header.
pub const HEADER: usize = 16;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// A guest comes.
    Start,
    /// Its configuration.
    Config,
    /// The state of its processors and devices.
    State,
    /// Memory over the wire: between machines only.
    Memory,
    /// That was all; the guest ran.
    Complete,
    /// The guest does not come after all.
    Abandon,
    /// One of its slots of memory.
    MemoryFd,
    /// That was all; the guest stood still.
    CompletePaused,
}

impl Command {
    const ALL: [(Self, u16); 8] = [
        (Self::Start, 1),
        (Self::Config, 2),
        (Self::State, 3),
        (Self::Memory, 4),
        (Self::Complete, 5),
        (Self::Abandon, 6),
        (Self::MemoryFd, 7),
        (Self::CompletePaused, 8),
    ];

    fn number(self) -> u16 {
        let known = Self::ALL.into_iter().find(|(command, _)| *command == self);
        known.map_or(0, |(_, number)| number)
    }

    fn of(number: u16) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|(_, known)| *known == number);
        known.map(|(command, _)| command)
    }
}

/// A request without what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it asks for.
    pub command: Command,
    /// The command's own; for a start its version.
    pub own: [u8; 6],
    /// Bytes that follow.
    pub length: u64,
}

impl Request {
    /// One with nothing of its own.
    #[must_use]
    pub fn new(command: Command, length: u64) -> Self {
        let own = [0; 6];
        Self {
            command,
            own,
            length,
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER] {
        header(self.command.number(), self.own, self.length)
    }

    /// Reads one.
    ///
    /// # Errors
    /// Of the socket; `InvalidData`: the command is not known.
    pub fn read(from: &mut UnixStream) -> io::Result<Self> {
        let (number, own, length) = read_header(from)?;
        let command = Command::of(number);
        let unknown = || bad(format!("it sends a command that is not known ({number})"));
        Ok(Self {
            command: command.ok_or_else(unknown)?,
            own,
            length,
        })
    }
}

/// Answers a request.
///
/// # Errors
/// Of the socket.
pub fn answer(to: &mut UnixStream, good: bool) -> io::Result<()> {
    to.write_all(&header(if good { 1 } else { 2 }, [0; 6], 0))
}

/// Reads the answer to a request.
///
/// # Errors
/// Of the socket; `InvalidData`: it is no, or none at all.
pub fn answered(from: &mut UnixStream) -> io::Result<()> {
    match read_header(from)? {
        (1, _, 0) => Ok(()),
        (1, _, _) => Err(bad("its answer has bytes that nobody asked for".into())),
        (2, ..) => Err(bad("it refuses".into())),
        (other, ..) => Err(bad(format!("its answer is none ({other})"))),
    }
}

/// Sends a slot of memory, behind its request.
///
/// # Errors
/// Of the socket.
pub fn send_slot(to: &mut UnixStream, slot: u32, memory: &File) -> io::Result<()> {
    let fds = [memory.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let bytes = slot.to_le_bytes();
    let sent = sendmsg(
        to.as_fd(),
        &[IoSlice::new(&bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    // The descriptor has gone with the first byte.
    to.write_all(bytes.get(sent..).unwrap_or_default())
}

/// Reads a slot of memory, behind its request.
///
/// # Errors
/// Of the socket; `InvalidData`: there is not one descriptor with it.
pub fn receive_slot(from: &mut UnixStream) -> io::Result<(u32, File)> {
    let mut bytes = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        from.as_fd(),
        &mut [IoSliceMut::new(&mut bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?
    .bytes;
    let mut files = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            files.extend(fds.map(File::from));
        }
    }
    if received == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    from.read_exact(bytes.get_mut(received..).unwrap_or_default())?;
    let (Some(file), true) = (files.pop(), files.is_empty()) else {
        return Err(bad(
            "it sends a slot of memory without its descriptor".into()
        ));
    };
    Ok((u32::from_le_bytes(bytes), file))
}

fn header(number: u16, own: [u8; 6], length: u64) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    let parts = number.to_le_bytes().into_iter();
    let parts = parts.chain(own).chain(length.to_le_bytes());
    for (byte, part) in bytes.iter_mut().zip(parts) {
        *byte = part;
    }
    bytes
}

fn read_header(from: &mut UnixStream) -> io::Result<(u16, [u8; 6], u64)> {
    let (mut number, mut own, mut length) = ([0; 2], [0; 6], [0; 8]);
    for part in [number.as_mut_slice(), &mut own, &mut length] {
        from.read_exact(part)?;
    }
    Ok((u16::from_le_bytes(number), own, u64::from_le_bytes(length)))
}

fn bad(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_bytes_of_the_description() {
        let start = Request {
            command: Command::Start,
            own: [3, 1, 0, 0, 0, 0],
            length: 0,
        };
        assert_eq!(
            start.encode(),
            [1, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        let state = Request::new(Command::State, 0x0102);
        assert_eq!(
            state.encode(),
            [3, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]
        );
        for (command, number) in Command::ALL {
            assert_eq!(Command::of(number), Some(command));
            assert_eq!(command.number(), number);
        }
        assert_eq!(Command::of(0), None);
    }

    #[test]
    fn what_is_sent_is_received() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let request = Request::new(Command::MemoryFd, 4);
        ours.write_all(&request.encode()).unwrap();
        let file = tempfile::tempfile().unwrap();
        file.set_len(4711).unwrap();
        send_slot(&mut ours, 7, &file).unwrap();
        assert_eq!(Request::read(&mut theirs).unwrap(), request);
        let (slot, came) = receive_slot(&mut theirs).unwrap();
        assert_eq!((slot, came.metadata().unwrap().len()), (7, 4711));
        answer(&mut theirs, true).unwrap();
        answered(&mut ours).unwrap();
        answer(&mut theirs, false).unwrap();
        assert!(answered(&mut ours).is_err());
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let refused = |bytes: &[u8]| {
            let (mut ours, mut theirs) = UnixStream::pair().unwrap();
            ours.write_all(bytes).unwrap();
            drop(ours);
            Request::read(&mut theirs).unwrap_err().kind()
        };
        assert_eq!(refused(&[9; 16]), io::ErrorKind::InvalidData);
        assert_eq!(refused(&[1; 15]), io::ErrorKind::UnexpectedEof);
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        ours.write_all(&[1, 0, 0, 0]).unwrap();
        let refused = receive_slot(&mut theirs).unwrap_err();
        assert!(
            refused.to_string().contains("without its descriptor"),
            "{refused}"
        );
    }
}
