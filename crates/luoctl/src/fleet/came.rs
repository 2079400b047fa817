// SPDX-License-Identifier: MIT OR Apache-2.0
//! What came of the update that a slot was taken for.

use std::collections::BTreeMap;

use luo_fleetlock::report::{Ending, Report};
use luo_varlink::{HistoryEntry, Outcome, TimelineKind};

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Came {
    /// No update has begun since.
    Nothing,
    /// It is under way.
    UnderWay,
    /// It is over.
    Over(Report),
}

/// What came of the update that a slot was taken for. `last` is the newest one of the history,
/// `before` the newest one when the slot was taken.
#[must_use]
pub fn came(last: Option<&HistoryEntry>, before: Option<&str>) -> Came {
    match last {
        Some(entry) if Some(entry.update.as_str()) != before => match entry.outcome {
            Outcome::UnderWay => Came::UnderWay,
            _ => Came::Over(report(entry)),
        },
        _ => Came::Nothing,
    }
}

fn ending(outcome: Outcome) -> Ending {
    match outcome {
        Outcome::Completed => Ending::Completed,
        Outcome::Cancelled | Outcome::Refused => Ending::Cancelled,
        // Whoever jumped by somebody else's hand is looked at before more hosts go.
        Outcome::Incomplete | Outcome::Unfrozen | Outcome::Lost | Outcome::UnderWay => {
            Ending::Failed
        }
    }
}

/// How long each phase took, as the timeline has it: microseconds. What is not known, for the clock
/// was set back meanwhile, is left out.
fn phases(entry: &HistoryEntry) -> BTreeMap<String, u64> {
    let mut lines = entry.timeline.iter().peekable();
    let mut phases = BTreeMap::<String, u64>::new();
    let mut open: Option<(String, u64)> = None;
    while let Some(line) = lines.next() {
        let is_last = lines.peek().is_none();
        if line.kind != TimelineKind::Phase && !is_last {
            continue;
        }
        if let Some((phase, since)) = open.take()
            && let Some(took) = line.time_us.checked_sub(since)
        {
            let all = phases.entry(phase).or_default();
            *all = all.saturating_add(took);
        }
        open = Some((line.phase.to_string(), line.time_us));
    }
    phases
}

fn report(entry: &HistoryEntry) -> Report {
    Report {
        ending: ending(entry.outcome),
        update: Some(entry.update.clone()),
        reason: match (&entry.reason, entry.outcome) {
            (None, Outcome::Completed) => None,
            (reason, outcome) => {
                let why = reason.as_deref().unwrap_or("no more is known");
                Some(format!("{outcome}: {why}"))
            }
        },
        release: Some(entry.to_kernel.clone()).filter(|release| !release.is_empty()),
        blackout_us: entry.blackout_us,
        phases_us: phases(entry),
    }
}

#[cfg(test)]
mod tests {
    use luo_varlink::{Phase, TimelineEvent};

    use super::*;

    fn entry(outcome: Outcome) -> HistoryEntry {
        let line = |phase, time_us| TimelineEvent {
            update: "u2".to_owned(),
            time_us,
            phase,
            kind: TimelineKind::Phase,
            workload: None,
            took_us: None,
            detail: None,
        };
        HistoryEntry {
            update: "u2".to_owned(),
            outcome,
            reason: None,
            began_us: 1_000,
            took_us: Some(500),
            blackout_us: Some(90),
            from_kernel: "7.3.3".to_owned(),
            to_kernel: "7.3.4".to_owned(),
            timeline: vec![
                line(Phase::Preparing, 1_000),
                line(Phase::Prepared, 1_100),
                line(Phase::Freezing, 1_150),
                line(Phase::Normal, 1_500),
            ],
        }
    }

    #[test]
    fn a_phase_in_which_the_clock_was_set_back_is_left_out() {
        let mut entry = entry(Outcome::Completed);
        entry.timeline[1].time_us = 900;
        let phases = phases(&entry);
        assert_eq!(phases.get("preparing"), None);
        assert_eq!(phases["prepared"], 250);
    }

    #[test]
    fn the_newest_update_counts_if_it_began_after_the_slot_was_taken() {
        let done = entry(Outcome::Completed);
        assert_eq!(came(Some(&done), Some("u2")), Came::Nothing);
        assert_eq!(came(None, None), Came::Nothing);
        let Came::Over(report) = came(Some(&done), Some("u1")) else {
            panic!();
        };
        assert_eq!(report.ending, Ending::Completed);
        assert_eq!(report.phases_us["preparing"], 100);
        assert_eq!(report.phases_us["freezing"], 350);
        assert_eq!(came(Some(&entry(Outcome::UnderWay)), None), Came::UnderWay);
        for (outcome, ending) in [
            (Outcome::Refused, Ending::Cancelled),
            (Outcome::Incomplete, Ending::Failed),
            (Outcome::Lost, Ending::Failed),
            (Outcome::Unfrozen, Ending::Failed),
        ] {
            let Came::Over(report) = came(Some(&entry(outcome)), None) else {
                panic!();
            };
            assert_eq!(report.ending, ending);
            assert!(report.reason.is_some());
        }
    }
}
