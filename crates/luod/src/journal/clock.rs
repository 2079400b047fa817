// SPDX-License-Identifier: MIT OR Apache-2.0
//! The clock of an update. The machine's clock may be set at any time, by its administrator or over
//! the network. So an update looks at that once, when it begins, and once more in the next kernel;
//! from there on it counts by a clock that nobody sets.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A clock that was set when it was started, and never is again. It counts in the boot alone in
/// which it was started, over the end of a process too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// The machine's clock at that moment: microseconds since 1970.
    pub wall_us: u64,
    /// How long the machine had been up by then: microseconds.
    pub boot_us: u64,
}

impl Clock {
    /// A clock that is started now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            wall_us: wall_us(),
            boot_us: boot_us(),
        }
    }

    /// A clock that was started at a time of which nothing else is known. None if that is not
    /// over: the machine's clock was set back since.
    #[must_use]
    pub fn since(wall_us: u64) -> Option<Self> {
        let now = Self::start();
        let ago = now.wall_us.checked_sub(wall_us)?;
        Some(Self {
            wall_us,
            boot_us: now.boot_us.saturating_sub(ago),
        })
    }

    /// Microseconds since it was started.
    #[must_use]
    pub fn elapsed_us(&self) -> u64 {
        boot_us().saturating_sub(self.boot_us)
    }

    /// Its reading now: microseconds since 1970.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.wall_us.saturating_add(self.elapsed_us())
    }
}

/// Microseconds since 1970, as the machine's clock says.
pub(crate) fn wall_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock before 1970 counts as 1970.
    let since = since.map(|since| since.as_micros()).unwrap_or_default();
    u64::try_from(since).unwrap_or(u64::MAX)
}

/// Microseconds since the machine was started. It counts while it sleeps, too.
pub(crate) fn boot_us() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let parts = u64::try_from(time.tv_nsec).unwrap_or_default() / 1_000;
    seconds.saturating_mul(1_000_000).saturating_add(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_not_heed_the_machines_clock() {
        let now = Clock::start();
        let ten = now.boot_us.saturating_sub(10_000_000);
        let ago = now.boot_us - ten;
        // The machine's clock was an hour ahead, and has been set back since.
        let clock = Clock {
            wall_us: now.wall_us + 3_600_000_000,
            boot_us: ten,
        };
        let elapsed = clock.elapsed_us();
        assert!((ago..ago + 5_000_000).contains(&elapsed), "{elapsed} us");
        assert_eq!(Clock::since(clock.wall_us), None);
        let clock = Clock::since(now.wall_us - 1_000_000).unwrap();
        assert!(clock.elapsed_us() >= 1_000_000.min(now.boot_us));
    }
}
