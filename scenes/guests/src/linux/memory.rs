// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory with a pattern. At each tick a piece of it is hashed as it is and then written anew, so after as
//! many ticks as there are pieces all of it was read, and all of it is another one.

use sha2::{Digest, Sha256};

/// How many pieces there are.
pub const PIECES: u64 = 64;

/// Bytes of one.
const LENGTH: usize = 512 << 10;

/// What is left of a hash where it is told.
pub type Hash = u64;

/// The memory.
#[derive(Debug)]
pub struct Memory(Vec<Vec<u8>>);

impl Default for Memory {
    fn default() -> Self {
        Self((0..PIECES).map(|piece| pattern(piece, 0)).collect())
    }
}

impl Memory {
    /// Bytes of all of it.
    pub const SIZE: u64 = PIECES * LENGTH as u64;

    /// What a tick does, the first of which has the number one: gives the hash of what was there.
    #[must_use]
    pub fn tick(&mut self, number: u64) -> Hash {
        let (piece, round) = place(number);
        let Some(memory) = usize::try_from(piece)
            .ok()
            .and_then(|at| self.0.get_mut(at))
        else {
            return 0;
        };
        let found = hash(memory);
        // In place: no other page is used in its stead.
        fill(memory, piece, round + 1);
        found
    }
}

/// The hash that a tick finds if nothing is wrong.
#[must_use]
pub fn due(number: u64) -> Hash {
    let (piece, round) = place(number);
    hash(&pattern(piece, round))
}

const fn place(number: u64) -> (u64, u64) {
    let before = number.saturating_sub(1);
    (before % PIECES, before / PIECES)
}

fn pattern(piece: u64, round: u64) -> Vec<u8> {
    let mut memory = vec![0; LENGTH];
    fill(&mut memory, piece, round);
    memory
}

fn fill(memory: &mut [u8], piece: u64, round: u64) {
    let first = piece * (LENGTH as u64 / 8);
    for (at, word) in (first..).zip(memory.chunks_exact_mut(8)) {
        let value = (at ^ round << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word.copy_from_slice(&value.to_le_bytes());
    }
}

fn hash(memory: &[u8]) -> Hash {
    let hash = Sha256::digest(memory);
    hash.iter()
        .take(8)
        .fold(0, |all, byte| all << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tick_finds_what_is_due_and_a_changed_byte_is_found() {
        let mut memory = Memory::default();
        // The second of each piece finds what the first has left.
        for number in [1, 2, PIECES, PIECES + 1, PIECES + 2, 2 * PIECES] {
            assert_eq!(memory.tick(number), due(number), "{number}");
        }
        assert_ne!(due(1), due(2));
        assert_ne!(due(1), due(1 + PIECES));
        memory.0[1][LENGTH / 2] ^= 1;
        let next = 2 * PIECES + 2;
        assert_ne!(memory.tick(next), due(next));
    }
}
