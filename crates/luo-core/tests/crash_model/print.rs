// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! A hash that is the same each time, and fast: states are compared by it.

use std::hash::Hasher;

/// 128 bits that are multiplied and folded, and 64 of them in the end.
#[derive(Default)]
pub struct Print(u64, u64);

impl Print {
    pub fn new() -> Self {
        Self::default()
    }
}

impl Hasher for Print {
    fn finish(&self) -> u64 {
        let mut last = Self(self.0, self.1);
        last.write_u64(0x5bd1_e995);
        last.write_u64(0x27d4_eb2f);
        last.0 ^ last.1.rotate_left(32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
        self.write_u64(bytes.len() as u64);
    }

    fn write_u64(&mut self, word: u64) {
        let folded = |a: u64, b: u64| {
            let product = u128::from(a) * u128::from(b);
            (product as u64) ^ (product >> 64) as u64
        };
        self.0 = folded(self.0 ^ word, 0x9e37_79b9_7f4a_7c15).wrapping_add(0xa076_1d64_78bd_642f);
        self.1 = folded(self.1.wrapping_add(word), 0xe703_7ed1_a0b4_28db) ^ self.0.rotate_left(17);
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(byte.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}
