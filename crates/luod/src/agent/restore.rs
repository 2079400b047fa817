// SPDX-License-Identifier: MIT OR Apache-2.0
//! After the jump: workloads take back what is theirs, what is needed first. What
//! nobody has claimed by the deadline is finished, loudly, or kept if so configured.

use std::rc::Rc;
use std::time::Duration;

use luo_sys::Event as KernelEvent;
use luo_varlink::client;
use luo_varlink::{HistoryEntry, Outcome, Phase, TimelineKind, WorkloadState, admin};

use super::Agent;
use super::held::Held;
use super::state::{Restore, State, Workload};
use super::timeline::{Line, lines};
use super::workload::Caller;
use crate::decide::config::Unclaimed;
use crate::decide::failed::Failed;
use crate::decide::record::{Moment, Record};
use crate::journal::notes::Progress;
use crate::kernel;

/// After how long it is tried again to release what nobody has claimed.
const AGAIN: Duration = Duration::from_secs(10);

/// Microseconds by which this kernel's clock is behind the one of an earlier moment.
fn behind_us(earlier: &Moment, now: &Moment) -> i64 {
    let by_earlier = earlier.time_us.saturating_add(earlier.until(now));
    let ahead = i64::try_from(by_earlier.abs_diff(now.time_us)).unwrap_or(0);
    match by_earlier < now.time_us {
        true => -ahead,
        false => ahead,
    }
}

/// Whether nobody has a session of the previous kernel: it is still there, or its
/// workload has gone again.
fn is_unclaimed(state: &State, held: &Held) -> bool {
    let owner = state.workloads.get(&held.workload);
    let connected = owner.is_some_and(|owner| owner.link.is_some());
    held.incoming && !held.busy && (held.session.is_none() || !connected)
}

impl Agent {
    /// The machine has jumped: what the record tells of is waited for.
    pub(super) fn begin_restore(&self, record: Record, progress: Progress) {
        let now = self.moment();
        {
            let mut state = self.state.borrow_mut();
            let state = &mut *state;
            for participant in &record.participants {
                let name = &participant.name;
                for session in &participant.sessions {
                    if !progress.finished.contains(session) {
                        let held = Held::new(name, None, true);
                        state.sessions.insert(session, held);
                    }
                }
                let restored = progress.restored.contains(name);
                let workload = Workload {
                    identity: participant.identity.clone(),
                    needs: participant.needs.clone(),
                    state: if restored {
                        WorkloadState::Restored
                    } else {
                        WorkloadState::Waiting
                    },
                    link: None,
                };
                state.workloads.insert(name.clone(), workload);
            }
            state.restore = Some(Restore {
                timeline: record.timeline.clone(),
                behind_us: behind_us(&record.freeze, &now),
                record,
                progress,
                released: Default::default(),
                overdue: false,
            });
        }
        self.enter(Phase::Updated);
    }

    /// A workload serves again.
    ///
    /// # Errors
    /// As [`client::Error`] says.
    pub fn restored(&self, caller: &Caller) -> Result<(), client::Error> {
        let name = caller.workload()?;
        let moment = self.moment();
        {
            let mut state = self.state.borrow_mut();
            let state = &mut *state;
            let workload = state.workloads.get_mut(name);
            let workload = workload.ok_or(client::Error::NotRegistered)?;
            if workload.state == WorkloadState::Restored {
                // It was started again since, and says so again.
                return Ok(());
            }
            let restoring = workload.state == WorkloadState::Restoring;
            let restore = state.restore.as_mut().filter(|_| restoring);
            let restore = restore.ok_or_else(|| client::Error::NotExpected {
                reason: "no update has ended in which this workload took part".to_owned(),
            })?;
            workload.state = WorkloadState::Restored;
            if !restore.progress.restored.iter().any(|known| known == name) {
                restore.progress.restored.push(name.to_owned());
                restore.progress.last = Some(moment);
            }
        }
        self.note_progress();
        self.note(TimelineKind::Restored, Line::of(name));
        self.changed.notify_waiters();
        self.end_if_over();
        Ok(())
    }

    /// A session of the previous kernel is finished.
    pub(super) fn finished(&self, session: &str) {
        if let Some(restore) = &mut self.state.borrow_mut().restore {
            restore.progress.finished.push(session.to_owned());
        }
        self.note_progress();
    }

    fn note_progress(&self) {
        let state = self.state.borrow();
        let Some(restore) = &state.restore else {
            return;
        };
        if let Err(why) = self.notes.set_progress(&restore.progress) {
            tracing::error!("it cannot be noted what is taken back: {why}");
        }
    }

    /// Ends the waiting at the deadline.
    pub(super) fn watch_the_deadline(self: &Rc<Self>) {
        let agent = Rc::clone(self);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(agent.config.restore_deadline.0).await;
            agent.deadline().await;
            // What could not be released then is tried again: nothing waits for ever.
            while agent.config.unclaimed == Unclaimed::Finish && agent.is_restoring() {
                tokio::time::sleep(AGAIN).await;
                let unclaimed = agent.unclaimed();
                agent.release_all(&unclaimed).await;
                agent.end_if_over();
            }
        });
    }

    fn is_restoring(&self) -> bool {
        self.state.borrow().restore.is_some()
    }

    /// Nobody waits for anybody any more.
    fn overdue(&self) {
        if let Some(restore) = &mut self.state.borrow_mut().restore {
            restore.overdue = true;
        }
        self.changed.notify_waiters();
    }

    async fn deadline(&self) {
        if !self.is_restoring() {
            return;
        }
        self.overdue();
        let unclaimed = self.unclaimed();
        if !unclaimed.is_empty() {
            let names = unclaimed.join(", ");
            match self.config.unclaimed {
                Unclaimed::Keep => tracing::warn!(
                    "the deadline has passed, and nobody has claimed: {names}. They are kept; \
                     `luoctl finish --release` releases them"
                ),
                Unclaimed::Finish => {
                    tracing::error!(
                        "the deadline has passed, and nobody has claimed: {names}. They are \
                         released, with all that is in them"
                    );
                    self.release_all(&unclaimed).await;
                }
            }
        }
        self.end_if_over();
    }

    /// Sessions of the previous kernel that nobody has.
    fn unclaimed(&self) -> Vec<String> {
        let state = self.state.borrow();
        let sessions = state.sessions.iter();
        let unclaimed = sessions.filter(|(_, held)| is_unclaimed(&state, held));
        unclaimed.map(|(name, _)| name.clone()).collect()
    }

    /// Finishes sessions that nobody has claimed. Gives those that are released.
    async fn release_all(&self, names: &[String]) -> Vec<String> {
        let mut released = Vec::new();
        for name in names {
            // Since they were listed somebody may have claimed this one.
            let Some(is_here) = self.mark_unclaimed(name) else {
                continue;
            };
            match self.release_one(name, is_here).await {
                Ok(()) => {
                    tracing::warn!(session = name, "released: nobody has claimed it");
                    if let Some(restore) = &mut self.state.borrow_mut().restore {
                        restore.released.insert(name.clone());
                    }
                    released.push(name.clone());
                }
                Err(why) => {
                    tracing::error!(session = name, "it could not be released: {why}");
                }
            }
        }
        released
    }

    /// Marks a session as busy if nobody has claimed it; says whether the agent has it.
    fn mark_unclaimed(&self, name: &str) -> Option<bool> {
        let mut state = self.state.borrow_mut();
        let held = state.sessions.get(name)?;
        if !is_unclaimed(&state, held) {
            return None;
        }
        let held = state.sessions.get_mut(name)?;
        held.busy = true;
        Some(held.session.is_some())
    }

    async fn release_one(&self, name: &str, is_here: bool) -> Result<(), Failed> {
        if !is_here {
            let wanted = name.to_owned();
            let taken = self.kernel.run(move |kernel| kernel.retrieve(&wanted));
            match taken.await {
                Ok(session) => {
                    if let Some(held) = self.state.borrow_mut().sessions.get_mut(name) {
                        held.session = Some(session);
                    }
                }
                // Somebody took it without the agent, and has it.
                Err(why) if why.is_taken() => {
                    self.gone(name);
                    return Err(why);
                }
                Err(why) => {
                    self.not_taken(name, &why);
                    return Err(why);
                }
            }
        }
        self.finish_held(name).await
    }

    /// An administrator ends the update.
    ///
    /// # Errors
    /// As [`admin::Error`] says.
    pub async fn finish(&self, release_unclaimed: bool) -> Result<Vec<String>, admin::Error> {
        self.state.borrow().phase.allows(KernelEvent::Finish)?;
        let unreadable = self.state.borrow().unreadable.clone();
        match unreadable {
            None => {}
            Some(_) if release_unclaimed => return self.give_up().await,
            Some(why) => {
                return Err(admin::Error::Kernel {
                    call: "the previous kernel's record".to_owned(),
                    errno: 0,
                    message: why,
                });
            }
        }
        let unclaimed = self.unclaimed();
        if !unclaimed.is_empty() && !release_unclaimed {
            return Err(admin::Error::Unclaimed {
                sessions: unclaimed,
            });
        }
        let released = self.release_all(&unclaimed).await;
        self.overdue();
        // What somebody claims at this very moment is over when it has come.
        self.all_have_arrived().await;
        self.end_if_over();
        Ok(released)
    }

    /// Gives up a record that cannot be read. The sessions that it tells of are not
    /// known: they stay with the kernel.
    async fn give_up(&self) -> Result<Vec<String>, admin::Error> {
        // Only one does it: to be here twice could end an update that has begun since.
        if self.state.borrow_mut().unreadable.take().is_none() {
            return Ok(Vec::new());
        }
        self.kernel.run(|kernel| kernel.finish_record()).await;
        if let Err(why) = self.notes.set_record(None) {
            tracing::error!("the notes: {why}");
        }
        self.enter(Phase::Normal);
        Ok(Vec::new())
    }

    /// Ends the update if everybody has theirs back, or if the deadline has passed and
    /// nothing is unclaimed.
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
        // The last line of the update's own timeline.
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
        // The clock was set anew in between: only moments tell how long it took.
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

    /// Who is connected runs on; who is not, and has nothing here, is forgotten.
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
