// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest's state in preserved memory, version 1. Numbers are little-endian.
//!
//! ```text
//! offset  bytes
//!      0      8  "LUO-QEMU"; all zero before the freeze
//!      8      4  version: 1
//!     12      4  flags: 1 the guest ran when it was stopped
//!     16      8  bytes of QEMU's stream
//!     24     32  SHA-256 of bytes 0 to 23, and of the stream
//!     64     24  when the guest was stopped: see [`crate::gap`]
//!     96     32  the mark of use: zero, or SHA-256 of "used" and of bytes 0 to 55
//!   4096         QEMU's stream
//! ```
//!
//! The head is written last, so that there is a state only once it is whole. The mark is set right
//! before the guest goes on: from then on its memory is another one than the state belongs to. What
//! is marked is given away, so damage must not look like a mark: one that is neither is refused, and
//! so nothing is lost by it, and nothing is started twice.

use sha2::{Digest, Sha256};

/// Bytes before the stream.
pub const HEAD: u64 = 4096;

/// Bytes of the head that mean something, but for the mark of use.
pub const LENGTH: usize = 56;

/// Where the mark of use is.
pub const MARK: u64 = 96;

/// Its bytes.
pub const MARKED: usize = 32;

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"LUO-QEMU";
const RAN: u32 = 1;

/// What the head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Whether the guest ran when it was stopped, and so has to run again.
    pub ran: bool,
    /// Whether the guest has gone on from this state.
    pub used: bool,
    /// Bytes of the stream.
    pub length: u64,
    digest: [u8; 32],
}

/// Why a state cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are no state.
    #[error("it does not begin as a state does")]
    NotAState,
    /// It is of a version that this program cannot read.
    #[error("its version is {found}, and this luo-qemu reads version {VERSION} only")]
    Version {
        /// Its version.
        found: u32,
    },
    /// It has flags that this program does not know.
    #[error("it has flags that this luo-qemu does not know ({found:#x})")]
    Flags {
        /// Its flags.
        found: u32,
    },
    /// It is longer than its room.
    #[error("it says that it has {length} bytes, for which there is no room")]
    Length {
        /// The bytes.
        length: u64,
    },
    /// The digest does not fit.
    #[error("its checksum is wrong: it was damaged")]
    Checksum,
    /// The mark of use is neither there nor not there.
    #[error("the mark that says whether it was used is damaged")]
    Mark,
}

impl Head {
    /// The head of a stream.
    #[must_use]
    pub fn of(stream: &[u8], ran: bool) -> Self {
        let mut head = Self {
            ran,
            used: false,
            length: stream.len() as u64,
            digest: [0; 32],
        };
        head.digest = head.digest_with(stream);
        head
    }

    /// Its bytes, without the mark of use.
    #[must_use]
    pub fn encode(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let parts = self.covered().into_iter().chain(self.digest);
        for (byte, part) in bytes.iter_mut().zip(parts) {
            *byte = part;
        }
        bytes
    }

    /// The mark that says that the guest has gone on from this state, and from no other.
    #[must_use]
    pub fn mark(&self) -> [u8; MARKED] {
        Sha256::new()
            .chain_update(b"used")
            .chain_update(self.encode())
            .finalize()
            .into()
    }

    /// Reads a head and its mark; `None` if there is no state yet. `room` are the bytes for the
    /// stream.
    ///
    /// # Errors
    /// [`Refusal`] says what was found.
    pub fn parse(
        bytes: &[u8; LENGTH],
        mark: &[u8; MARKED],
        room: u64,
    ) -> Result<Option<Self>, Refusal> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if array(bytes, 0) != MAGIC {
            return Err(Refusal::NotAState);
        }
        let version = u32::from_le_bytes(array(bytes, 8));
        if version != VERSION {
            return Err(Refusal::Version { found: version });
        }
        let flags = u32::from_le_bytes(array(bytes, 12));
        if flags & !RAN != 0 {
            return Err(Refusal::Flags { found: flags });
        }
        let length = u64::from_le_bytes(array(bytes, 16));
        if length > room {
            return Err(Refusal::Length { length });
        }
        let mut head = Self {
            ran: flags & RAN != 0,
            used: false,
            length,
            digest: array(bytes, 24),
        };
        if *mark != [0; MARKED] {
            if *mark != head.mark() {
                return Err(Refusal::Mark);
            }
            head.used = true;
        }
        Ok(Some(head))
    }

    /// Whether the stream is the one that the head was written for.
    ///
    /// # Errors
    /// [`Refusal::Checksum`].
    pub fn check(&self, stream: &[u8]) -> Result<(), Refusal> {
        if self.length != stream.len() as u64 || self.digest != self.digest_with(stream) {
            return Err(Refusal::Checksum);
        }
        Ok(())
    }

    fn covered(&self) -> [u8; 24] {
        let ran = if self.ran { RAN } else { 0 };
        let mut bytes = [0; 24];
        let parts = MAGIC.into_iter();
        let parts = parts.chain(VERSION.to_le_bytes());
        let parts = parts.chain(ran.to_le_bytes());
        let parts = parts.chain(self.length.to_le_bytes());
        for (byte, part) in bytes.iter_mut().zip(parts) {
            *byte = part;
        }
        bytes
    }

    fn digest_with(&self, stream: &[u8]) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.covered())
            .chain_update(stream)
            .finalize()
            .into()
    }
}

/// The bytes from an offset on. Those beyond the end are zero.
fn array<const N: usize>(bytes: &[u8; LENGTH], from: usize) -> [u8; N] {
    let mut array = [0; N];
    for (to, byte) in array.iter_mut().zip(bytes.iter().skip(from)) {
        *to = *byte;
    }
    array
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROOM: u64 = 1 << 20;
    const UNUSED: [u8; MARKED] = [0; MARKED];

    #[test]
    fn the_bytes_of_version_1_are_these() {
        let bytes = Head::of(b"stream", true).encode();
        assert_eq!(&bytes[..8], b"LUO-QEMU");
        assert_eq!(
            bytes[8..24],
            [1, 0, 0, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]
        );
        let digest = Sha256::new()
            .chain_update(&bytes[..24])
            .chain_update(b"stream")
            .finalize();
        assert_eq!(bytes[24..], digest[..]);
        let mark = Sha256::new().chain_update(b"used").chain_update(bytes);
        assert_eq!(Head::of(b"stream", true).mark()[..], mark.finalize()[..]);
    }

    #[test]
    fn what_is_empty_is_no_state_and_no_error() {
        assert_eq!(Head::parse(&[0; LENGTH], &UNUSED, ROOM), Ok(None));
    }

    #[test]
    fn a_state_that_was_used_is_known_and_still_whole() {
        let head = Head::of(b"stream", true);
        let back = Head::parse(&head.encode(), &head.mark(), ROOM);
        let back = back.unwrap().unwrap();
        assert!(back.used && back.ran);
        assert_eq!(back.check(b"stream"), Ok(()));
        // The mark is this state's alone.
        let other = Head::of(b"stream", false);
        let refused = Head::parse(&other.encode(), &head.mark(), ROOM);
        assert_eq!(refused, Err(Refusal::Mark));
    }

    #[test]
    fn each_changed_bit_and_each_cut_is_found() {
        let stream = b"the state of all devices";
        let good = Head::of(stream, true).encode();
        let whole = |head: &[u8; LENGTH], stream: &[u8]| {
            let head = Head::parse(head, &UNUSED, ROOM).ok().flatten();
            head.is_some_and(|head| {
                // What is used is given away, and this one was not used.
                assert!(!head.used, "damage was taken for use");
                head.check(stream).is_ok()
            })
        };
        assert!(whole(&good, stream));
        for bit in 0..LENGTH * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!whole(&bad, stream), "bit {bit} of the head");
        }
        for bit in 0..stream.len() * 8 {
            let mut bad = *stream;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!whole(&good, &bad), "bit {bit} of the stream");
        }
        for length in 0..stream.len() {
            assert!(!whole(&good, &stream[..length]), "cut at {length}");
        }
    }

    #[test]
    fn each_changed_bit_of_the_mark_of_use_is_found_before_and_after() {
        let head = Head::of(b"the state of all devices", true);
        let (bytes, used) = (head.encode(), head.mark());
        for mark in [UNUSED, used] {
            for bit in 0..MARKED * 8 {
                let mut bad = mark;
                bad[bit / 8] ^= 1 << (bit % 8);
                let refused = Head::parse(&bytes, &bad, ROOM);
                assert_eq!(refused, Err(Refusal::Mark), "bit {bit}");
            }
        }
        // A used one is not run again because its head is damaged.
        for bit in 0..LENGTH * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Head::parse(&bad, &used, ROOM).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn another_version_and_too_long_a_stream_are_refused_as_such() {
        let mut bytes = Head::of(b"stream", true).encode();
        bytes[8] = 2;
        let refused = Head::parse(&bytes, &UNUSED, ROOM);
        assert_eq!(refused, Err(Refusal::Version { found: 2 }));
        let bytes = Head::of(b"stream", true).encode();
        let refused = Head::parse(&bytes, &UNUSED, 5);
        assert_eq!(refused, Err(Refusal::Length { length: 6 }));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes: [u8; 28], rest: [u8; 28], mark: [u8; 32], room: u64) {
            let mut all = [0; LENGTH];
            all[..28].copy_from_slice(&bytes);
            all[28..].copy_from_slice(&rest);
            let _ = Head::parse(&all, &mark, room);
        }
    }
}
