// SPDX-License-Identifier: MIT OR Apache-2.0
//! Moments on both sides of a kexec, and the time between them.

use std::time::Instant;

use serde::{Deserialize, Serialize};

/// A moment, by clocks that survive a kexec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Microseconds since 1970. The next kernel reads it from a clock of whole seconds.
    pub time_us: u64,
    /// The processor's counter, which goes on.
    pub ticks: Option<u64>,
    /// Its ticks in a second.
    pub ticks_per_second: Option<f64>,
}

impl Moment {
    /// This moment. `began` is an earlier one, with what the counter said then; `ticks` is what
    /// it says now, and `time_us` the clock.
    #[must_use]
    pub fn now(began: (Instant, Option<u64>), ticks: Option<u64>, time_us: u64) -> Self {
        let (began, first) = began;
        let seconds = began.elapsed().as_secs_f64();
        let counted = ticks
            .zip(first)
            .and_then(|(now, first)| now.checked_sub(first));
        // After a shorter time the rate is not known well enough to be of use.
        let rate = counted.filter(|_| seconds >= 0.05);
        Self {
            time_us,
            ticks,
            ticks_per_second: rate.map(|ticks| ticks as f64 / seconds),
        }
    }

    /// Microseconds from here to a later moment: by the counter if both have it and it
    /// agrees with the clock within [`CLOCK_ERROR_US`], else by the clock.
    #[must_use]
    pub fn until(&self, later: &Self) -> u64 {
        let by_clock = later.time_us.saturating_sub(self.time_us);
        let ticks = self.ticks.zip(later.ticks);
        let Some(((from, to), rate)) = ticks.zip(self.ticks_per_second) else {
            return by_clock;
        };
        let Some(ticks) = to.checked_sub(from).filter(|_| rate > 0.0) else {
            return by_clock;
        };
        // The cast of a float saturates.
        let by_ticks = (ticks as f64 / rate * 1e6) as u64;
        if by_ticks.abs_diff(by_clock) <= CLOCK_ERROR_US {
            by_ticks
        } else {
            by_clock
        }
    }
}

/// How far the clock may be off after a kexec, which sets it from a clock of whole seconds.
pub const CLOCK_ERROR_US: u64 = 2_500_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_tells_better_than_the_clock() {
        let from = Moment {
            time_us: 1_000_000,
            ticks: Some(5_000),
            ticks_per_second: Some(1e6),
        };
        let at = |time_us, ticks| Moment {
            time_us,
            ticks,
            ticks_per_second: None,
        };
        assert_eq!(from.until(&at(3_000_000, Some(1_505_000))), 1_500_000);
        // A counter that was reset, or that ran at another rate, is not believed.
        assert_eq!(from.until(&at(3_000_000, Some(0))), 2_000_000);
        assert_eq!(from.until(&at(3_000_000, Some(60_000_000))), 2_000_000);
        assert_eq!(from.until(&at(3_000_000, None)), 2_000_000);
        assert_eq!(from.until(&at(0, None)), 0);
    }
}
