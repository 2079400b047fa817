// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of an update after the jump: the condition for it, and its entry in the history.

use std::collections::BTreeSet;
use std::time::Duration;

use luo_varlink::{HistoryEntry, Outcome, Phase, TimelineEvent, TimelineKind, WorkloadState};

use super::Agent;
use super::state::{Restore, Workload};
use super::timeline::{Line, lines};
use super::written::Source;
use crate::decide::record::took_until;
use crate::journal::clock::Clock;
use crate::journal::notes::Late;
use crate::kernel;

/// How long to wait before the end of an update that could not be noted is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// The outcome of an update after the jump, and what there is to say of it.
fn told(
    frozen: bool,
    missing: &BTreeSet<String>,
    released: &BTreeSet<String>,
    came: &[String],
) -> (Outcome, Option<String>) {
    let mut reasons = Vec::new();
    let names = |all: &BTreeSet<String>| all.iter().cloned().collect::<Vec<_>>().join(", ");
    if !missing.is_empty() {
        reasons.push(format!("these have not come back: {}", names(missing)));
    }
    if !released.is_empty() {
        let them = if released.len() == 1 { "it" } else { "them" };
        reasons.push(format!(
            "nobody claimed: {} (released, with all that was in {them})",
            names(released)
        ));
    }
    let outcome = match reasons.is_empty() {
        true if frozen => Outcome::Completed,
        true => Outcome::Unfrozen,
        false => Outcome::Incomplete,
    };
    if !frozen {
        let text = "the machine jumped by somebody else's hand, before the workloads stood still";
        reasons.push(text.to_owned());
    }
    reasons.extend_from_slice(came);
    let reason = (!reasons.is_empty()).then(|| reasons.join("; "));
    (outcome, reason)
}

impl Agent {
    /// Ends the update if every participant has its sessions back and serves, or if the
    /// deadline has passed and no session is unclaimed.
    pub(super) fn end_if_over(&self) {
        let is_over = {
            let state = self.state.borrow();
            let Some(restore) = &state.restore else {
                return;
            };
            // Nobody is expected to come for what was left while no update was under way.
            let incoming = state.sessions.iter().filter(|(_, held)| held.incoming);
            let mut incoming = incoming.filter(|(_, held)| !held.parked);
            let mut participants = restore.record.participants.iter();
            let all_serve = participants
                .all(|known| known.is_parked() || restore.progress.restored.contains(&known.name));
            if restore.overdue {
                incoming.all(|(_, held)| held.session.is_some() && !held.busy)
            } else {
                all_serve && incoming.next().is_none()
            }
        };
        if !is_over {
            return;
        }
        // The record goes with the update, and what nobody is waited for stands in it: an agent
        // that is started anew finds that in the notes alone from here on.
        if self.note_the_parked() {
            self.end();
        } else if !self.ends_later.replace(true) {
            self.begin_task(async |agent| {
                tokio::time::sleep(AGAIN).await;
                agent.ends_later.set(false);
                agent.end_if_over();
            });
        }
    }

    fn end(&self) {
        self.note(TimelineKind::Over, Line::default());
        // This writes the last line of the update's own timeline.
        self.enter(Phase::Normal);
        let Some(restore) = self.state.borrow_mut().restore.take() else {
            return;
        };
        let came: Vec<_> = restore.doubt_told().into_iter().collect();
        let Restore {
            record,
            progress,
            timeline,
            released,
            behind_us,
            is_unnoted,
            ..
        } = restore;
        if is_unnoted {
            self.begin_task(async |agent| agent.drop_kernels_record().await);
        }
        let missing: BTreeSet<_> = {
            let state = self.state.borrow();
            // Of one in doubt nobody knows that it does not serve, if it is there.
            let is_there =
                |name: &String| state.workloads.get(name).is_some_and(Workload::is_there);
            let serves = |name: &String| {
                progress.restored.contains(name)
                    || (progress.doubt.contains(name) && is_there(name))
            };
            let missing = record.participants.iter();
            let missing = missing.filter(|known| !known.is_parked() && !serves(&known.name));
            missing.map(|known| known.name.clone()).collect()
        };
        let clock = progress.clock.unwrap_or_else(Clock::start);
        let took_us = record.took_until(&self.moment_by(clock));
        let (outcome, reason) = told(record.frozen, &missing, &released, &came);
        let entry = HistoryEntry {
            update: record.update,
            outcome,
            reason,
            began_us: record.began_us,
            took_us,
            blackout_us: progress
                .last
                .filter(|_| record.frozen)
                .and_then(|last| record.freeze.until(&last)),
            from_kernel: record.from_kernel,
            to_kernel: kernel::release(),
            timeline: lines(timeline),
        };
        self.settle_workloads(&missing);
        if !missing.is_empty() {
            self.state.borrow_mut().late = Some(Late {
                entry: entry.clone(),
                report: record.report.clone(),
                freeze: record.freeze,
                frozen: record.frozen,
                ended_us: clock.now_us(),
                clock: Some(clock),
                missing,
                released,
                came,
                behind_us: behind_us.unwrap_or(0),
            });
            self.note_late();
        }
        self.over(entry, record.report, Source::Record);
    }

    /// Takes a workload that serves again only after its update has ended into the books:
    /// the history says of an update what is known of it at last. Says whether the workload
    /// was waited for.
    pub(super) fn came_late(&self, name: &str) -> bool {
        let (amended, report) = {
            let mut state = self.state.borrow_mut();
            let phase = state.phase.0;
            let Some(late) = &mut state.late else {
                return false;
            };
            let now = self.moment_by(late.clock.unwrap_or_else(Clock::start));
            if !late.missing.remove(name) {
                return false;
            }
            let since = now.time_us.checked_sub(late.ended_us);
            late.came.push(match since {
                Some(us) => format!(
                    "{name} served again {:.1} s after the end of the update",
                    us as f64 / 1e6
                ),
                None => format!("{name} served again after the end of the update"),
            });
            let entry = &mut late.entry;
            (entry.outcome, entry.reason) =
                told(late.frozen, &late.missing, &late.released, &late.came);
            let blackout = late.freeze.until(&now);
            entry.blackout_us = blackout.filter(|_| late.frozen);
            entry.took_us = took_until(entry.began_us, &late.freeze, &now);
            entry.timeline.push(TimelineEvent {
                update: entry.update.clone(),
                time_us: now.time_us.saturating_add_signed(late.behind_us),
                phase,
                kind: TimelineKind::Restored,
                workload: Some(name.to_owned()),
                took_us: None,
                detail: Some("late".to_owned()),
            });
            let told = (entry.clone(), late.report.clone());
            if late.missing.is_empty() {
                state.late = None;
            }
            told
        };
        self.note_late();
        tracing::warn!(workload = name, "it serves again, late");
        self.metrics.amended(&amended);
        self.over(amended, report, Source::Amended);
        true
    }

    /// Notes who is late, for an agent that is started again.
    fn note_late(&self) {
        let noted = self.notes.set_late(self.state.borrow().late.as_ref());
        if let Err(why) = noted {
            tracing::error!("who is late: {}", self.unnoted(&why));
        }
    }

    /// Goes on waiting for those who were late when an earlier process of this agent ended.
    pub(super) fn wait_for_the_late(&self) {
        match self.notes.late() {
            Ok(late) => self.state.borrow_mut().late = late,
            Err(why) => self.is_damaged(format!(
                "luod's note of who is late after the last update is damaged ({why}): the history \
                 does not say of them when they come back"
            )),
        }
    }

    /// After the update connected workloads are running ones again, those that are not
    /// connected stand as what they have here says, and those that have nothing are forgotten.
    /// Those that have not come back yet go on with that.
    fn settle_workloads(&self, missing: &BTreeSet<String>) {
        let gone = {
            let mut state = self.state.borrow_mut();
            let state = &mut *state;
            for (name, workload) in &mut state.workloads {
                let away = state.sessions.state_of_absent(name);
                if let (None, Some(away)) = (&workload.link, away) {
                    workload.state = away;
                }
                let restores = workload.state == WorkloadState::Restoring && missing.contains(name);
                if workload.link.is_some() && !restores {
                    workload.state = WorkloadState::Running;
                }
            }
            let gone = state.workloads.iter().filter(|(name, workload)| {
                workload.link.is_none() && state.sessions.of(name).next().is_none()
            });
            let gone: Vec<_> = gone.map(|(name, _)| name.clone()).collect();
            for name in &gone {
                state.workloads.remove(name);
            }
            gone
        };
        for name in &gone {
            self.note_owner(name);
        }
        self.changed.notify_waiters();
    }
}
