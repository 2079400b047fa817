// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! How long a transition waits for what others do, and for files that they hold.

use crate::quota::Quotas;

/// For how many seconds a transition waits for what is under way, if the administrator does
/// not say otherwise by the parameter `liveupdate_patience`: longer than a call takes that
/// preserves what a large machine has.
pub const PATIENCE: u32 = 60;
/// The most that the parameter can say: an hour.
pub const MOST_PATIENCE: u32 = 3600;

/// The value of the parameter: a number of seconds from 1 to [`MOST_PATIENCE`].
#[must_use]
pub fn parse_patience(text: &[u8]) -> Option<u32> {
    let seconds = Quotas::number(text)?;
    let seconds = u32::try_from(seconds).ok()?;
    (1..=MOST_PATIENCE).contains(&seconds).then_some(seconds)
}

/// Milliseconds of a pause.
pub const PAUSE_MILLIS: u32 = 10;

/// Pauses that one call waits for a file at most, and so do all files of a kind of the
/// administrator's together in one transition, and those of users: two seconds.
pub const PAUSES: u32 = 200;

/// Kinds of files that each have a patience of their own: what is held of one kind takes nothing
/// of what the other may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// Pipes.
    Pipes,
    /// Memfds, of small pages or of huge ones.
    Memfds,
}

/// How many pauses files of a kind may take in a transition still.
///
/// A file that somebody has locked gets half of what is left: one that is held for ever leaves
/// something for those behind it. What users hold takes nothing of what the administrator's files
/// may take.
#[derive(Clone, Copy)]
struct Patience {
    users: u32,
    administrators: u32,
}

impl Patience {
    const FULL: Self = Self {
        users: PAUSES,
        administrators: PAUSES,
    };

    fn of(&mut self, is_users: bool) -> &mut u32 {
        match is_users {
            true => &mut self.users,
            false => &mut self.administrators,
        }
    }
}

/// The patience of each kind of files.
pub(crate) struct Patiences {
    pipes: Patience,
    memfds: Patience,
}

impl Patiences {
    /// A transition begins.
    pub(crate) const FULL: Self = Self {
        pipes: Patience::FULL,
        memfds: Patience::FULL,
    };

    fn of(&mut self, files: Files, is_users: bool) -> &mut u32 {
        let patience = match files {
            Files::Pipes => &mut self.pipes,
            Files::Memfds => &mut self.memfds,
        };
        patience.of(is_users)
    }

    pub(crate) fn take_half(&mut self, files: Files, is_users: bool) -> u32 {
        let left = self.of(files, is_users);
        let half = left.div_ceil(2);
        *left = left.saturating_sub(half);
        half
    }

    pub(crate) fn give_back(&mut self, files: Files, is_users: bool, unused: u32) {
        let left = self.of(files, is_users);
        *left = left.saturating_add(unused).min(PAUSES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many are held for ever, the wait has an end, and each of the first few gets
    /// some of it.
    #[test]
    fn patience_has_an_end_and_is_shared() {
        for files in [Files::Pipes, Files::Memfds] {
            let mut all = Patiences::FULL;
            let half = |_| all.take_half(files, true);
            let taken: std::vec::Vec<u32> = (0..1000).map(half).collect();
            assert_eq!(taken.iter().sum::<u32>(), PAUSES);
            assert_eq!(taken[..9], [100, 50, 25, 13, 6, 3, 2, 1, 0]);
            // Nobody else's, and of no other kind.
            let other = match files {
                Files::Pipes => Files::Memfds,
                Files::Memfds => Files::Pipes,
            };
            assert_eq!(all.take_half(other, true), 100);
            assert_eq!(all.take_half(files, false), 100);
            all.give_back(files, false, 100);
            all.give_back(files, false, 100);
            assert_eq!(all.take_half(files, false), 100);
        }
    }
}
