// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long a guest stood still by its own clocks: the longest step that each makes between two looks.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The clocks: monotonic, the same with the time for which the machine slept, and the time of day.
const CLOCKS: [ClockId; 3] = [ClockId::Monotonic, ClockId::Boottime, ClockId::Realtime];

/// What they are called.
pub const NAMES: [&str; 3] = ["CLOCK_MONOTONIC", "CLOCK_BOOTTIME", "CLOCK_REALTIME"];

/// Looks at all of them.
#[derive(Debug)]
pub struct Clocks {
    last: [Duration; 3],
    pauses: [Duration; 3],
}

impl Default for Clocks {
    fn default() -> Self {
        Self {
            last: CLOCKS.map(now),
            pauses: [Duration::ZERO; 3],
        }
    }
}

impl Clocks {
    /// Looks.
    pub fn look(&mut self) {
        self.see(CLOCKS.map(now));
    }

    fn see(&mut self, times: [Duration; 3]) {
        for ((time, last), pause) in times.into_iter().zip(&mut self.last).zip(&mut self.pauses) {
            // The time of day may be set.
            *pause = (*pause).max(time.saturating_sub(*last));
            *last = time;
        }
    }

    /// The time since the machine was started, at the last look.
    #[must_use]
    pub const fn uptime(&self) -> Duration {
        self.last[1]
    }

    /// The longest step of each since this was asked last.
    #[must_use]
    pub fn take_pauses(&mut self) -> [Duration; 3] {
        std::mem::take(&mut self.pauses)
    }
}

fn now(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = Duration::from_secs(time.tv_sec.unsigned_abs());
    seconds + Duration::from_nanos(time.tv_nsec.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_step_of_each_clock_is_kept() {
        let mut clocks = Clocks {
            last: [Duration::ZERO; 3],
            pauses: [Duration::ZERO; 3],
        };
        for times in [[1, 1, 1], [2, 12, 0], [5, 13, 20]] {
            clocks.see(times.map(Duration::from_secs));
        }
        assert_eq!(
            clocks.take_pauses().map(|pause| pause.as_secs()),
            [3, 11, 20]
        );
        assert_eq!(clocks.take_pauses(), [Duration::ZERO; 3]);
        assert_eq!(clocks.uptime().as_secs(), 13);
        assert!(Clocks::default().uptime() > Duration::ZERO);
    }
}
