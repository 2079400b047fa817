// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the user's program has, which the administrator looks at, too.

use crate::fill::Prng;

/// What it has: 63 sessions without a file, and one with these.
pub(super) const FILES: u64 = 4096;

/// What each of half of them needs of the other half.
pub(super) const NEEDS: u64 = 40;

/// The sessions that nobody takes back, and the bytes in each. The user's comes first.
pub(super) const LEFT: [(&str, u64); 2] = [("uid:3001:left", 96 << 20), ("vm", 8 << 20)];

pub(super) fn contents(at: usize) -> Prng {
    Prng::of(&[11, at as u64])
}
