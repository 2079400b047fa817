// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory with known contents: what is handed over, and how it is recognised.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Result, ensure};
use luo_sys::memfd;

/// Bytes that are written or compared at once.
const CHUNK: usize = 1 << 16;

/// Sebastiano Vigna's splitmix64: small, seedable, and good enough to tell any
/// two pages apart.
#[derive(Clone, Copy, Debug)]
pub struct Prng(u64);

impl Prng {
    /// A sequence of its own for each list of numbers.
    #[must_use]
    pub fn of(numbers: &[u64]) -> Self {
        numbers.iter().fold(Self(0), |mut prng, &number| {
            prng.0 ^= number;
            Self(prng.next_u64())
        })
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn bytes(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_ne_bytes()[..chunk.len()]);
        }
    }
}

/// A memfd of `length` bytes, filled from `prng`.
///
/// # Errors
/// If there is not enough memory.
pub fn memfd(name: &str, length: u64, prng: Prng) -> Result<File> {
    let file = memfd::create(name, length)?;
    write(&file, length, prng)?;
    Ok(file)
}

/// Writes the first `length` bytes of a file, from `prng`.
///
/// # Errors
/// If there is not enough memory.
pub fn write(file: &File, length: u64, mut prng: Prng) -> Result<()> {
    chunks(length, |offset, buffer| {
        prng.bytes(buffer);
        Ok(file.write_all_at(buffer, offset)?)
    })
}

/// Asserts that `file` has `length` bytes and all of them come from `prng`.
///
/// # Errors
/// Says the first offset that differs.
pub fn verify(file: &File, length: u64, mut prng: Prng) -> Result<()> {
    let seen = file.metadata()?.len();
    ensure!(seen == length, "{seen} bytes instead of {length}");
    let mut expected = vec![0; CHUNK];
    chunks(length, |offset, buffer| {
        let expected = &mut expected[..buffer.len()];
        prng.bytes(expected);
        file.read_exact_at(buffer, offset)?;
        if buffer == expected {
            return Ok(());
        }
        let mut pairs = buffer.iter().zip(expected.iter());
        let at = pairs.position(|(a, b)| a != b).unwrap_or_default();
        anyhow::bail!("contents differ from byte {} on", offset + at as u64)
    })
}

/// Walks over `length` bytes in chunks; each but the last is a multiple of 8,
/// so that filling and verifying take the same numbers.
fn chunks(length: u64, mut visit: impl FnMut(u64, &mut [u8]) -> Result<()>) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut offset = 0;
    while offset < length {
        let size = (length - offset).min(CHUNK as u64);
        visit(offset, &mut buffer[..size as usize])?;
        offset += size;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_filled_verifies() {
        for length in [0, 1, 4096, 4097, (1 << 20) + 3] {
            let file = memfd("test", length, Prng::of(&[length])).unwrap();
            verify(&file, length, Prng::of(&[length])).unwrap();
        }
    }

    #[test]
    fn a_single_bit_is_noticed() {
        let file = memfd("test", 200_000, Prng::of(&[1])).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 150_000).unwrap();
        file.write_all_at(&[byte[0] ^ 4], 150_000).unwrap();
        let error = verify(&file, 200_000, Prng::of(&[1])).unwrap_err();
        assert!(error.to_string().contains("byte 150000"), "{error}");
        assert!(verify(&file, 199_999, Prng::of(&[1])).is_err());
    }

    #[test]
    fn the_order_of_the_numbers_counts() {
        let first = |numbers: &[u64]| Prng::of(numbers).next_u64();
        assert_ne!(first(&[1, 2]), first(&[2, 1]));
        assert_ne!(first(&[0, 1]), first(&[1]));
    }
}
