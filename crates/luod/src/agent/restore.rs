// SPDX-License-Identifier: MIT OR Apache-2.0
//! After the jump: the workloads of the previous kernel's record come back.
//!
//! ```text
//! begin_restore --> each workload: Waiting --register--> Restoring --restored--> Restored
//! ```
//!
//! Enter at [`Agent::begin_restore`], which `start` calls with the record that it has read,
//! and at [`Agent::restored`], by which a workload says that it serves again. This file
//! gives no session back (`claim` does, those that others need first), releases none
//! (`unclaimed` does, at the deadline), and does not end the update (`over` does).

use luo_sys::Session;
use luo_varlink::client;
use luo_varlink::{Phase, TimelineKind, WorkloadState};

use super::Agent;
use super::caller::Caller;
use super::held::Held;
use super::state::{Restore, State, Workload};
use super::timeline::{Line, behind_us};
use crate::aside::Aside;
use crate::decide::record::Record;
use crate::journal::clock::Clock;
use crate::journal::notes::Progress;

impl State {
    /// Takes the copy of a session that came out of the descriptor store before the record said
    /// whose it is.
    fn take_what_is_here(&mut self, session: &str) -> Option<Aside<Session>> {
        let stray = self.strays.remove(session).map(|stray| stray.session);
        stray.or_else(|| self.sessions.get_mut(session)?.session.take())
    }
}

impl Agent {
    /// Begins to wait for the workloads and sessions that the record lists: the machine has
    /// jumped.
    pub(super) fn begin_restore(&self, record: Record, mut progress: Progress) {
        let clock = *progress.clock.get_or_insert_with(Clock::start);
        let now = self.moment_by(clock);
        if !record.frozen {
            tracing::warn!(
                update = record.update,
                "the machine jumped by somebody else's hand, before the workloads stood still"
            );
        }
        {
            let mut state = self.state.borrow_mut();
            let state = &mut *state;
            for participant in &record.participants {
                let name = &participant.name;
                for session in &participant.sessions {
                    if !progress.finished.contains(session) {
                        // It may be here: the record is read late where the kernel failed.
                        let here = state.take_what_is_here(session);
                        let held = Held {
                            stored: here.is_some(),
                            parked: participant.parked.contains(session),
                            ..Held::new(name, here, true)
                        };
                        state.sessions.insert(session, held);
                    }
                }
                let restored = progress.restored.contains(name);
                let workload = Workload {
                    identity: participant.identity.clone(),
                    needs: participant.needs.clone(),
                    state: match restored {
                        true => WorkloadState::Restored,
                        false if participant.is_parked() => WorkloadState::Left,
                        false => WorkloadState::Waiting,
                    },
                    link: None,
                    late_at: None,
                    about: None,
                };
                state.workloads.insert(name.clone(), workload);
            }
            let overdue = progress.overdue;
            state.restore = Some(Restore {
                timeline: record.timeline.clone(),
                behind_us: behind_us(&record.freeze, &now),
                record,
                progress,
                released: Default::default(),
                until: None,
                overdue,
                is_unnoted: false,
            });
        }
        self.enter(Phase::Updated);
        self.write_under_way();
    }

    /// Notes that a workload serves again.
    ///
    /// # Errors
    /// As [`client::Error`] says.
    pub fn restored(&self, caller: &Caller) -> Result<(), client::Error> {
        let name = caller.workload()?;
        let moment = self.moment();
        let said;
        {
            let mut borrowed = self.state.borrow_mut();
            let state = &mut *borrowed;
            let workload = state.workloads.get_mut(name);
            let workload = workload.ok_or(client::Error::NotRegistered)?;
            if workload.state == WorkloadState::Restored {
                // The workload was started again since, and reports again.
                return Ok(());
            }
            let restoring = workload.state == WorkloadState::Restoring;
            let Some(restore) = state.restore.as_mut().filter(|_| restoring) else {
                let is_its = |held: &Held| held.incoming && held.session.is_some();
                let has_its = state.sessions.of(name).any(|(_, held)| is_its(held));
                // This is no answer to a question of an update that goes on.
                if restoring {
                    workload.state = WorkloadState::Running;
                }
                drop(borrowed);
                return self.restored_late(name, has_its || restoring);
            };
            workload.state = WorkloadState::Restored;
            let untouched = state.sessions.all_untouched(name);
            // It may need nothing of that any more, and then nobody has to wait for it.
            let untouched = (!untouched.is_empty()).then(|| {
                let names = untouched.join(", ");
                format!("it has claimed nothing of what came along for it: {names}")
            });
            said = untouched.or_else(|| workload.about.clone());
            restore.is_certain(name);
            if !restore.progress.restored.iter().any(|known| known == name) {
                restore.progress.restored.push(name.to_owned());
                restore.progress.last = Some(moment);
            }
        }
        self.note_progress();
        let line = Line::of(name);
        self.note(
            TimelineKind::Restored,
            match said {
                Some(said) => line.with(said),
                None => line,
            },
        );
        self.changed.notify_waiters();
        self.end_if_over();
        Ok(())
    }

    /// A workload serves again, and no update waits for it any more. Its data is as good as
    /// before, so this is no error for whoever has a session of the previous kernel, even
    /// one that was started again since.
    fn restored_late(&self, name: &str, has_its: bool) -> Result<(), client::Error> {
        if self.came_late(name) || has_its {
            self.changed.notify_waiters();
            return Ok(());
        }
        Err(client::Error::NotExpected {
            reason: "no update has ended in which this workload took part".to_owned(),
        })
    }
}
