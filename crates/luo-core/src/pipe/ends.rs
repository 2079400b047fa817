// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The ends of pipes: which there are, what a host does with them, and those that belong
//! together.

use luo_abi::errno::Errno;
use luo_abi::note::{Pipe, READ_END, READ_NONBLOCK, WRITE_END, WRITE_NONBLOCK};

use super::contents::Contents;
use crate::host::Host;
use crate::id::SessionId;
use crate::mem::Vec;

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

/// What is true of a pipe, beside what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// How much it may hold, in pages.
    pub slots: u64,
    /// Whether the end that was looked at has `O_NONBLOCK`.
    pub nonblock: bool,
    /// Whether that end writes packets (`O_DIRECT`).
    pub packets: bool,
}

/// What is called with what a pipe holds: bytes, and whether they are a packet.
pub type Each<'a> = dyn FnMut(&[u8], bool) -> Result<(), Errno> + 'a;

/// What a host does with pipes.
pub trait Pipes<H: Host>: Sync {
    /// The pipe that a file is an end of, as a number below 2^63, and which one.
    fn find(&self, host: &H, file: &H::File) -> Option<(u64, End)>;

    /// Looks at a pipe through one of its ends: calls `each` with what it holds, a packet or a
    /// part of a stream each, which stays in the pipe.
    ///
    /// # Errors
    /// EOPNOTSUPP for a pipe of notifications; those of `each`.
    fn look(&self, host: &H, file: &H::File, each: &mut Each<'_>) -> Result<Facts, Errno>;

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

    /// Does something with the host's pipes, alone. It may sleep.
    fn alone<R>(&self, host: &H, work: impl FnOnce(&mut Ends<H>) -> R) -> R;
}

/// The pipes of a host of which an end is preserved, or was restored without the other.
pub struct Ends<H: Host> {
    pub(super) joints: Vec<Joint<H::Block>>,
    pub(super) kept: Vec<Kept<H::File>>,
}

/// A pipe that is preserved.
pub(super) struct Joint<B> {
    pub(super) pipe: u64,
    pub(super) session: SessionId,
    /// [`READ_END`], [`WRITE_END`]: those that are preserved.
    pub(super) ends: u64,
    /// What the note says: of the ends those that are frozen.
    pub(super) note: Pipe,
    pub(super) page: B,
    pub(super) contents: Contents<B>,
}

/// An end of a pipe that nobody has asked for yet.
pub(super) struct Kept<F> {
    /// The page of the note that both came from; it is gone.
    pub(super) address: u64,
    pub(super) end: End,
    pub(super) file: F,
}

impl<H: Host> Ends<H> {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            joints: Vec::new(),
            kept: Vec::new(),
        }
    }

    pub(super) fn joint(&mut self, pipe: u64) -> Option<&mut Joint<H::Block>> {
        self.joints.iter_mut().find(|joint| joint.pipe == pipe)
    }

    pub(super) fn take_kept(&mut self, address: u64, end: End) -> Option<H::File> {
        let is_meant = |kept: &Kept<H::File>| kept.address == address && kept.end == end;
        let at = self.kept.iter().position(is_meant)?;
        self.kept.remove(at).map(|kept| kept.file)
    }
}

impl<H: Host> Default for Ends<H> {
    fn default() -> Self {
        Self::new()
    }
}
