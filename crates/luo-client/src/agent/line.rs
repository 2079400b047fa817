// SPDX-License-Identifier: MIT OR Apache-2.0
//! A socket whose reads and writes block, until a deadline, so that zlink's connection runs
//! on it without a runtime.

use core::mem::MaybeUninit;
use core::time::Duration;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use luo_sys::message;
use luo_varlink::limits::{MAX_CALL, MAX_FDS, MAX_REPLY};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
    connect, shutdown, socket_with,
};
use zlink_core::connection::PassedCredentials;
use zlink_core::connection::socket::{ReadHalf, ReadResult, Socket, WriteHalf};

/// One end of a stream to the agent.
#[derive(Clone, Debug)]
pub(super) struct Line {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    socket: OwnedFd,
    /// The moment until which reads and writes wait; `None` is no limit.
    deadline: Mutex<Option<Instant>>,
}

impl Line {
    /// Connects, within `timeout`, because an agent that hangs accepts no connection.
    pub(super) fn connect(path: &Path, timeout: Duration) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path)?;
        let kind = SocketType::STREAM;
        let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        let end = Instant::now().checked_add(timeout);
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            // This is the only timeout that `connect` heeds. Zero would be no timeout.
            let left = left.unwrap_or(timeout).max(Duration::from_millis(1));
            set_socket_timeout(&socket, Timeout::Send, Some(left))?;
            match connect(&socket, &address) {
                Ok(()) => break,
                // With a timeout a signal ends the call, even if its handler says
                // SA_RESTART.
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(Errno::TIMEDOUT.into()),
                Err(other) => return Err(other.into()),
            }
        }
        let deadline = Mutex::new(None);
        let shared = Arc::new(Shared { socket, deadline });
        Ok(Self { shared })
    }

    /// Sets the moment until which reads and writes wait from now on.
    pub(super) fn set_deadline(&self, deadline: Option<Instant>) {
        let mut current = self.shared.deadline.lock();
        **current.as_mut().unwrap_or_else(PoisonError::get_mut) = deadline;
    }

    /// Ends the connection, for both sides.
    pub(super) fn hang_up(&self) {
        // If this fails the connection is over already.
        let _ = shutdown(&self.shared.socket, Shutdown::Both);
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.socket.as_fd()
    }
}

impl Shared {
    /// Waits until the socket is ready.
    fn wait(&self, flags: PollFlags) -> io::Result<()> {
        let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let left = left.map(Timespec::try_from).transpose();
            // A duration that the kernel cannot count is as good as no limit.
            let left = left.unwrap_or(None);
            match poll(&mut [PollFd::new(&self.socket, flags)], left.as_ref()) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Repeats a call that does not block until it is done, and waits in between.
    fn retry<T>(
        &self,
        flags: PollFlags,
        mut once: impl FnMut() -> Result<T, Errno>,
    ) -> io::Result<T> {
        loop {
            match once() {
                Err(Errno::AGAIN) => self.wait(flags)?,
                Err(Errno::INTR) => {}
                other => return other.map_err(io::Error::from),
            }
        }
    }
}

impl Socket for Line {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    const CAN_TRANSFER_FDS: bool = true;

    fn split(self) -> (Reader, Writer) {
        let reader = Reader {
            shared: Arc::clone(&self.shared),
            unfinished: 0,
            fds: 0,
        };
        let writer = Writer {
            shared: self.shared,
        };
        (reader, writer)
    }
}

/// The reading half: the agent's replies.
#[derive(Debug)]
pub(super) struct Reader {
    shared: Arc<Shared>,
    /// Bytes of the message that has begun.
    unfinished: usize,
    /// Descriptors that came with it.
    fds: usize,
}

impl Reader {
    /// Counts bytes and descriptors that have come. Says whether the message is within the
    /// limits: a message that comes piece by piece, each with a descriptor, would otherwise
    /// take all descriptors of this process before its end.
    fn count(&mut self, read: &[u8], fds: usize) -> bool {
        let first = read.iter().position(|&byte| byte == 0);
        let last = read.iter().rposition(|&byte| byte == 0);
        // Descriptors belong to the last byte.
        let is_one_message = first.is_none_or(|end| end + 1 == read.len());
        let of_message = if is_one_message { self.fds + fds } else { fds };
        let is_over = last.is_some_and(|end| end + 1 == read.len());
        self.fds = if is_over { 0 } else { of_message };
        self.unfinished = match last {
            Some(end) => read.len() - end - 1,
            None => self.unfinished.saturating_add(read.len()),
        };
        of_message <= MAX_FDS
    }
}

impl ReadHalf for Reader {
    async fn read(&mut self, buffer: &mut [u8]) -> zlink_core::Result<ReadResult> {
        let socket = &self.shared.socket;
        let (bytes, fds, all) = self
            .shared
            .retry(PollFlags::IN, || receive(socket, buffer))?;
        let read = buffer.get(..bytes).unwrap_or_default();
        if !self.count(read, fds.len()) || !all {
            return Err(io::Error::other(
                "a descriptor did not arrive: none is free in this process, \
                 or more were sent than the interface has",
            )
            .into());
        }
        if self.unfinished > MAX_REPLY {
            return Err(zlink_core::Error::BufferOverflow);
        }
        Ok(ReadResult::new(bytes).set_fds(fds))
    }
}

/// Bytes, descriptors, and whether these are all that were sent.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>, bool), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let received = message::receive(socket, buffer, &mut space, RecvFlags::DONTWAIT)?;
    Ok((received.bytes, received.fds, !received.is_cut))
}

/// The writing half: calls to the agent.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
}

impl WriteHalf for Writer {
    async fn write(
        &mut self,
        buffer: &[u8],
        fds: &[impl AsFd],
        _credentials: Option<&PassedCredentials>,
    ) -> zlink_core::Result<()> {
        // The agent would hang up on a longer call.
        if buffer.len() > MAX_CALL || fds.len() > MAX_FDS {
            return Err(io::Error::from(io::ErrorKind::ArgumentListTooLong).into());
        }
        let mut fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        let mut rest = buffer;
        while !rest.is_empty() {
            let socket = &self.shared.socket;
            let sent = self
                .shared
                .retry(PollFlags::OUT, || send(socket, rest, &fds))?;
            rest = rest.get(sent..).unwrap_or_default();
            // Descriptors go with the first byte.
            fds.clear();
        }
        Ok(())
    }
}

fn send(socket: &OwnedFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    message::send(socket, bytes, fds, &mut space, SendFlags::DONTWAIT)
}
