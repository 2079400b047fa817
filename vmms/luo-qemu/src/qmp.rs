// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU's control socket: a client of QMP, as little of it as is needed.
//!
//! It is not the crate `qapi`: a freeze has a deadline, so each answer has one here; `getfd`
//! sends a descriptor along; and a QEMU that is newer than a generated schema tells of events
//! and types that the schema does not know.
//!
//! `message` reads what QEMU says, without I/O.

mod message;

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use luo_sys::message as socket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SendFlags;
use serde_json::{Value, json};

pub use message::{Event, MAX_LINE};
use message::{Heard, Lines};

/// Why a command has failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// QEMU has closed the socket: it has ended, or is about to.
    #[error("its control socket is closed")]
    Gone,
    /// QEMU says no.
    #[error("{command}: {why}")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's words.
        why: String,
    },
    /// QEMU did not answer in time.
    #[error("{0} is not answered in time")]
    Late(String),
    /// What came is no QMP.
    #[error("its control socket says what is no QMP: {0}")]
    Nonsense(String),
    /// A system call failed.
    #[error("its control socket: {0}")]
    Io(#[from] io::Error),
}

/// A connection to QEMU's control socket.
#[derive(Debug)]
pub struct Qmp {
    socket: UnixStream,
    lines: Lines,
    events: VecDeque<Event>,
    number: u64,
    version: String,
}

impl Qmp {
    /// Connects as soon as the socket is there, and says that commands will come.
    ///
    /// `is_alive` says whether to go on waiting for the socket.
    ///
    /// # Errors
    /// [`Error`].
    pub fn connect(
        path: &Path,
        end: Instant,
        mut is_alive: impl FnMut() -> bool,
    ) -> Result<Self, Error> {
        loop {
            match UnixStream::connect(path) {
                Ok(socket) => return Self::greet(socket, end),
                Err(why) if is_early(&why) && is_alive() && Instant::now() < end => {
                    // Nothing tells of a socket that comes into being.
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(_) if !is_alive() => return Err(Error::Gone),
                Err(why) => return Err(why.into()),
            }
        }
    }

    /// Takes a socket on which QEMU begins to speak.
    ///
    /// # Errors
    /// [`Error`].
    pub fn greet(socket: UnixStream, end: Instant) -> Result<Self, Error> {
        socket.set_nonblocking(true)?;
        let mut qmp = Self {
            socket,
            lines: Lines::default(),
            events: VecDeque::new(),
            number: 0,
            version: String::new(),
        };
        loop {
            match qmp.heard()? {
                Some(Heard::Greeting(version)) => {
                    qmp.version = version;
                    break;
                }
                Some(other) => return Err(Error::Nonsense(format!("{other:?}"))),
                None => qmp.wait("the greeting", PollFlags::IN, end)?,
            }
        }
        qmp.call("qmp_capabilities", json!({}), end)?;
        Ok(qmp)
    }

    /// QEMU's version, as it says it.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Gives a command, and waits for its answer.
    ///
    /// # Errors
    /// [`Error`].
    pub fn call(&mut self, command: &str, arguments: Value, end: Instant) -> Result<Value, Error> {
        self.call_with(command, arguments, None, end)
    }

    /// The same, with a descriptor that goes along.
    ///
    /// # Errors
    /// [`Error`].
    pub fn call_with(
        &mut self,
        command: &str,
        arguments: Value,
        fd: Option<BorrowedFd<'_>>,
        end: Instant,
    ) -> Result<Value, Error> {
        self.number += 1;
        let number = self.number;
        let message = json!({"execute": command, "arguments": arguments, "id": number});
        self.send(command, format!("{message}\n").as_bytes(), fd, end)?;
        loop {
            match self.heard()? {
                Some(Heard::Event(event)) => self.events.push_back(event),
                Some(Heard::Answer { id, result }) if id == Some(number) => {
                    return result.map_err(|why| Error::Refused {
                        command: command.into(),
                        why,
                    });
                }
                // The late answer to a command that was given up.
                Some(Heard::Answer { .. }) => {}
                Some(Heard::Greeting(_)) => return Err(Error::Nonsense("a greeting".into())),
                None => self.wait(command, PollFlags::IN, end)?,
            }
        }
    }

    /// The next event that has come, without waiting for one.
    ///
    /// # Errors
    /// [`Error::Gone`] after the last one.
    pub fn event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            match self.heard()? {
                Some(Heard::Event(event)) => return Ok(Some(event)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    fn send(
        &mut self,
        command: &str,
        mut bytes: &[u8],
        fd: Option<BorrowedFd<'_>>,
        end: Instant,
    ) -> Result<(), Error> {
        let mut fds: &[BorrowedFd<'_>] = fd.as_slice();
        while !bytes.is_empty() {
            let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let flags = SendFlags::empty();
            match socket::send(&self.socket, bytes, fds, &mut room, flags) {
                Ok(sent) => {
                    bytes = bytes.get(sent..).unwrap_or_default();
                    // The descriptor has gone with the first byte.
                    fds = &[];
                }
                Err(Errno::AGAIN) => self.wait(command, PollFlags::OUT, end)?,
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(Error::Gone),
                Err(why) => return Err(io::Error::from(why).into()),
            }
        }
        Ok(())
    }

    /// What QEMU has said next, without waiting for it.
    fn heard(&mut self) -> Result<Option<Heard>, Error> {
        loop {
            if let Some(line) = self.lines.next() {
                return message::read(&line).map(Some).map_err(Error::Nonsense);
            }
            let mut buffer = [0; 65_536];
            match rustix::io::read(&self.socket, &mut buffer) {
                Ok(0) => return Err(Error::Gone),
                Ok(count) => {
                    let new = buffer.get(..count).unwrap_or_default();
                    self.lines.push(new).map_err(Error::Nonsense)?;
                }
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => return Err(Error::Gone),
                Err(why) => return Err(io::Error::from(why).into()),
            }
        }
    }

    fn wait(&self, command: &str, flags: PollFlags, end: Instant) -> Result<(), Error> {
        let mut fds = [PollFd::new(&self.socket, flags)];
        match poll(&mut fds, Some(&left(end))) {
            Ok(0) => Err(Error::Late(command.into())),
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(why) => Err(io::Error::from(why).into()),
        }
    }
}

impl AsFd for Qmp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether QEMU may make the socket yet.
fn is_early(why: &io::Error) -> bool {
    matches!(
        why.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::WouldBlock
    )
}

/// The time that is left until `end`, as poll(2) takes it.
#[must_use]
pub fn left(end: Instant) -> Timespec {
    let left = end.saturating_duration_since(Instant::now());
    Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests;
