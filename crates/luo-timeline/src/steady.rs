// SPDX-License-Identifier: MIT OR Apache-2.0
//! The times of an update of which none is before an earlier one.
//!
//! In a jump the clock may be set back. A picture has each moment to the right of the one before
//! it all the same: from there on all times are later by what the clock was set back.

use luo_varlink::HistoryEntry;

/// An update with such times. How long its parts took is told by the times as they came.
pub(crate) fn steady(entry: &HistoryEntry) -> HistoryEntry {
    let mut steady = entry.clone();
    let (mut last, mut back) = (0_u64, 0_u64);
    for event in &mut steady.timeline {
        let time = event.time_us.saturating_add(back);
        if let Some(more) = last.checked_sub(time) {
            back = back.saturating_add(more);
        }
        event.time_us = event.time_us.saturating_add(back);
        last = event.time_us;
    }
    steady
}

#[cfg(test)]
mod tests {
    use luo_varlink::{Outcome, Phase, TimelineEvent, TimelineKind};

    use super::*;

    #[test]
    fn after_a_clock_was_set_back_the_distances_stay() {
        let line = |time_us| TimelineEvent {
            update: "u-1".to_owned(),
            time_us,
            phase: Phase::Normal,
            kind: TimelineKind::Phase,
            workload: None,
            took_us: None,
            detail: None,
        };
        let entry = HistoryEntry {
            update: "u-1".to_owned(),
            outcome: Outcome::Completed,
            reason: None,
            began_us: 100,
            took_us: None,
            blackout_us: None,
            from_kernel: "a".to_owned(),
            to_kernel: "b".to_owned(),
            timeline: [100, 130, 20, 25, 5, u64::MAX].map(line).into(),
        };
        let times = |entry: &HistoryEntry| -> Vec<u64> {
            entry.timeline.iter().map(|event| event.time_us).collect()
        };
        assert_eq!(times(&steady(&entry)), [100, 130, 130, 135, 135, u64::MAX]);
    }
}
