// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The note of a timer, and what becomes of a timer while it is away.

use luo_abi::note::{Timerfd, ABSOLUTE, BOOTTIME, MONOTONIC, NONBLOCK, REALTIME, TIMERFD_MAGIC};

use super::Note;

/// The longest time, as the kernel counts: some 292 years.
const LONGEST: u64 = i64::MAX as u64;

impl Note for Timerfd {
    const MAGIC: [u8; 16] = TIMERFD_MAGIC;

    fn is_sane(&self) -> bool {
        let clock = self.clock;
        let times = [self.left, self.interval, self.wall];
        matches!(clock, REALTIME | MONOTONIC | BOOTTIME)
            && times.into_iter().all(|time| time <= LONGEST)
            && self.flags & !(NONBLOCK | ABSOLUTE) == 0
    }
}

/// The state of a timer at another time: since 1970, by the machine's clock, in nanoseconds. The
/// timer has gone on while it was away, and if it has expired meanwhile, that counts.
///
/// Somebody may have set the clock back. Then nothing has passed, but for a timer that was set
/// to a point in time by that very clock: it expires when the clock says so.
#[must_use]
pub fn resumed(timer: &Timerfd, wall: u64) -> Timerfd {
    let mut now = Timerfd { wall, ..*timer };
    if timer.left == 0 {
        return now;
    }
    let away = wall.saturating_sub(timer.wall);
    let back = timer.wall.saturating_sub(wall);
    if away < timer.left {
        let by_the_clock = timer.clock == REALTIME && timer.flags & ABSOLUTE != 0;
        let back = if by_the_clock { back } else { 0 };
        let left = timer.left.saturating_sub(away).saturating_add(back);
        now.left = left.min(LONGEST);
        return now;
    }
    let late = away.saturating_sub(timer.left);
    // Without an interval it has expired once.
    let more = late.checked_div(timer.interval).unwrap_or(0);
    let into = late.checked_rem(timer.interval).unwrap_or(0);
    now.ticks = timer.ticks.saturating_add(more).saturating_add(1);
    now.left = timer.interval.saturating_sub(into);
    now
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{read, write, Unread};
    use std::vec;

    const SECOND: u64 = 1_000_000_000;

    /// Once in 10 seconds, looked at 100 seconds after 1970.
    const TIMER: Timerfd = Timerfd {
        ticks: 2,
        left: 10 * SECOND,
        interval: 0,
        wall: 100 * SECOND,
        clock: MONOTONIC,
        flags: 0,
    };

    fn at(timer: Timerfd, seconds: u64) -> (u64, u64) {
        let now = resumed(&timer, seconds * SECOND);
        (now.ticks, now.left)
    }

    #[test]
    fn it_goes_on_while_it_is_away() {
        assert_eq!(at(TIMER, 103), (2, 7 * SECOND));
        assert_eq!(at(TIMER, 110), (3, 0));
        assert_eq!(at(TIMER, 999), (3, 0));
        let idle = Timerfd { left: 0, ..TIMER };
        assert_eq!(at(idle, 999), (2, 0));
    }

    #[test]
    fn one_with_an_interval_counts_each_expiry() {
        let timer = Timerfd {
            interval: 4 * SECOND,
            ..TIMER
        };
        assert_eq!(at(timer, 109), (2, SECOND));
        assert_eq!(at(timer, 110), (3, 4 * SECOND));
        assert_eq!(at(timer, 113), (3, SECOND));
        assert_eq!(at(timer, 114), (4, 4 * SECOND));
        assert_eq!(at(timer, 119), (5, 3 * SECOND));
    }

    #[test]
    fn a_clock_that_was_set_back_counts_for_those_who_go_by_it() {
        assert_eq!(at(TIMER, 90), (2, 10 * SECOND));
        let until = Timerfd {
            clock: REALTIME,
            flags: ABSOLUTE,
            ..TIMER
        };
        assert_eq!(at(until, 90), (2, 20 * SECOND));
        assert_eq!(at(Timerfd { flags: 0, ..until }, 90), (2, 10 * SECOND));
    }

    #[test]
    fn nothing_overflows() {
        let timer = Timerfd {
            ticks: u64::MAX,
            left: 1,
            interval: 1,
            wall: 0,
            ..TIMER
        };
        let ticks = resumed(&timer, u64::MAX).ticks;
        assert_eq!(ticks, u64::MAX);
        let far = Timerfd {
            left: LONGEST,
            wall: LONGEST,
            clock: REALTIME,
            flags: ABSOLUTE,
            ..TIMER
        };
        let left = resumed(&far, 0).left;
        assert_eq!(left, LONGEST);
    }

    #[test]
    fn what_no_timer_can_be_is_refused() {
        let mut page = vec![0; 4096];
        write(&mut page, &TIMER);
        assert_eq!(read::<Timerfd>(&page), Ok(TIMER));
        for odd in [
            Timerfd { clock: 8, ..TIMER },
            Timerfd {
                left: LONGEST + 1,
                ..TIMER
            },
            Timerfd { flags: 2, ..TIMER },
        ] {
            write(&mut page, &odd);
            assert_eq!(read::<Timerfd>(&page), Err(Unread::Value));
        }
    }
}
