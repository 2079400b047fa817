// SPDX-License-Identifier: MIT OR Apache-2.0
//! The head of a state in preserved memory. Numbers are little-endian.
//!
//! ```text
//! offset  bytes
//!      0      8  whose state it is; all zero before the freeze
//!      8      4  version
//!     12      4  flags: zero
//!     16      8  bytes of the records
//!     24     32  SHA-256 of bytes 0 to 23, and of the records
//!     96     32  the mark of use: zero, or SHA-256 of "used" and of bytes 0 to 55
//!   4096         the records
//! ```
//!
//! The head is written last, so that there is a state only once it is whole. The mark is set right
//! before the guest goes on: from then on its memory is another one than the state belongs to. What
//! is marked is given away, so damage must not look like a mark: one that is neither is refused, and
//! so nothing is lost by it, and nothing is started twice.

use sha2::{Digest, Sha256};

/// Bytes before the records.
pub const HEAD: u64 = 4096;

/// Bytes of the head that mean something, but for the mark of use.
pub const LENGTH: usize = 56;

/// Where the mark of use is.
pub const MARK: u64 = 96;

/// Its bytes.
pub const MARKED: usize = 32;

/// Whose states they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// What a state begins with. No eight zeros.
    pub magic: [u8; 8],
    /// The version that is written, and the only one that is read.
    pub version: u32,
}

/// Why a state cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are no state of that kind.
    #[error("it does not begin as a state does")]
    NotAState,
    /// It is of a version that this program cannot read.
    #[error("its version is {found}, and version {read} only can be read")]
    Version {
        /// Its version.
        found: u32,
        /// The version that can be read.
        read: u32,
    },
    /// It has flags that this program does not know.
    #[error("it has flags that are not known ({found:#x})")]
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

/// What the head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Whether the guest has gone on from this state.
    pub used: bool,
    /// Bytes of the records.
    pub length: u64,
    kind: Kind,
    digest: [u8; 32],
}

impl Head {
    /// The head of records.
    #[must_use]
    pub fn of(kind: Kind, records: &[u8]) -> Self {
        let mut head = Self {
            used: false,
            length: records.len() as u64,
            kind,
            digest: [0; 32],
        };
        head.digest = head.digest_with(records);
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
    /// records.
    ///
    /// # Errors
    /// [`Refusal`] says what was found.
    pub fn parse(
        kind: Kind,
        bytes: &[u8; LENGTH],
        mark: &[u8; MARKED],
        room: u64,
    ) -> Result<Option<Self>, Refusal> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if array(bytes, 0) != kind.magic {
            return Err(Refusal::NotAState);
        }
        let version = u32::from_le_bytes(array(bytes, 8));
        if version != kind.version {
            return Err(Refusal::Version {
                found: version,
                read: kind.version,
            });
        }
        let flags = u32::from_le_bytes(array(bytes, 12));
        if flags != 0 {
            return Err(Refusal::Flags { found: flags });
        }
        let length = u64::from_le_bytes(array(bytes, 16));
        if length > room {
            return Err(Refusal::Length { length });
        }
        let mut head = Self {
            used: false,
            length,
            kind,
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

    /// Whether the records are those that the head was written for.
    ///
    /// # Errors
    /// [`Refusal::Checksum`].
    pub fn check(&self, records: &[u8]) -> Result<(), Refusal> {
        if self.length != records.len() as u64 || self.digest != self.digest_with(records) {
            return Err(Refusal::Checksum);
        }
        Ok(())
    }

    fn covered(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let parts = self.kind.magic.into_iter();
        let parts = parts.chain(self.kind.version.to_le_bytes());
        let parts = parts.chain([0; 4]);
        let parts = parts.chain(self.length.to_le_bytes());
        for (byte, part) in bytes.iter_mut().zip(parts) {
            *byte = part;
        }
        bytes
    }

    fn digest_with(&self, records: &[u8]) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.covered())
            .chain_update(records)
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
    const KIND: Kind = Kind {
        magic: *b"LUO-TEST",
        version: 1,
    };
    const UNUSED: [u8; MARKED] = [0; MARKED];

    #[test]
    fn what_is_empty_is_no_state_and_no_error() {
        assert_eq!(Head::parse(KIND, &[0; LENGTH], &UNUSED, ROOM), Ok(None));
    }

    #[test]
    fn a_state_that_was_used_is_known_and_still_whole() {
        let head = Head::of(KIND, b"records");
        let back = Head::parse(KIND, &head.encode(), &head.mark(), ROOM);
        let back = back.unwrap().unwrap();
        assert!(back.used);
        assert_eq!(back.check(b"records"), Ok(()));
        // The mark is this state's alone.
        let other = Head::of(KIND, b"recordt");
        let refused = Head::parse(KIND, &other.encode(), &head.mark(), ROOM);
        assert_eq!(refused, Err(Refusal::Mark));
    }

    #[test]
    fn each_changed_bit_and_each_cut_is_found() {
        let records = b"the state of a guest";
        let good = Head::of(KIND, records).encode();
        let whole = |head: &[u8; LENGTH], records: &[u8]| {
            let head = Head::parse(KIND, head, &UNUSED, ROOM).ok().flatten();
            head.is_some_and(|head| {
                // What is used is given away, and this one was not used.
                assert!(!head.used, "damage was taken for use");
                head.check(records).is_ok()
            })
        };
        assert!(whole(&good, records));
        for bit in 0..LENGTH * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!whole(&bad, records), "bit {bit} of the head");
        }
        for bit in 0..records.len() * 8 {
            let mut bad = *records;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!whole(&good, &bad), "bit {bit} of the records");
        }
        for length in 0..records.len() {
            assert!(!whole(&good, &records[..length]), "cut at {length}");
        }
    }

    #[test]
    fn each_changed_bit_of_the_mark_of_use_is_found_before_and_after() {
        let head = Head::of(KIND, b"the state of a guest");
        let (bytes, used) = (head.encode(), head.mark());
        for mark in [UNUSED, used] {
            for bit in 0..MARKED * 8 {
                let mut bad = mark;
                bad[bit / 8] ^= 1 << (bit % 8);
                let refused = Head::parse(KIND, &bytes, &bad, ROOM);
                assert_eq!(refused, Err(Refusal::Mark), "bit {bit}");
            }
        }
        // A used one is not run again because its head is damaged.
        for bit in 0..LENGTH * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Head::parse(KIND, &bad, &used, ROOM).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn the_state_of_another_monitor_is_none() {
        let other = Kind {
            magic: *b"LUO-ELSE",
            ..KIND
        };
        let bytes = Head::of(other, b"records").encode();
        let refused = Head::parse(KIND, &bytes, &UNUSED, ROOM);
        assert_eq!(refused, Err(Refusal::NotAState));
    }

    #[test]
    fn another_version_and_too_many_bytes_are_refused_as_such() {
        let mut bytes = Head::of(KIND, b"records").encode();
        bytes[8] = 2;
        let refused = Head::parse(KIND, &bytes, &UNUSED, ROOM);
        assert_eq!(refused, Err(Refusal::Version { found: 2, read: 1 }));
        let bytes = Head::of(KIND, b"records").encode();
        let refused = Head::parse(KIND, &bytes, &UNUSED, 6);
        assert_eq!(refused, Err(Refusal::Length { length: 7 }));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes: [u8; 28], rest: [u8; 28], mark: [u8; 32], room: u64) {
            let mut all = [0; LENGTH];
            all[..28].copy_from_slice(&bytes);
            all[28..].copy_from_slice(&rest);
            let _ = Head::parse(KIND, &all, &mark, room);
        }
    }
}
