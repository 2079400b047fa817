// SPDX-License-Identifier: MIT OR Apache-2.0
//! After the jump: workloads take back what is theirs, what is needed first. What
//! nobody has claimed by the deadline is finished, loudly, or kept if so configured.

use std::rc::Rc;

use luo_sys::Event as KernelEvent;
use luo_varlink::client;
use luo_varlink::{HistoryEntry, Outcome, Phase, TimelineKind, WorkloadState, admin};

use super::Agent;
use super::state::{Held, Restore, Workload};
use super::timeline::Line;
use super::workload::Caller;
use crate::config::Unclaimed;
use crate::notes::Progress;
use crate::record::Record;

impl Agent {
    /// The machine has jumped: what the record tells of is waited for.
    pub(super) fn begin_restore(&self, record: Record, progress: Progress) {
        {
            let mut state = self.state.borrow_mut();
            let state = &mut *state;
            for participant in &record.participants {
                let name = &participant.name;
                for session in &participant.sessions {
                    if !progress.finished.contains(session) {
                        let held = Held::new(name, None, true);
                        state.sessions.insert(session.clone(), held);
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
    pub async fn restored(&self, caller: &Caller) -> Result<(), client::Error> {
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
            restore.progress.restored.push(name.to_owned());
            restore.progress.last = Some(moment);
        }
        self.note_progress();
        self.note(TimelineKind::Restored, Line::of(name));
        self.changed.notify_waiters();
        self.end_if_over().await;
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
        });
    }

    async fn deadline(&self) {
        let unclaimed = self.unclaimed();
        {
            let mut state = self.state.borrow_mut();
            let Some(restore) = &mut state.restore else {
                return;
            };
            restore.overdue = true;
        }
        self.changed.notify_waiters();
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
        self.end_if_over().await;
    }

    /// Sessions of the previous kernel that nobody has.
    fn unclaimed(&self) -> Vec<String> {
        let state = self.state.borrow();
        let nobodys = |held: &Held| {
            let owner = state.workloads.get(&held.workload);
            let connected = owner.is_some_and(|owner| owner.link.is_some());
            held.incoming && !held.busy && (held.session.is_none() || !connected)
        };
        let sessions = state.sessions.iter().filter(|(_, held)| nobodys(held));
        sessions.map(|(name, _)| name.clone()).collect()
    }

    /// Finishes sessions that nobody has claimed. Gives those that are released.
    async fn release_all(&self, names: &[String]) -> Vec<String> {
        let mut released = Vec::new();
        for name in names {
            let held = {
                let mut state = self.state.borrow_mut();
                let held = state.sessions.get_mut(name).filter(|held| !held.busy);
                held.map(|held| {
                    held.busy = true;
                    held.session.is_some()
                })
            };
            let taken = match held {
                None => continue,
                Some(true) => Ok(()),
                Some(false) => {
                    let name_there = name.clone();
                    let taken = self
                        .kernel
                        .run(move |kernel| kernel.retrieve(&name_there))
                        .await;
                    taken.map(|session| {
                        if let Some(held) = self.state.borrow_mut().sessions.get_mut(name) {
                            held.session = Some(session);
                        }
                    })
                }
            };
            let finished = match taken {
                Ok(()) => self.finish_held(name).await,
                Err(why) => Err(why),
            };
            match finished {
                Ok(()) => {
                    tracing::warn!(session = name, "released: nobody has claimed it");
                    if let Some(restore) = &mut self.state.borrow_mut().restore {
                        restore.released.insert(name.clone());
                    }
                    released.push(name.clone());
                }
                Err(why) => self.not_released(name, &why),
            }
        }
        released
    }

    /// What cannot be released is the kernel's own affair from here on.
    fn not_released(&self, name: &str, why: &crate::kernel::Failed) {
        tracing::error!(session = name, "it could not be released: {why}");
        let gone = why.errno() == luo_sys::Errno::ENOENT;
        let mut state = self.state.borrow_mut();
        if let Some(held) = state.sessions.get_mut(name) {
            held.busy = false;
        }
        if gone {
            state.sessions.remove(name);
            drop(state);
            self.finished(name);
        }
    }

    /// An administrator ends the update.
    ///
    /// # Errors
    /// As [`admin::Error`] says.
    pub async fn finish(&self, release_unclaimed: bool) -> Result<Vec<String>, admin::Error> {
        self.state.borrow().phase.allows(KernelEvent::Finish)?;
        let unreadable = self.state.borrow().unreadable.clone();
        if let Some(why) = unreadable {
            return self.give_up(release_unclaimed, why).await;
        }
        let unclaimed = self.unclaimed();
        if !unclaimed.is_empty() && !release_unclaimed {
            return Err(admin::Error::Unclaimed {
                sessions: unclaimed,
            });
        }
        let released = self.release_all(&unclaimed).await;
        if let Some(restore) = &mut self.state.borrow_mut().restore {
            restore.overdue = true;
        }
        self.end_if_over().await;
        Ok(released)
    }

    /// Gives up a record that cannot be read. The sessions that it tells of are not
    /// known: they stay with the kernel.
    async fn give_up(&self, release: bool, why: String) -> Result<Vec<String>, admin::Error> {
        if !release {
            return Err(admin::Error::Kernel {
                call: "the previous kernel's record".to_owned(),
                errno: 0,
                message: why,
            });
        }
        self.kernel.run(|kernel| kernel.finish_record()).await;
        if let Err(why) = self.notes.set_record(None) {
            tracing::error!("the notes: {why}");
        }
        self.state.borrow_mut().unreadable = None;
        self.enter(Phase::Normal);
        Ok(Vec::new())
    }

    /// Ends the update if everybody has theirs back, or if the deadline has passed and
    /// nothing is unclaimed.
    pub(super) async fn end_if_over(&self) {
        let is_over = {
            let state = self.state.borrow();
            let Some(restore) = &state.restore else {
                return;
            };
            let mut incoming = state.sessions.values().filter(|held| held.incoming);
            let participants = restore.record.participants.iter();
            let all_serve = participants
                .clone()
                .all(|known| restore.progress.restored.contains(&known.name));
            if restore.overdue {
                incoming.all(|held| held.session.is_some() && !held.busy)
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
            to_kernel: super::view::kernel_release(),
            timeline,
        };
        self.settle_workloads();
        if let Err(why) = self.notes.set_record(None) {
            tracing::error!("the notes: {why}");
        }
        self.enter(Phase::Normal);
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
                workload.link.is_none() && state.sessions_of(name).next().is_none()
            });
            gone.map(|(name, _)| name.clone()).collect()
        };
        for name in gone {
            self.forget(&name);
        }
    }
}
