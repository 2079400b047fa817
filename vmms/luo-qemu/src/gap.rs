// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long a guest stood still: the moment of its stop, beside the head of its state, by clocks
//! that survive a kexec. It is told to people, and nothing depends on it, so no digest covers it.
//!
//! ```text
//! offset  bytes
//!     64      8  microseconds since 1970
//!     72      8  the processor's counter; 0 if there is none
//!     80      8  its ticks in a second, as a float; 0 if that is not known
//! ```

use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use luo_client::memory::Region;
use luo_timeline::Moment;

const OFFSET: u64 = 64;
const LENGTH: usize = 24;

/// Tells moments from when it was started on.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: (Instant, Option<u64>),
}

impl Clock {
    /// A clock that is started now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            began: (Instant::now(), luo_sys::clock::ticks()),
        }
    }

    /// This moment.
    #[must_use]
    pub fn moment(&self) -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let time_us = since.map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(0));
        Moment::now(self.began, luo_sys::clock::ticks(), time_us)
    }
}

/// Notes the moment in which the guest stopped.
///
/// # Errors
/// The memory cannot be written.
pub fn note(region: &Region, stopped: &Moment) -> io::Result<()> {
    region.file().write_all_at(&encode(stopped), OFFSET)
}

/// How long it is since then, if that was noted, and the clock was not set back meanwhile.
///
/// # Errors
/// The memory cannot be read.
pub fn since(region: &Region, now: &Moment) -> io::Result<Option<Duration>> {
    let mut bytes = [0; LENGTH];
    region.file().read_exact_at(&mut bytes, OFFSET)?;
    let stopped = decode(&bytes);
    let since = stopped.and_then(|stopped| stopped.until(now));
    Ok(since.map(Duration::from_micros))
}

fn encode(stopped: &Moment) -> [u8; LENGTH] {
    let rate = stopped.ticks_per_second.unwrap_or_default().to_bits();
    let numbers = [stopped.time_us, stopped.ticks.unwrap_or_default(), rate];
    let mut bytes = [0; LENGTH];
    for (part, number) in bytes.chunks_exact_mut(8).zip(numbers) {
        part.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

fn decode(bytes: &[u8; LENGTH]) -> Option<Moment> {
    let mut numbers = bytes.chunks_exact(8).map(|part| {
        let mut number = [0; 8];
        number.copy_from_slice(part);
        u64::from_le_bytes(number)
    });
    let mut next = || numbers.next().filter(|&number| number > 0);
    let (time_us, ticks, rate) = (next(), next(), next());
    let rate = rate.map(f64::from_bits);
    Some(Moment {
        time_us: time_us?,
        ticks,
        ticks_per_second: rate.filter(|rate| rate.is_finite() && *rate > 0.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_of_the_stop_is_read_as_it_was_written() {
        let moment = Moment {
            time_us: 1_700_000_000_000_000,
            ticks: Some(4711),
            ticks_per_second: Some(2.4e9),
        };
        assert_eq!(decode(&encode(&moment)), Some(moment));
        let bare = Moment {
            ticks: None,
            ticks_per_second: None,
            ..moment
        };
        assert_eq!(decode(&encode(&bare)), Some(bare));
        assert_eq!(decode(&[0; LENGTH]), None);
        // Whoever has written there something else gets no time, and no crash.
        let mut odd = encode(&moment);
        odd[16..].copy_from_slice(&f64::NAN.to_bits().to_le_bytes());
        assert_eq!(decode(&odd).unwrap().ticks_per_second, None);
        assert!(decode(&[0xff; LENGTH]).is_some());
    }

    #[test]
    fn a_clock_goes_on() {
        let clock = Clock::start();
        let first = clock.moment();
        let until = first.until(&clock.moment());
        assert!(until.is_some_and(|us| us < 60_000_000));
        assert!(first.time_us > 0);
    }
}
