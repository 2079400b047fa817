// SPDX-License-Identifier: MIT OR Apache-2.0
//! What goes over the connection: records, each with its number and a digest over all that was sent before
//! it, so that one that is lost, comes twice or is another one is found at once.

use anyhow::{Result, ensure};
use sha2::{Digest, Sha256};

/// Bytes of a record.
pub const LENGTH: usize = 1024;

/// Where its number ends, and its digest begins.
const NUMBER: usize = 8;
const DIGEST: usize = LENGTH - 32;

/// A record.
pub type Record = [u8; LENGTH];

/// The records of one direction, as both ends of it know them.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    number: u64,
    digest: [u8; 32],
}

impl Stream {
    /// The number of the last record.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The next record.
    #[must_use]
    pub fn tell(&mut self) -> Record {
        self.number += 1;
        let mut record = [0; LENGTH];
        let (rest, digest) = record.split_at_mut(DIGEST);
        let (number, payload) = rest.split_at_mut(NUMBER);
        number.copy_from_slice(&self.number.to_le_bytes());
        for (at, byte) in (self.number..).zip(payload) {
            *byte = (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
        }
        let hash = Sha256::new().chain_update(self.digest).chain_update(rest);
        self.digest = hash.finalize().into();
        digest.copy_from_slice(&self.digest);
        record
    }

    /// Takes what has arrived.
    ///
    /// # Errors
    /// It is not the next record.
    pub fn take(&mut self, arrived: &Record) -> Result<()> {
        let mut number = [0; NUMBER];
        number.copy_from_slice(&arrived[..NUMBER]);
        let (number, last) = (u64::from_le_bytes(number), self.number);
        ensure!(number == last + 1, "record {number} came after {last}");
        ensure!(*arrived == self.tell(), "record {number} is another one");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_are_lost_doubled_or_changed_are_found() {
        let (mut from, mut to) = (Stream::default(), Stream::default());
        let [first, second, third] = [(); 3].map(|()| from.tell());
        assert!(to.clone().take(&second).is_err());
        to.take(&first).unwrap();
        assert!(to.clone().take(&first).is_err());
        assert!(to.clone().take(&third).is_err());
        for at in 0..LENGTH {
            let mut changed = second;
            changed[at] ^= 1;
            assert!(to.clone().take(&changed).is_err(), "{at}");
        }
        to.take(&second).unwrap();
        to.take(&third).unwrap();
        assert_eq!((to.number(), to.digest), (3, from.digest));
        // A record is what it is by all that was sent before.
        let mut other = Stream {
            number: 1,
            digest: [1; 32],
        };
        assert!(other.take(&second).is_err());
    }
}
