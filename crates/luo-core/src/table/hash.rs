// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The keyed hash that all indexes of an engine share.
//!
//! SipHash-1-3, as in the standard library's maps, over whole words: a look-up
//! is on the path of every call, and `core` has the slower SipHash-2-4 only.

/// A hash under a key that nobody but the host knows.
#[derive(Clone, Copy)]
pub(crate) struct Hash {
    key: (u64, u64),
}

impl Hash {
    pub(crate) const fn new(key: (u64, u64)) -> Self {
        Self { key }
    }

    /// Hashes words. Each index hashes keys of one length only.
    pub(crate) fn of_words(self, words: &[u64]) -> u32 {
        let mut state = State::new(self.key);
        for &word in words {
            state.absorb(word);
        }
        state.finish(words.len())
    }

    /// Hashes a name in its room, whose unused bytes are zero, and a word.
    pub(crate) fn of_room<const N: usize>(self, tag: u64, room: &[u8; N]) -> u32 {
        let mut state = State::new(self.key);
        state.absorb(tag);
        let mut words = 1usize;
        for word in room.chunks_exact(8) {
            if let Ok(word) = word.try_into() {
                state.absorb(u64::from_le_bytes(word));
                words = words.saturating_add(1);
            }
        }
        state.finish(words)
    }
}

/// A digest that finds damage in what is handed over: the same function with 64
/// bits of output under the key 0, which the next kernel knows.
pub struct Digest {
    state: State,
    words: usize,
}

impl Digest {
    /// A digest of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::new((0, 0)),
            words: 0,
        }
    }

    /// Absorbs a word.
    #[inline]
    pub fn absorb(&mut self, word: u64) {
        self.state.absorb(word);
        self.words = self.words.saturating_add(1);
    }

    /// Absorbs a record, whose length is a multiple of eight bytes.
    #[inline]
    pub fn absorb_bytes(&mut self, bytes: &[u8]) {
        for word in bytes.chunks_exact(8) {
            if let Ok(word) = word.try_into() {
                self.absorb(u64::from_le_bytes(word));
            }
        }
    }

    /// The digest of all that was absorbed, in order.
    #[must_use]
    pub fn finish(self) -> u64 {
        self.state.finish_wide(self.words)
    }
}

impl Default for Digest {
    fn default() -> Self {
        Self::new()
    }
}

/// The four words of SipHash.
struct State(u64, u64, u64, u64);

impl State {
    fn new((k0, k1): (u64, u64)) -> Self {
        Self(
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        )
    }

    #[inline]
    fn round(&mut self) {
        let Self(a, b, c, d) = self;
        *a = a.wrapping_add(*b);
        *b = b.rotate_left(13) ^ *a;
        *a = a.rotate_left(32);
        *c = c.wrapping_add(*d);
        *d = d.rotate_left(16) ^ *c;
        *a = a.wrapping_add(*d);
        *d = d.rotate_left(21) ^ *a;
        *c = c.wrapping_add(*b);
        *b = b.rotate_left(17) ^ *c;
        *c = c.rotate_left(32);
    }

    #[inline]
    fn absorb(&mut self, word: u64) {
        self.3 ^= word;
        self.round();
        self.0 ^= word;
    }

    /// The end of `words` words: their length in bytes, modulo 256, on top of an
    /// empty last word.
    fn finish(self, words: usize) -> u32 {
        // The low half is as good as any.
        self.finish_wide(words) as u32
    }

    fn finish_wide(mut self, words: usize) -> u64 {
        self.absorb((words as u64) << 59);
        self.2 ^= 0xff;
        for _ in 0..3 {
            self.round();
        }
        self.0 ^ self.1 ^ self.2 ^ self.3
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{DefaultHasher, Hasher};

    /// The standard library's map hashes with SipHash-1-3 under the key zero.
    #[test]
    fn is_the_hash_of_the_standard_library() {
        let hash = Hash::new((0, 0));
        for words in [&[][..], &[1], &[1, u64::MAX], &[7; 9], &[3; 40]] {
            let mut std = DefaultHasher::new();
            for word in words {
                std.write_u64(*word);
            }
            assert_eq!(hash.of_words(words), std.finish() as u32);
        }
        let mut room = [0u8; 64];
        room[..5].copy_from_slice(b"a vm!");
        let mut std = DefaultHasher::new();
        std.write_u64(1);
        std.write(&room);
        assert_eq!(hash.of_room(1, &room), std.finish() as u32);
    }

    #[test]
    fn a_digest_is_that_of_the_standard_library() {
        let mut digest = Digest::new();
        digest.absorb(7);
        digest.absorb_bytes(&[1; 64]);
        let mut std = DefaultHasher::new();
        std.write_u64(7);
        std.write(&[1; 64]);
        assert_eq!(digest.finish(), std.finish());
    }

    #[test]
    fn depends_on_the_key() {
        let of = |key| Hash::new(key).of_words(&[1, 2]);
        assert_ne!(of((1, 2)), of((1, 3)));
        assert_ne!(of((1, 2)), of((2, 2)));
    }
}
