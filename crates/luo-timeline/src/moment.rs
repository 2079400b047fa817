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
    /// agrees with the clock within [`CLOCK_ERROR_US`], else by the clock. None if the clock was
    /// set back meanwhile: nobody knows then.
    #[must_use]
    pub fn until(&self, later: &Self) -> Option<u64> {
        let by_clock = i128::from(later.time_us) - i128::from(self.time_us);
        let agrees = |by_ticks: &u64| {
            let off = i128::from(*by_ticks) - by_clock;
            off.unsigned_abs() <= u128::from(CLOCK_ERROR_US)
        };
        let by_ticks = self.ticks_until(later).filter(agrees);
        by_ticks.or_else(|| u64::try_from(by_clock).ok())
    }

    /// The same, as the counter tells.
    fn ticks_until(&self, later: &Self) -> Option<u64> {
        let rate = self.ticks_per_second.filter(|rate| *rate > 0.0)?;
        let ticks = later.ticks?.checked_sub(self.ticks?)?;
        // The cast of a float saturates.
        Some((ticks as f64 / rate * 1e6) as u64)
    }
}

/// How far the clock may be off after a kexec, which sets it from a clock of whole seconds.
pub const CLOCK_ERROR_US: u64 = 2_500_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time_us: u64, ticks: Option<u64>) -> Moment {
        Moment {
            time_us,
            ticks,
            ticks_per_second: None,
        }
    }

    /// One whose counter counts microseconds.
    fn counted(time_us: u64) -> Moment {
        Moment {
            ticks_per_second: Some(1e6),
            ..at(time_us, Some(5_000))
        }
    }

    #[test]
    fn the_counter_tells_better_than_the_clock() {
        let from = counted(1_000_000);
        let until = |time_us, ticks| from.until(&at(time_us, ticks));
        assert_eq!(until(3_000_000, Some(1_505_000)), Some(1_500_000));
        // A counter that was reset, or that ran at another rate, is not believed.
        assert_eq!(until(3_000_000, Some(0)), Some(2_000_000));
        assert_eq!(until(3_000_000, Some(60_000_000)), Some(2_000_000));
        assert_eq!(until(3_000_000, None), Some(2_000_000));
    }

    #[test]
    fn a_clock_that_was_set_back_tells_nothing() {
        let from = counted(9_000_000);
        assert_eq!(from.until(&at(0, None)), None);
        assert_eq!(from.until(&at(0, Some(1_505_000))), None);
        // By less than a clock of whole seconds is off, the counter tells.
        assert_eq!(from.until(&at(8_500_000, Some(105_000))), Some(100_000));
        assert_eq!(from.until(&at(8_500_000, None)), None);
    }
}
