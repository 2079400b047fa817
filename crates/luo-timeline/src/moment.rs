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
    /// agrees with the clock within [`CLOCK_ERROR_US`], or goes at one rate on both sides, so that
    /// it is the clock that was set; without a counter by the clock. None where the two differ and
    /// nobody knows which is right, or the clock alone is there and was set back.
    #[must_use]
    pub fn until(&self, later: &Self) -> Option<u64> {
        let by_clock = i128::from(later.time_us) - i128::from(self.time_us);
        let Some(by_ticks) = self.ticks_until(later) else {
            return u64::try_from(by_clock).ok();
        };
        let off = i128::from(by_ticks) - by_clock;
        let agrees = off.unsigned_abs() <= u128::from(CLOCK_ERROR_US);
        (agrees || self.goes_at_the_rate_of(later)).then_some(by_ticks)
    }

    /// Whether the counter goes at the same rate here and there, as far as both were long enough
    /// to measure it.
    fn goes_at_the_rate_of(&self, later: &Self) -> bool {
        let rates = self.ticks_per_second.zip(later.ticks_per_second);
        rates.is_some_and(|(one, other)| (one / other - 1.0).abs() <= RATE_ERROR)
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

/// How far two measurements of one rate may be apart.
const RATE_ERROR: f64 = 0.001;

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
        // A counter that was reset is not believed.
        assert_eq!(until(3_000_000, Some(0)), Some(2_000_000));
        assert_eq!(until(3_000_000, None), Some(2_000_000));
    }

    /// It is read from a clock of the firmware after a kexec, which may be off by any time.
    #[test]
    fn a_clock_that_was_set_is_not_believed_against_the_counter() {
        let from = counted(1_000_000);
        let until = |time_us, rate| {
            from.until(&Moment {
                ticks_per_second: rate,
                ..at(time_us, Some(1_005_000))
            })
        };
        // The counter says that it was a second, and the clock 27 hours.
        assert_eq!(until(100_002_000_000, None), None);
        assert_eq!(until(100_002_000_000, Some(2e6)), None);
        assert_eq!(until(100_002_000_000, Some(1.0001e6)), Some(1_000_000));
        assert_eq!(until(0, Some(1e6)), Some(1_000_000));
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
