// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Notes, which small files leave for the next kernel: a *note* is a page with a head and one
//! structure of the file's kind. `luo_core::note` writes and reads them.
//!
//! A note grows at its end: [`Head::length`] says how much of it somebody has written. A reader
//! takes what it knows of that, and refuses features of [`Head::required`] that it does not
//! know.

mod kvm;

use core::mem::size_of;

use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub use kvm::{
    Capability, GuestMemfd, KvmVm, GUEST_INIT_SHARED, GUEST_MEMFD, GUEST_MEMFD_MAGIC, GUEST_MMAP,
    IRQCHIP, KVM_VM, KVM_VM_MAGIC, MOST_CAPABILITIES, PIT, PIT_SPEAKER,
};

/// The start of a note: 48 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Head {
    /// Which kind of file has left it.
    pub magic: [u8; 16],
    /// Features that a reader has to know, a bit each. None is there yet.
    pub required: u64,
    /// Features that a reader may pass over.
    pub optional: u64,
    /// Bytes of the structure behind the head: a multiple of 8.
    pub length: u64,
    /// Over all fields before this one, and the structure.
    pub checksum: u64,
}

/// [`Head::magic`] of an eventfd.
pub const EVENTFD_MAGIC: [u8; 16] = *b"luo-eventfd\0\0\0\0\0";

/// The name of the handler of eventfds.
pub const EVENTFD: &str = "luo-eventfd-v1";

/// An eventfd: 16 bytes.
#[repr(C, packed)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
pub struct Eventfd {
    /// The count that the next read takes.
    pub count: u64,
    /// [`NONBLOCK`], [`SEMAPHORE`].
    pub flags: u64,
}

/// The open file has `O_NONBLOCK`.
pub const NONBLOCK: u64 = 1;

/// [`Eventfd::flags`]: a read takes one (`EFD_SEMAPHORE`).
pub const SEMAPHORE: u64 = 2;

/// [`Head::magic`] of a timer.
pub const TIMERFD_MAGIC: [u8; 16] = *b"luo-timerfd\0\0\0\0\0";

/// The name of the handler of timers.
pub const TIMERFD: &str = "luo-timerfd-v1";

/// A timer (timerfd): 48 bytes. All times are in nanoseconds.
#[repr(C, packed)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
pub struct Timerfd {
    /// How often it has expired since it was read.
    pub ticks: u64,
    /// Until it expires next, from when it was looked at; 0 if it is not armed.
    pub left: u64,
    /// Between one expiry and the next; 0 if it expires once.
    pub interval: u64,
    /// When it was looked at: since 1970, by the machine's clock. The other clocks begin anew
    /// in each kernel.
    pub wall: u64,
    /// `CLOCK_*`.
    pub clock: u64,
    /// [`NONBLOCK`], [`ABSOLUTE`].
    pub flags: u64,
}

/// [`Timerfd::flags`]: it was set to a point in time (`TFD_TIMER_ABSTIME`).
pub const ABSOLUTE: u64 = 4;

/// [`Timerfd::clock`]: `CLOCK_REALTIME`, the machine's clock, which somebody may set.
pub const REALTIME: u64 = 0;
/// [`Timerfd::clock`]: `CLOCK_MONOTONIC`.
pub const MONOTONIC: u64 = 1;
/// [`Timerfd::clock`]: `CLOCK_BOOTTIME`.
pub const BOOTTIME: u64 = 7;

/// [`Head::magic`] of a pipe.
pub const PIPE_MAGIC: [u8; 16] = *b"luo-pipe\0\0\0\0\0\0\0\0";

/// The name of the handler of pipes.
pub const PIPE: &str = "luo-pipe-v1";

/// A pipe, which both of its ends lead to: 48 bytes. The lowest bit of a handle says which end it
/// is of, 1 for the one that is written to; the rest is the page's address.
#[repr(C, packed)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
pub struct Pipe {
    /// [`READ_END`] and the others.
    pub flags: u64,
    /// How much it may hold, in pages.
    pub slots: u64,
    /// Bytes that it holds.
    pub bytes: u64,
    /// Records that they are in.
    pub records: u64,
    /// Pages of those.
    pub pages: u64,
    /// Physical address of the first of them, which begins with a [`Held`]; 0 for none.
    pub first: u64,
}

/// [`Pipe::flags`]: the end that is read from comes along.
pub const READ_END: u64 = 1;
/// [`Pipe::flags`]: the end that is written to comes along.
pub const WRITE_END: u64 = 2;
/// [`Pipe::flags`]: the end that is read from has `O_NONBLOCK`.
pub const READ_NONBLOCK: u64 = 4;
/// [`Pipe::flags`]: the end that is written to has `O_NONBLOCK`.
pub const WRITE_NONBLOCK: u64 = 8;
/// [`Pipe::flags`]: each write is a packet (`O_DIRECT`).
pub const PACKETS: u64 = 16;

/// The start of each page of what a pipe holds: 32 bytes.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Held {
    /// Physical address of the next page, 0 in the last.
    pub next: u64,
    /// Records on this page, at least 1.
    pub count: u64,
    /// Bytes of them: a multiple of 8.
    pub length: u64,
    /// Over all fields before this one, and those bytes.
    pub checksum: u64,
}

/// A record: 8 bytes, with as many bytes behind it as it says, filled up to a multiple of 8.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Piece {
    /// Bytes of it, at least 1.
    pub length: u32,
    /// [`PIECE_OF_PACKET`], [`PIECE_GOES_ON`].
    pub flags: u32,
}

/// [`Piece::flags`]: it is of a packet, which a read takes alone.
pub const PIECE_OF_PACKET: u32 = 1;
/// [`Piece::flags`]: the next record goes on with the same packet.
pub const PIECE_GOES_ON: u32 = 2;

const _: () = {
    assert!(size_of::<Head>() == 48);
    assert!(size_of::<Pipe>() == 48);
    assert!(size_of::<Held>() == 32);
    assert!(size_of::<Piece>() == 8);
    assert!(size_of::<Timerfd>() == 48);
    assert!(size_of::<Eventfd>() == 16);
};
