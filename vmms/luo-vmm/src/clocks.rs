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
//!
//! An offset is exact whenever it is set. kvmclock is not: who looks at the counter and then at
//! kvmclock, or sets one and then the other, may be held up in between, and the clocks are apart by
//! as much, for good. So each [`Look`] at kvmclock comes with the counter of the same moment, and
//! what was set is looked at, and set again until it fits: [`settle`].

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
    /// The counter's ticks in a millisecond, as the guest has them since its first start.
    pub tsc_khz: u32,
}

/// What the clocks are set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// kvmclock, nanoseconds.
    pub kvmclock_ns: u64,
    /// The host's counter at that moment.
    pub ticks: u64,
    /// Its ticks in a millisecond.
    pub khz: u32,
    /// The guest's counter less the host's.
    pub tsc_offset: u64,
}

/// A look at kvmclock.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// What it said, nanoseconds.
    pub ns: u64,
    /// The host's counter at that moment, if the kernel has said it.
    pub ticks: Option<u64>,
    /// The host's counter before the look and after it.
    pub around: (u64, u64),
}

/// How often a clock is looked at, or set, until it is near enough.
const TRIES: usize = 5;

/// How near kvmclock has to be to what it should say, nanoseconds.
const NEAR: u64 = 20_000;

/// How far apart two frequencies may be for KVM to take one for the other, without a processor
/// that scales: its default, in parts in a million.
const TOLERANCE: u64 = 250;

impl Stopped {
    /// What the clocks are set to when the host's counter says `ticks`, and has as many in a
    /// millisecond as this kernel has measured.
    #[must_use]
    pub fn go_on(&self, ticks: u64, choice: Choice, host_khz: u32) -> Plan {
        let khz = self.rate(host_khz);
        let passed = ticks.checked_sub(self.ticks);
        let gap = passed.map(|ticks| nanoseconds(ticks, khz));
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
            ticks,
            khz,
            tsc_offset,
        }
    }

    /// How long it is from one look at the host's counter to another, if it has not begun anew.
    #[must_use]
    pub fn since(&self, then: u64, now: u64, host_khz: u32) -> Option<Duration> {
        let ticks = now.checked_sub(then)?;
        let ns = nanoseconds(ticks, self.rate(host_khz));
        Some(Duration::from_nanos(ns))
    }

    /// By which of its measures time is told from the host's counter. The guest reckons with the
    /// first one, and another one of the same counter is no better; only where the processor scales
    /// the guest's counter is that not the host's.
    fn rate(&self, host_khz: u32) -> u32 {
        if self.runs_at(host_khz) {
            self.tsc_khz
        } else {
            host_khz
        }
    }

    /// Whether KVM takes a counter of this frequency for the guest's without scaling it.
    #[must_use]
    pub fn runs_at(&self, khz: u32) -> bool {
        let apart = u64::from(self.tsc_khz.abs_diff(khz));
        apart * 1_000_000 <= u64::from(self.tsc_khz) * TOLERANCE
    }
}

impl Plan {
    /// The offset of a processor's counter, which was another than the one that the plan was made of.
    #[must_use]
    pub fn offset_of(&self, was: u64, stopped: &Stopped) -> u64 {
        let more = was.wrapping_sub(stopped.tsc_offset);
        self.tsc_offset.wrapping_add(more)
    }

    /// What kvmclock is to say at a moment of the host's counter.
    #[must_use]
    pub fn kvmclock_at(&self, ticks: u64) -> u64 {
        let since = nanoseconds(ticks.saturating_sub(self.ticks), self.khz);
        let before = nanoseconds(self.ticks.saturating_sub(ticks), self.khz);
        let ns = self.kvmclock_ns.saturating_add(since);
        ns.saturating_sub(before)
    }
}

fn nanoseconds(ticks: u64, khz: u32) -> u64 {
    let ns = u128::from(ticks) * 1_000_000 / u128::from(khz.max(1));
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// kvmclock, and the host's counter at that moment. A kernel that does not say it is asked until the
/// look is a short one.
///
/// # Errors
/// Of the look.
pub fn read<E>(mut look: impl FnMut() -> Result<Look, E>) -> Result<(u64, u64), E> {
    let mut best: Option<(u64, (u64, u64))> = None;
    for _ in 0..TRIES {
        let Look { ns, ticks, around } = look()?;
        if let Some(ticks) = ticks {
            return Ok((ns, ticks));
        }
        let (before, after) = around;
        let took = after.saturating_sub(before);
        if best.is_none_or(|(shortest, _)| took < shortest) {
            best = Some((took, (ns, before.saturating_add(took / 2))));
        }
    }
    let (_, found) = best.unwrap_or_default();
    Ok(found)
}

/// Sets kvmclock to what a plan has, and looks whether it was. Between the look at the host's counter
/// and the moment at which the clock is set there is some time always, which is found out, and more
/// if somebody is held up, which is why it is tried again. Gives by how many nanoseconds kvmclock is
/// behind in the end.
///
/// # Errors
/// Of the calls.
pub fn settle<E>(
    plan: &Plan,
    mut host: impl FnMut() -> Result<u64, E>,
    mut set: impl FnMut(u64) -> Result<(), E>,
    mut read: impl FnMut() -> Result<(u64, u64), E>,
) -> Result<i64, E> {
    let mut ahead: Option<i64> = None;
    let mut behind = 0_i64;
    for _ in 0..TRIES {
        let with = ahead.unwrap_or(0);
        set(plan.kvmclock_at(host()?).saturating_add_signed(with))?;
        let (ns, ticks) = read()?;
        behind = plan.kvmclock_at(ticks).wrapping_sub(ns).cast_signed();
        if behind.unsigned_abs() <= NEAR {
            break;
        }
        // The least that it has ever taken is what it takes if nobody is held up.
        let took = behind.saturating_add(with);
        ahead = Some(ahead.map_or(took, |least| least.min(took)));
    }
    Ok(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KHZ: u32 = 2_000_000;

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
        let plan = STOPPED.go_on(now, Choice::GoOn, KHZ);
        let since = STOPPED.since(STOPPED.ticks, now, KHZ);
        assert_eq!(since, Some(Duration::from_secs(3)));
        assert_eq!(plan.kvmclock_ns, 8_000_000_000);
        let counter = now.wrapping_add(plan.tsc_offset);
        let was = STOPPED.ticks.wrapping_add(STOPPED.tsc_offset);
        assert_eq!(counter - was, 6_000_000_000);
    }

    #[test]
    fn clocks_that_stand_go_on_where_they_were() {
        let now = STOPPED.ticks + 6_000_000_000;
        let plan = STOPPED.go_on(now, Choice::Stand, KHZ);
        let since = STOPPED.since(STOPPED.ticks, now, KHZ);
        assert_eq!(since, Some(Duration::from_secs(3)));
        assert_eq!(plan.kvmclock_ns, STOPPED.kvmclock_ns);
        let was = STOPPED.ticks.wrapping_add(STOPPED.tsc_offset);
        assert_eq!(now.wrapping_add(plan.tsc_offset), was);
    }

    #[test]
    fn counters_of_processors_stay_as_far_apart_as_they_were() {
        let now = STOPPED.ticks + 6_000_000_000;
        for choice in [Choice::GoOn, Choice::Stand] {
            let plan = STOPPED.go_on(now, choice, KHZ);
            let first = plan.offset_of(STOPPED.tsc_offset, &STOPPED);
            assert_eq!(first, plan.tsc_offset);
            let other = plan.offset_of(STOPPED.tsc_offset.wrapping_sub(9), &STOPPED);
            assert_eq!(first.wrapping_sub(other), 9);
        }
    }

    #[test]
    fn a_counter_that_began_anew_tells_nothing_and_the_guests_does_not_go_back() {
        for choice in [Choice::GoOn, Choice::Stand] {
            let plan = STOPPED.go_on(77, choice, KHZ);
            assert_eq!(plan.kvmclock_ns, STOPPED.kvmclock_ns);
            assert_eq!(STOPPED.since(STOPPED.ticks, 77, KHZ), None);
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
        let plan = odd.go_on(u64::MAX, Choice::GoOn, 0);
        assert_eq!(plan.kvmclock_ns, u64::MAX);
        assert!(!odd.runs_at(u32::MAX));
        assert_eq!(plan.kvmclock_at(0), 0);
        assert_eq!(plan.kvmclock_at(u64::MAX), u64::MAX);
    }

    #[test]
    fn what_a_later_kernel_measures_counts_only_where_the_guests_counter_is_scaled() {
        let second = 2_000_000_000;
        let now = STOPPED.ticks + second;
        let gap = |khz| STOPPED.go_on(now, Choice::GoOn, khz).kvmclock_ns - STOPPED.kvmclock_ns;
        // The same counter, measured anew: the guest's two clocks tell the same.
        assert_eq!(gap(KHZ + 400), 1_000_000_000);
        // Another one, of twice the speed.
        assert_eq!(gap(2 * KHZ), 500_000_000);
        let since = STOPPED.since(STOPPED.ticks, now, 2 * KHZ);
        assert_eq!(since, Some(Duration::from_millis(500)));
    }

    /// A host whose calls take time: nanoseconds, by its counter of one tick in each.
    struct Host {
        now: std::cell::Cell<u64>,
        /// kvmclock less the counter.
        offset: std::cell::Cell<u64>,
        /// How long each next call to set the clock is held up.
        held: std::cell::RefCell<Vec<u64>>,
    }

    /// Settles the clock of such a host; gives how far it is from the plan.
    fn settled(held: &[u64]) -> (i64, i64) {
        let host = Host {
            now: 1_000_000_000.into(),
            offset: 0.into(),
            held: held.iter().rev().copied().collect::<Vec<_>>().into(),
        };
        let plan = Plan {
            kvmclock_ns: 77_000_000_000,
            ticks: 999_000_000,
            khz: 1_000_000,
            tsc_offset: 0,
        };
        let pass = |ns| host.now.set(host.now.get() + ns);
        let said = settle::<()>(
            &plan,
            || Ok(host.now.get()),
            |ns| {
                // A call takes 100 us here, before anything comes of it.
                pass(100_000 + host.held.borrow_mut().pop().unwrap_or(0));
                host.offset.set(ns.wrapping_sub(host.now.get()));
                Ok(())
            },
            || {
                pass(3000);
                let now = host.now.get();
                pass(50_000);
                Ok((now.wrapping_add(host.offset.get()), now))
            },
        );
        let now = host.now.get();
        let is = now.wrapping_add(host.offset.get());
        let behind = plan.kvmclock_at(now).wrapping_sub(is).cast_signed();
        (said.unwrap(), behind)
    }

    #[test]
    fn kvmclock_is_set_again_until_it_and_the_counter_tell_the_same() {
        let calm = settled(&[]);
        let held_up = settled(&[5_000_000]);
        let held_up_later = settled(&[0, 5_000_000]);
        let held_up_twice = settled(&[5_000_000, 2_000_000, 0]);
        for (said, behind) in [calm, held_up, held_up_later, held_up_twice] {
            assert!(behind.unsigned_abs() <= NEAR, "{behind}");
            assert_eq!(said, behind);
        }
        // Who is held up each time is so no more than the time differs.
        let (said, behind) = settled(&[9_000_000, 8_000_000, 9_000_000, 8_000_000, 9_000_000]);
        assert_eq!(said, behind);
        assert!(behind.unsigned_abs() <= 1_000_000, "{behind}");
    }

    #[test]
    fn a_look_has_the_counter_of_its_moment_or_else_the_shortest_one_counts() {
        let look = |ns, ticks, around| Look { ns, ticks, around };
        let by = |looks: &[Look]| {
            let mut looks = looks.iter().copied();
            read::<()>(|| looks.next().ok_or(()))
        };
        assert_eq!(by(&[look(5, Some(7), (1, 99))]), Ok((5, 7)));
        let looks = [
            look(1, None, (100, 900)),
            look(2, None, (1000, 1010)),
            look(3, None, (2000, 2500)),
            look(4, None, (3000, 3011)),
            look(5, None, (4000, 4100)),
        ];
        assert_eq!(by(&looks), Ok((2, 1005)));
        assert_eq!(by(&[]), Err(()));
    }

    #[test]
    fn frequencies_are_one_within_250_parts_in_a_million() {
        assert!(STOPPED.runs_at(2_000_500));
        assert!(STOPPED.runs_at(1_999_500));
        assert!(!STOPPED.runs_at(2_000_501));
        assert!(!STOPPED.runs_at(1_999_499));
    }
}
