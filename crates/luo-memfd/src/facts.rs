// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The facts of a file beside its pages: name, mode, owner, times and the group that pays.

use core::mem::size_of;

use luo_abi::memfd::{GROUP_LENGTH, NAME_LENGTH};

/// Bytes of a bounded length.
#[derive(Clone, PartialEq, Eq)]
pub struct Short<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Short<N> {
    /// None.
    pub const EMPTY: Self = Self {
        bytes: [0; N],
        length: 0,
    };

    /// Bytes that somebody writes into the room, which is zero; it is told how many they are.
    /// What is not a string of less than the room has is none at all: the last byte is kept
    /// for its end.
    pub fn fill(&mut self, write: impl FnOnce(&mut [u8; N]) -> usize) {
        // Behind a string there is nothing: an empty one need not be cleared.
        if self.length > 0 {
            *self = Self::EMPTY;
        }
        let length = write(&mut self.bytes);
        let text = self.bytes.get(..length).unwrap_or(&[0]);
        if length >= N || text.contains(&0) {
            *self = Self::EMPTY;
        } else {
            self.length = length;
        }
    }

    /// The bytes that there are in whole words, zeros behind the last.
    pub(crate) fn words(&self) -> &[u8] {
        let length = self.length.next_multiple_of(size_of::<u64>());
        self.bytes.get(..length.min(N)).unwrap_or_default()
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// The bytes, followed by zeros.
    #[must_use]
    pub const fn room(&self) -> &[u8; N] {
        &self.bytes
    }
}

impl<const N: usize> core::fmt::Debug for Short<N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(self.as_bytes(), f)
    }
}

/// A point in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds after that, less than a second.
    pub nanoseconds: u32,
}

/// The times of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Of the last access.
    pub access: Time,
    /// Of the last change of its contents.
    pub modification: Time,
    /// Of the last change of anything.
    pub change: Time,
    /// When it was made.
    pub birth: Time,
}

/// The facts of a file beside its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Bytes of the file.
    pub size: u64,
    /// The position of the open file, in bytes.
    pub position: u64,
    /// `F_SEAL_*`.
    pub seals: u32,
    /// The order of each page of a file of huge pages; else 0.
    pub huge: u32,
    /// The facts that mainline's handler does not know; `None` if that handler has written it.
    pub more: Option<More>,
}

/// The facts of a file that mainline's handler does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct More {
    /// Flags of the open file that outlive it: `O_APPEND`, `O_NONBLOCK`, `O_DIRECT`,
    /// `O_NOATIME`, as numbers of the architecture.
    pub flags: u32,
    /// Permission bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Its times.
    pub times: Times,
}

/// The strings that belong to [`More`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strings {
    /// The name that `/proc` shows of the file, without the slash: `memfd:NAME`.
    pub name: Short<NAME_LENGTH>,
    /// The path of the control group that its memory is charged to; empty if it is not
    /// known.
    pub group: Short<GROUP_LENGTH>,
}

impl Strings {
    /// Both empty.
    pub const EMPTY: Self = Self {
        name: Short::EMPTY,
        group: Short::EMPTY,
    };
}
