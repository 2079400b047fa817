// SPDX-License-Identifier: MIT OR Apache-2.0
//! How an update is undone, from its end: the kernel's part, then the workloads in the
//! reverse of the order they were asked in.

use luo_varlink::admin::Error;
use luo_varlink::{Event, EventKind, HistoryEntry, Outcome, Phase, TimelineKind, WorkloadState};

use super::Agent;
use super::timeline::{Line, lines};
use super::written::Source;
use crate::decide::names::OWN_SESSION;
use crate::decide::round::unwinding;
use crate::kernel;

impl Agent {
    /// Undoes the whole update, and gives back the reason.
    pub(super) async fn undo(&self, why: Error) -> Error {
        let reason = why.to_string();
        let first = reason.lines().next().unwrap_or_default().to_owned();
        match &why {
            Error::Vetoed {
                workload, reason, ..
            } => {
                self.note(TimelineKind::Vetoed, Line::of(workload).with(reason));
            }
            Error::Late { .. } | Error::Lost { .. } => {}
            _ => self.note(TimelineKind::Over, Line::text(&reason)),
        }
        self.enter(Phase::Cancelling);
        self.undo_kernel().await;
        if self.is_not_undone() {
            self.note_undoing(true);
        }
        self.unstore(OWN_SESSION);
        let lost = self.tell_all(&first);
        self.state.borrow_mut().sessions.await_nobody();
        // This writes the last line of the update's own timeline.
        self.enter(Phase::Normal);
        let entry = {
            let mut state = self.state.borrow_mut();
            let update = state.update.take();
            update.map(|update| {
                (
                    update.report,
                    HistoryEntry {
                        update: update.id,
                        outcome: match why {
                            Error::CheckFailed { .. } => Outcome::Refused,
                            _ => Outcome::Cancelled,
                        },
                        reason: Some(reason),
                        began_us: update.clock.wall_us,
                        took_us: Some(update.clock.elapsed_us()),
                        blackout_us: None,
                        from_kernel: kernel::release(),
                        to_kernel: kernel::release(),
                        timeline: lines(update.timeline),
                    },
                )
            })
        };
        // No update is under way any more, so the sessions of lost workloads can go.
        for name in lost {
            self.tell_what_goes_with(&name);
            self.forget(&name);
        }
        if let Some((report, entry)) = entry {
            self.over(entry, report, Source::Update);
            self.until_written().await;
        }
        why
    }

    /// Tells all workloads that were asked that the update is off; gives those that are
    /// gone.
    fn tell_all(&self, reason: &str) -> Vec<String> {
        let mut state = self.state.borrow_mut();
        let Some(update) = &state.update else {
            return Vec::new();
        };
        let id = update.id.clone();
        let asked = unwinding(&update.asked_to_prepare, &update.asked_to_freeze);
        for name in &asked {
            let Some(workload) = state.workloads.get_mut(name) else {
                continue;
            };
            workload.tell(Event {
                kind: EventKind::Cancel,
                update: id.clone(),
                deadline_ms: 0,
                reason: Some(reason.to_owned()),
            });
        }
        let mut lost = Vec::new();
        for (name, workload) in &mut state.workloads {
            match workload.state {
                WorkloadState::Left => {}
                _ if workload.link.is_none() => lost.push(name.clone()),
                _ => workload.state = WorkloadState::Running,
            }
        }
        lost
    }
}
