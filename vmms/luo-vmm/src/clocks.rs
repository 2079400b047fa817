// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest's clocks say after it stood still. Arithmetic only.
//!
//! A guest has two clocks, and they have to tell the same: kvmclock, which KVM keeps, and the
//! processor's counter (TSC), which is the host's counter and an offset. The host's counter goes
//! on over a kexec, so it says how long the guest stood, and nothing else has to be asked.
//!
//! | choice | kvmclock | counter |
//! |---|---|---|
//! | [`Choice::GoOn`] | what it was, and the gap | the same offset: the host's counter has gone on |
//! | [`Choice::Stand`] | what it was | an offset smaller by the gap |
//!
//! A counter that is behind where it was is another one: the machine was switched off in between.
//! Then nobody knows the gap, and the clocks stand.

use std::time::Duration;

/// What the clocks of a guest say when it goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// The truth: the time in which the guest stood still has passed.
    #[default]
    GoOn,
    /// They stand still with the guest, as if nothing had been.
    Stand,
}

/// The clocks of a guest that stands still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// kvmclock, nanoseconds.
    pub kvmclock_ns: u64,
    /// The host's counter at that moment.
    pub ticks: u64,
    /// The guest's counter less the host's, in arithmetic modulo 2^64.
    pub tsc_offset: u64,
    /// The counter's ticks in a millisecond.
    pub tsc_khz: u32,
}

/// What the clocks are set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// kvmclock, nanoseconds.
    pub kvmclock_ns: u64,
    /// The guest's counter less the host's.
    pub tsc_offset: u64,
}

/// How far apart two frequencies may be for KVM to take one for the other, without a processor
/// that scales: its default, in parts in a million.
const TOLERANCE: u64 = 250;

impl Stopped {
    /// What the clocks are set to when the host's counter says `ticks`.
    #[must_use]
    pub fn go_on(&self, ticks: u64, choice: Choice) -> Plan {
        let passed = ticks.checked_sub(self.ticks);
        let gap = passed.map(|ticks| self.nanoseconds(ticks));
        let (ns, tsc_offset) = match (choice, gap) {
            (Choice::GoOn, Some(ns)) => (ns, self.tsc_offset),
            // The guest's counter is what it was.
            _ => (
                0,
                self.tsc_offset.wrapping_add(self.ticks).wrapping_sub(ticks),
            ),
        };
        Plan {
            kvmclock_ns: self.kvmclock_ns.saturating_add(ns),
            tsc_offset,
        }
    }

    /// How long it is from one look at the host's counter to another, if it has not begun anew.
    #[must_use]
    pub fn since(&self, then: u64, now: u64) -> Option<Duration> {
        let ticks = now.checked_sub(then)?;
        Some(Duration::from_nanos(self.nanoseconds(ticks)))
    }

    fn nanoseconds(&self, ticks: u64) -> u64 {
        let ns = u128::from(ticks) * 1_000_000 / u128::from(self.tsc_khz.max(1));
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// Whether KVM takes a counter of this frequency for the guest's without scaling it.
    #[must_use]
    pub fn runs_at(&self, khz: u32) -> bool {
        let apart = u64::from(self.tsc_khz.abs_diff(khz));
        apart * 1_000_000 <= u64::from(self.tsc_khz) * TOLERANCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOPPED: Stopped = Stopped {
        kvmclock_ns: 5_000_000_000,
        ticks: 10_000_000,
        tsc_offset: 0u64.wrapping_sub(1_000_000),
        tsc_khz: 2_000_000,
    };

    #[test]
    fn the_truth_is_that_both_clocks_have_gone_on_by_the_gap() {
        // Three seconds.
        let now = STOPPED.ticks + 6_000_000_000;
        let plan = STOPPED.go_on(now, Choice::GoOn);
        assert_eq!(
            STOPPED.since(STOPPED.ticks, now),
            Some(Duration::from_secs(3))
        );
        assert_eq!(plan.kvmclock_ns, 8_000_000_000);
        let counter = now.wrapping_add(plan.tsc_offset);
        let was = STOPPED.ticks.wrapping_add(STOPPED.tsc_offset);
        assert_eq!(counter - was, 6_000_000_000);
    }

    #[test]
    fn clocks_that_stand_go_on_where_they_were() {
        let now = STOPPED.ticks + 6_000_000_000;
        let plan = STOPPED.go_on(now, Choice::Stand);
        assert_eq!(
            STOPPED.since(STOPPED.ticks, now),
            Some(Duration::from_secs(3))
        );
        assert_eq!(plan.kvmclock_ns, STOPPED.kvmclock_ns);
        let was = STOPPED.ticks.wrapping_add(STOPPED.tsc_offset);
        assert_eq!(now.wrapping_add(plan.tsc_offset), was);
    }

    #[test]
    fn a_counter_that_began_anew_tells_nothing_and_the_guests_does_not_go_back() {
        for choice in [Choice::GoOn, Choice::Stand] {
            let plan = STOPPED.go_on(77, choice);
            assert_eq!(plan.kvmclock_ns, STOPPED.kvmclock_ns);
            assert_eq!(STOPPED.since(STOPPED.ticks, 77), None);
            let was = STOPPED.ticks.wrapping_add(STOPPED.tsc_offset);
            assert_eq!(77u64.wrapping_add(plan.tsc_offset), was);
        }
    }

    #[test]
    fn numbers_of_a_stranger_are_no_crash() {
        let odd = Stopped {
            kvmclock_ns: u64::MAX,
            ticks: 0,
            tsc_offset: u64::MAX,
            tsc_khz: 0,
        };
        let plan = odd.go_on(u64::MAX, Choice::GoOn);
        assert_eq!(plan.kvmclock_ns, u64::MAX);
        assert!(!odd.runs_at(u32::MAX));
    }

    #[test]
    fn frequencies_are_one_within_250_parts_in_a_million() {
        assert!(STOPPED.runs_at(2_000_500));
        assert!(STOPPED.runs_at(1_999_500));
        assert!(!STOPPED.runs_at(2_000_501));
        assert!(!STOPPED.runs_at(1_999_499));
    }
}
