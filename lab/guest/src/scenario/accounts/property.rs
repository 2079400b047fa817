// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the user's program has, which the administrator looks at, too.

use crate::fill::Prng;

pub(super) const PAGE: usize = 4096;

/// What it has: 63 sessions without a file, and one with these.
pub(super) const FILES: u64 = 4096;

/// What each of half of them needs of the other half.
pub(super) const NEEDS: u64 = 40;

/// The sessions that nobody takes back, and the bytes in each. The user's comes first.
pub(super) const LEFT: [(&str, u64); 2] = [("uid:3001:left", 96 << 20), ("vm", 8 << 20)];

/// Pages that are written, each alone, to a file that is preserved: what tells of them takes more
/// than a group's charge can be off.
pub(super) const GROWS_BY: u64 = 40_960;

/// Sessions of a user's that nobody takes back, and that the user ends: by FINISH, and by being
/// killed. Each has a file of so many pages, each alone.
pub(super) const ENDED: [&str; 2] = ["finished", "killed"];
pub(super) const ENDED_PAGES: u64 = 20_480;

/// The session of a user's with a pipe, as the user calls it, and what that holds: as much as a
/// pipe of a user's can, and more than processors have in stock for a group.
pub(super) const PIPE: &str = "pipe";
pub(super) const PIPE_BYTES: usize = 1 << 20;

pub(super) fn pipe_bytes() -> Vec<u8> {
    (0..PIPE_BYTES).map(|at| (at % 251) as u8).collect()
}

pub(super) fn contents(at: usize) -> Prng {
    Prng::of(&[11, at as u64])
}
