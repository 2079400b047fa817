// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The ends of pipes, and what a host does with them.

use luo_abi::errno::Errno;
use luo_abi::note::{Pipe, READ_END, READ_NONBLOCK, WRITE_END, WRITE_NONBLOCK};

use crate::host::Host;

/// An end of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The one that is read from.
    Read,
    /// The one that is written to.
    Write,
}

impl End {
    /// The bits of [`Pipe::flags`] that are about it: that it comes along, `O_NONBLOCK`.
    pub(super) const fn bits(self) -> (u64, u64) {
        match self {
            Self::Read => (READ_END, READ_NONBLOCK),
            Self::Write => (WRITE_END, WRITE_NONBLOCK),
        }
    }

    /// The lowest bit of a handle.
    pub(super) const fn bit(self) -> u64 {
        match self {
            Self::Read => 0,
            Self::Write => 1,
        }
    }

    /// A handle's page, and its end.
    pub(super) const fn of_handle(data: u64) -> (u64, Self) {
        (
            data & !1,
            if data & 1 == 0 {
                Self::Read
            } else {
                Self::Write
            },
        )
    }
}

/// The facts of a pipe, beside its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// How much it may hold, in pages.
    pub slots: u64,
    /// Whether the end that was looked at has `O_NONBLOCK`.
    pub nonblock: bool,
    /// Whether that end writes packets (`O_DIRECT`).
    pub packets: bool,
}

/// A function that is called with each piece of a pipe's contents: bytes, and whether they are a
/// packet. It neither sleeps nor asks for memory.
pub type Each<'a> = dyn FnMut(&[u8], bool) + 'a;

/// The work of a host with pipes.
///
/// A program that writes to a pipe has it locked while the bytes come from its memory, which may be
/// behind a server of its own: for as long as it likes. So nothing here waits for that lock but
/// [`Self::look`], and that has an end.
pub trait Pipes<H: Host>: Sync {
    /// The pipe that a file is an end of, as a number, and which one. Two pipes differ in more
    /// than the highest bit, which makes room for the end where both are one number.
    fn find(&self, host: &H, file: &H::File) -> Option<(u64, End)>;

    /// The facts of a pipe, seen through one of its ends. It does not wait for the pipe.
    ///
    /// # Errors
    /// EOPNOTSUPP for a pipe of notifications.
    fn facts(&self, host: &H, file: &H::File) -> Result<Facts, Errno>;

    /// Looks into a pipe through the end that is read from: calls `each` with what it holds, a
    /// packet or a part of a stream each, which stays in the pipe. Gives how much it may hold, in
    /// pages. If somebody has the pipe locked it waits for `patience` pauses at most, and takes
    /// from those how many it has waited. One that is merely busy, for that is locked for
    /// microseconds again and again, is waited for a moment (a millisecond) that takes nothing of
    /// the patience: whatever others hold, and be there none left of it.
    ///
    /// # Errors
    /// EBUSY at the end of the patience; EAGAIN if the caller was killed; EOPNOTSUPP, ENODATA,
    /// EHWPOISON for what cannot be read.
    fn look(
        &self,
        host: &H,
        file: &H::File,
        patience: &mut u32,
        each: &mut Each<'_>,
    ) -> Result<u64, Errno>;

    /// Makes an empty pipe like that: the end that is read from, and the other. Both block, and
    /// the other writes packets or not as the note says.
    ///
    /// # Errors
    /// The host's; it can be tried again.
    fn make(&self, host: &H, note: &Pipe) -> Result<(H::File, H::File), Errno>;

    /// Puts a packet or a part of a stream into a pipe, for which there is room.
    ///
    /// # Errors
    /// There is none, or memory is short.
    fn put(&self, host: &H, write: &H::File, bytes: &[u8], is_packet: bool) -> Result<(), Errno>;

    /// Sets `O_NONBLOCK`.
    fn set_nonblock(&self, host: &H, file: &H::File);
}
