// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long each phase of an update took, as its timeline tells.

use crate::types::{HistoryEntry, Phase, TimelineEvent, TimelineKind};

/// A phase of an update, and its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhaseTime {
    /// Which.
    pub phase: Phase,
    /// When it began: microseconds since 1970 (UTC).
    pub begin: u64,
    /// When the next one began, or the update was over.
    pub end: u64,
}

impl PhaseTime {
    /// Microseconds; 0 if the clock was set back meanwhile.
    #[must_use]
    pub fn took(&self) -> u64 {
        self.end.saturating_sub(self.begin)
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

    /// The phases in the order in which they were entered. If the last lines before the jump
    /// were lost in it, the jump is taken to begin with the last line that was not.
    #[must_use]
    pub fn phases(&self) -> Vec<PhaseTime> {
        let begins = begins(&self.timeline);
        let last = begins.last().map_or(0, |&(_, time)| time);
        let end = self.began_us.saturating_add(self.took_us).max(last);
        let ends = begins.iter().skip(1).map(|&(_, time)| time).chain([end]);
        let all = begins.iter().zip(ends);
        // The end is no phase of an update.
        let all = all.filter(|((phase, _), _)| *phase != Phase::Normal);
        let time = |(&(phase, begin), end)| PhaseTime { phase, begin, end };
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
