// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long each phase of an update took, as its timeline tells.

use crate::types::{HistoryEntry, Outcome, Phase, TimelineEvent, TimelineKind};

/// A phase of an update, and its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhaseTime {
    /// Which.
    pub phase: Phase,
    /// When it began: microseconds since 1970 (UTC).
    pub begin: u64,
    /// When the next one began, or the update was over; or the last that is told of it.
    pub end: u64,
    /// Whether that was its end. Nobody knows it of the last phase of an update that has ended
    /// with its machine.
    pub has_ended: bool,
}

impl PhaseTime {
    /// Microseconds. None if that is not known: its end is not, or the clock was set back
    /// meanwhile.
    #[must_use]
    pub fn took(&self) -> Option<u64> {
        let took = self.end.checked_sub(self.begin);
        took.filter(|_| self.has_ended)
    }
}

impl HistoryEntry {
    /// Whether another kernel has taken over in this update, as far as was noted.
    #[must_use]
    pub fn has_jumped(&self) -> bool {
        let is_there = |event: &TimelineEvent| {
            event.kind == TimelineKind::Phase && event.phase == Phase::Updated
        };
        self.blackout_us.is_some() || self.timeline.iter().any(is_there)
    }

    /// Whether a workload that had stood still served again after a jump, and how long that was
    /// is not known: the clock was set back in it, or luod's note of it was damaged.
    #[must_use]
    pub fn lacks_its_blackout(&self) -> bool {
        let is_over = matches!(self.outcome, Outcome::Completed | Outcome::Incomplete);
        let has_served = |event: &TimelineEvent| event.kind == TimelineKind::Restored;
        is_over && self.blackout_us.is_none() && self.timeline.iter().any(has_served)
    }

    /// How long a workload was away over the jump, in microseconds: from when it was asked to stand
    /// still, or had left, to when it said that it serves again. None if it did not do both, or if
    /// nobody knows how long the jump took.
    #[must_use]
    pub fn away_us(&self, workload: &str) -> Option<u64> {
        let its = |event: &&TimelineEvent| event.workload.as_deref() == Some(workload);
        let mut since = None;
        for event in self.timeline.iter().filter(its) {
            let freezes = matches!(event.phase, Phase::Freezing | Phase::Frozen);
            match event.kind {
                TimelineKind::Asked | TimelineKind::Left if freezes => {
                    since = since.or(Some(event.time_us));
                }
                TimelineKind::Left => since = Some(event.time_us),
                // Where nobody has noted the asking, the answer says how long it took.
                TimelineKind::Agreed if freezes => {
                    let took = event.took_us.unwrap_or(0);
                    since = since.or_else(|| event.time_us.checked_sub(took));
                }
                TimelineKind::Restored => {
                    let away = since.and_then(|since| event.time_us.checked_sub(since));
                    return away.filter(|_| self.blackout_us.is_some());
                }
                _ => {}
            }
        }
        None
    }

    /// The phases in the order in which they were entered. If the last lines before the jump
    /// were lost in it, the jump is taken to begin with the last line that was not.
    #[must_use]
    pub fn phases(&self) -> Vec<PhaseTime> {
        let begins = begins(&self.timeline);
        let last = self.timeline.last().map_or(0, |event| event.time_us);
        let over = self.took_us.map(|took| self.began_us.saturating_add(took));
        let end = (over.map_or(last, |over| over.max(last)), over.is_some());
        let next = begins.iter().skip(1).map(|&(_, time)| (time, true));
        let all = begins.iter().zip(next.chain([end]));
        // The end is no phase of an update.
        let all = all.filter(|((phase, _), _)| *phase != Phase::Normal);
        let time = |(&(phase, begin), (end, has_ended))| PhaseTime {
            phase,
            begin,
            end,
            has_ended,
        };
        all.map(time).collect()
    }
}

fn begins(timeline: &[TimelineEvent]) -> Vec<(Phase, u64)> {
    let mut begins = Vec::new();
    let mut previous = None;
    for event in timeline {
        if event.kind == TimelineKind::Phase {
            let last = begins.last().map(|&(phase, _)| phase);
            if event.phase == Phase::Updated
                && last.is_some_and(|phase| phase != Phase::Jumping)
                && let Some(time) = previous
            {
                begins.push((Phase::Jumping, time));
            }
            begins.push((event.phase, event.time_us));
        }
        previous = Some(event.time_us);
    }
    begins
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An update whose phases began at these times.
    fn entry(took_us: Option<u64>, phases: &[(Phase, u64)]) -> HistoryEntry {
        let line = |&(phase, time_us)| TimelineEvent {
            update: "u-1".to_owned(),
            time_us,
            phase,
            kind: TimelineKind::Phase,
            workload: None,
            took_us: None,
            detail: None,
        };
        HistoryEntry {
            update: "u-1".to_owned(),
            outcome: Outcome::Completed,
            reason: None,
            began_us: 100,
            took_us,
            blackout_us: None,
            from_kernel: "a".to_owned(),
            to_kernel: "b".to_owned(),
            timeline: phases.iter().map(line).collect(),
        }
    }

    fn took(entry: &HistoryEntry) -> Vec<Option<u64>> {
        entry.phases().iter().map(PhaseTime::took).collect()
    }

    #[test]
    fn what_a_clock_that_was_set_back_says_is_not_known() {
        let phases = [
            (Phase::Frozen, 100),
            (Phase::Jumping, 150),
            (Phase::Updated, 50),
            (Phase::Normal, 90),
        ];
        let entry = entry(None, &phases);
        assert_eq!(took(&entry), [Some(50), None, Some(40)]);
    }

    #[test]
    fn the_last_phase_of_an_update_that_ended_with_its_machine_has_no_end() {
        let phases = [(Phase::Preparing, 100), (Phase::Prepared, 130)];
        assert_eq!(took(&entry(None, &phases)), [Some(30), None]);
        assert_eq!(took(&entry(Some(70), &phases)), [Some(30), Some(40)]);
    }

    #[test]
    fn a_workload_is_away_from_when_it_is_asked_to_when_it_serves() {
        let mut entry = entry(None, &[]);
        let line = |time_us, phase, kind, workload: &str, took_us| TimelineEvent {
            update: "u-1".to_owned(),
            time_us,
            phase,
            kind,
            workload: Some(workload.to_owned()),
            took_us,
            detail: None,
        };
        entry.timeline = vec![
            line(100, Phase::Preparing, TimelineKind::Asked, "vm", None),
            line(110, Phase::Prepared, TimelineKind::Left, "web", None),
            line(200, Phase::Freezing, TimelineKind::Asked, "vm", None),
            line(260, Phase::Freezing, TimelineKind::Agreed, "vm", Some(60)),
            line(300, Phase::Freezing, TimelineKind::Agreed, "old", Some(10)),
            line(900, Phase::Updated, TimelineKind::Restored, "vm", None),
            line(950, Phase::Updated, TimelineKind::Restored, "web", None),
            line(999, Phase::Updated, TimelineKind::Restored, "old", None),
        ];
        assert_eq!(
            entry.away_us("vm"),
            None,
            "nobody knows how long the jump took"
        );
        entry.blackout_us = Some(799);
        let away = ["vm", "web", "old", "none"].map(|name| entry.away_us(name));
        assert_eq!(away, [Some(700), Some(840), Some(709), None]);
    }

    #[test]
    fn a_blackout_is_missed_where_somebody_served_again() {
        let mut entry = entry(None, &[(Phase::Updated, 100)]);
        assert!(!entry.lacks_its_blackout());
        entry.timeline[0].kind = TimelineKind::Restored;
        assert!(entry.lacks_its_blackout());
        entry.blackout_us = Some(1);
        assert!(!entry.lacks_its_blackout());
    }
}
