// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of an update after the jump: the condition for it, and its entry in the history.

use luo_varlink::{HistoryEntry, Outcome, Phase, TimelineKind, WorkloadState};

use super::Agent;
use super::state::Restore;
use super::timeline::{Line, lines};
use crate::kernel;

impl Agent {
    /// Ends the update if every participant has its sessions back and serves, or if the
    /// deadline has passed and no session is unclaimed.
    pub(super) fn end_if_over(&self) {
        let is_over = {
            let state = self.state.borrow();
            let Some(restore) = &state.restore else {
                return;
            };
            let mut incoming = state.sessions.iter().filter(|(_, held)| held.incoming);
            let participants = restore.record.participants.iter();
            let all_serve = participants
                .clone()
                .all(|known| restore.progress.restored.contains(&known.name));
            if restore.overdue {
                incoming.all(|(_, held)| held.session.is_some() && !held.busy)
            } else {
                all_serve && incoming.next().is_none()
            }
        };
        if is_over {
            self.end();
        }
    }

    fn end(&self) {
        self.note(TimelineKind::Over, Line::default());
        if let Err(why) = self.notes.set_record(None) {
            tracing::error!("the notes: {why}");
        }
        // This writes the last line of the update's own timeline.
        self.enter(Phase::Normal);
        let Some(restore) = self.state.borrow_mut().restore.take() else {
            return;
        };
        let Restore {
            record,
            progress,
            timeline,
            released,
            ..
        } = restore;
        let missing = record.participants.iter();
        let missing: Vec<_> = missing
            .filter(|known| !progress.restored.contains(&known.name))
            .map(|known| known.name.clone())
            .collect();
        let mut reasons = Vec::new();
        if !missing.is_empty() {
            reasons.push(format!("these did not come back: {}", missing.join(", ")));
        }
        if !released.is_empty() {
            let names: Vec<_> = released.into_iter().collect();
            reasons.push(format!("nobody claimed: {}", names.join(", ")));
        }
        // The jump has set the clock anew, so the time over it is measured by moments.
        let before = record.freeze.time_us.saturating_sub(record.began_us);
        let entry = HistoryEntry {
            update: record.update,
            outcome: if reasons.is_empty() {
                Outcome::Completed
            } else {
                Outcome::Incomplete
            },
            reason: (!reasons.is_empty()).then(|| reasons.join("; ")),
            began_us: record.began_us,
            took_us: before.saturating_add(record.freeze.until(&self.moment())),
            blackout_us: progress.last.map(|last| record.freeze.until(&last)),
            from_kernel: record.from_kernel,
            to_kernel: kernel::release(),
            timeline: lines(timeline),
        };
        self.settle_workloads();
        self.over(entry);
    }

    /// After the update connected workloads are running ones again, and those that are not
    /// connected and have no session here are forgotten.
    fn settle_workloads(&self) {
        let gone: Vec<_> = {
            let mut state = self.state.borrow_mut();
            for workload in state.workloads.values_mut() {
                if workload.link.is_some() {
                    workload.state = WorkloadState::Running;
                }
            }
            let gone = state.workloads.iter().filter(|(name, workload)| {
                workload.link.is_none() && state.sessions.of(name).next().is_none()
            });
            gone.map(|(name, _)| name.clone()).collect()
        };
        for name in gone {
            self.forget(&name);
        }
    }
}
