// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! How long a transition waits for what others do.

use crate::quota::Quotas;

/// For how many seconds a transition waits for what is under way, if the administrator does
/// not say otherwise by the parameter `liveupdate_patience`: longer than a call takes that
/// preserves what a large machine has.
pub const PATIENCE: u32 = 60;
/// The most that the parameter can say: an hour.
pub const MOST_PATIENCE: u32 = 3600;

/// What the parameter says: a number of seconds from 1 to [`MOST_PATIENCE`].
#[must_use]
pub fn parse_patience(text: &[u8]) -> Option<u32> {
    let seconds = Quotas::number(text)?;
    let seconds = u32::try_from(seconds).ok()?;
    (1..=MOST_PATIENCE).contains(&seconds).then_some(seconds)
}
