// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sessions of the previous kernel that nobody claims: what becomes of them at the
//! deadline, or when an administrator finishes the update.
//!
//! | by the deadline its workload | the session |
//! |---|---|
//! | has claimed it | is kept for it, whether it is connected or not |
//! | is connected, and has not claimed it | luod takes it from the kernel and keeps it for it |
//! | is not connected | is released, or kept if so configured |
//!
//! The time in which luod itself stands still does not count, and what lies in the sockets by
//! the deadline is read before it is judged.

use std::rc::Rc;
use std::time::{Duration, Instant};

use luo_sys::Event as KernelEvent;
use luo_varlink::{Phase, admin};
use tokio::sync::oneshot;

use super::Agent;
use super::held::Held;
use super::noted::FINISH_RECORD;
use super::state::{State, Workload};
use crate::decide::config::Unclaimed;
use crate::decide::failed::Failed;
use crate::decide::names::OWN_SESSION;
use crate::kernel::Kernel;

/// How long to wait before trying again to release sessions that nobody has claimed.
const AGAIN: Duration = Duration::from_secs(10);

/// Whether a session of the previous kernel is unclaimed: its workload has gone again, or
/// the kernel still has it and no claim waits for it. Nobody is expected to claim what was
/// left while no update was under way.
fn is_unclaimed(state: &State, held: &Held) -> bool {
    let is_its = has_owner(state, held) && (held.session.is_some() || held.wanted);
    held.incoming && !held.busy && !held.parked && !is_its
}

/// Whether nobody is there for a session by the deadline. One that was claimed is kept, for
/// its workload may be on its way again: only an administrator gives it up.
fn is_nobodys(state: &State, held: &Held) -> bool {
    is_with_the_kernel(state, held) && !has_owner(state, held)
}

/// Whether nobody has claimed a session, and the kernel has it alone.
fn is_with_the_kernel(state: &State, held: &Held) -> bool {
    held.session.is_none() && is_unclaimed(state, held)
}

/// Whether a session is still with the kernel, and its workload is connected and has not asked
/// for it.
fn is_not_asked_for(state: &State, held: &Held) -> bool {
    is_with_the_kernel(state, held) && has_owner(state, held)
}

/// Whether the workload of a session is connected.
fn has_owner(state: &State, held: &Held) -> bool {
    let owner = state.workloads.get(&held.workload);
    owner.is_some_and(Workload::is_there)
}

/// A choice among sessions.
type Which = fn(&State, &Held) -> bool;

impl Agent {
    /// Starts the task that ends the waiting at the deadline.
    pub(super) fn watch_the_deadline(self: &Rc<Self>) {
        let agent = Rc::clone(self);
        let patience = self.config().restore_deadline.0;
        let is_over = self.time_left(patience);
        tokio::task::spawn_local(async move {
            // It does not pass twice: luod may have been restarted since.
            if !is_over {
                agent.wait_for_the_deadline(patience).await;
                agent.deadline().await;
            }
            // A session that could not be released then is tried again and again.
            while agent.config().unclaimed == Unclaimed::Finish && agent.is_restoring() {
                tokio::time::sleep(AGAIN).await;
                agent.clients_unread.is_over().await;
                agent.keep_for_the_connected().await;
                let unclaimed = agent.unclaimed(is_nobodys);
                agent.release_all(&unclaimed, is_nobodys).await;
                agent.end_if_over();
            }
        });
    }

    /// Notes how much time is left, for whoever looks. Says whether the deadline has passed
    /// already.
    fn time_left(&self, left: Duration) -> bool {
        let mut state = self.state.borrow_mut();
        let restore = state.restore.as_mut();
        restore.is_some_and(|restore| {
            restore.until = Instant::now().checked_add(left);
            restore.overdue
        })
    }

    /// Waits as long as workloads have.
    async fn wait_for_the_deadline(&self, patience: Duration) {
        let is_over = |agent: &Self| !agent.is_restoring();
        let left_now = |left| {
            let _ = self.time_left(left);
        };
        self.wait_patiently(patience, is_over, left_now).await;
    }

    fn is_restoring(&self) -> bool {
        self.state.borrow().restore.is_some()
    }

    /// Marks the deadline as passed: from here on no claim waits for other workloads.
    fn overdue(&self) {
        if let Some(restore) = &mut self.state.borrow_mut().restore {
            restore.overdue = true;
            restore.progress.overdue = true;
        }
        self.note_progress();
        self.changed.notify_waiters();
    }

    async fn deadline(&self) {
        if !self.is_restoring() {
            return;
        }
        // A workload that has asked in time is not late because luod was.
        self.clients_unread.is_over().await;
        self.overdue();
        let which = match self.config().unclaimed {
            Unclaimed::Keep => is_with_the_kernel,
            Unclaimed::Finish => {
                self.keep_for_the_connected().await;
                is_nobodys
            }
        };
        let unclaimed = self.unclaimed(which);
        if !unclaimed.is_empty() {
            let names = unclaimed.join(", ");
            match self.config().unclaimed {
                Unclaimed::Keep => tracing::warn!(
                    "the deadline has passed, and nobody has claimed: {names}. They are kept; \
                     `luoctl finish --release` releases them"
                ),
                Unclaimed::Finish => {
                    let (released, _) = self.release_all(&unclaimed, is_nobodys).await;
                    if !released.is_empty() {
                        tracing::error!(
                            "the deadline has passed, and nobody had claimed: {}. They are \
                             released, with all that was in them",
                            released.join(", ")
                        );
                    }
                }
            }
        }
        self.end_if_over();
    }

    /// Takes from the kernel what connected workloads have not asked for: it keeps no update
    /// from ending then, and is theirs whenever they do.
    async fn keep_for_the_connected(&self) {
        for name in self.unclaimed(is_not_asked_for) {
            // Since the list was made its workload may have asked for this one, or gone.
            if !self.mark_unclaimed(&name, is_not_asked_for) {
                continue;
            }
            let kept = |agent: &Self, name: &str| {
                let state = agent.state.borrow();
                let owner = state.sessions.get(name).map(|held| held.workload.clone());
                drop(state);
                let owner = owner.unwrap_or_default();
                // It has had no session, so it has not come back.
                if let Some(restore) = &mut agent.state.borrow_mut().restore {
                    restore.is_certain(&owner);
                }
                agent.note_owner(&owner);
                tracing::warn!(
                    session = name,
                    "the deadline has passed, and '{owner}' is connected and has not asked for \
                     it: it is kept for it"
                );
            };
            if let Err(why) = self.fetch(&name, kept).await {
                tracing::error!(session = name, "it could not be taken: {why}");
            }
        }
    }

    /// The sessions of the previous kernel that nobody has claimed.
    fn unclaimed(&self, which: Which) -> Vec<String> {
        let state = self.state.borrow();
        let sessions = state.sessions.iter();
        let unclaimed = sessions.filter(|(_, held)| which(&state, held));
        unclaimed.map(|(name, _)| name.clone()).collect()
    }

    /// Finishes sessions that nobody has claimed. Gives the names of those that it
    /// released, and why others were not.
    async fn release_all(&self, names: &[String], which: Which) -> (Vec<String>, Vec<Failed>) {
        let (mut released, mut failed) = (Vec::new(), Vec::new());
        for name in names {
            // Since the list was made a workload may have claimed this one.
            if !self.mark_unclaimed(name, which) {
                continue;
            }
            let session = name.clone();
            let then = move |agent: &Self| {
                tracing::warn!(session, "released: nobody has claimed it");
                if let Some(restore) = &mut agent.state.borrow_mut().restore {
                    restore.released.insert(session);
                }
            };
            match self.release_incoming(name, then).await {
                Ok(()) => released.push(name.clone()),
                Err(why) => {
                    tracing::error!(session = name, "it could not be released: {why}");
                    failed.push(why);
                }
            }
        }
        (released, failed)
    }

    /// Marks a session as busy if nobody has claimed it; says whether it has.
    fn mark_unclaimed(&self, name: &str, which: Which) -> bool {
        let mut state = self.state.borrow_mut();
        let held = state.sessions.get(name);
        if !held.is_some_and(|held| which(&state, held)) {
            return false;
        }
        if let Some(held) = state.sessions.get_mut(name) {
            held.busy = true;
        }
        true
    }

    /// Ends the update for an administrator.
    ///
    /// # Errors
    /// As [`admin::Error`] says.
    pub async fn finish(&self, release_unclaimed: bool) -> Result<Vec<String>, admin::Error> {
        self.state.borrow().phase.allows(KernelEvent::Finish)?;
        let unreadable = self.state.borrow().unreadable.clone();
        match unreadable {
            None => {}
            Some(_) if release_unclaimed => return self.give_up().await,
            Some(reason) => return Err(admin::Error::Unreadable { reason }),
        }
        let unclaimed = self.unclaimed(is_unclaimed);
        if !unclaimed.is_empty() && !release_unclaimed {
            return Err(admin::Error::Unclaimed {
                sessions: unclaimed,
            });
        }
        let (released, failed) = self.release_all(&unclaimed, is_unclaimed).await;
        self.overdue();
        // A claim that is under way at this moment is waited for; what the kernel hangs in is not.
        let have_arrived = failed.is_empty() && self.all_have_arrived().await;
        self.end_if_over();
        // A session that could not be finished and is here by now is in nobody's way.
        if !self.is_restoring() {
            return Ok(released);
        }
        match failed.into_iter().next() {
            Some(why) => Err(why.into()),
            // The update ends by itself when the kernel has answered.
            None if !have_arrived => Err(Failed::busy("FINISH").into()),
            None => Ok(released),
        }
    }

    /// Gives up a record that cannot be read. The sessions that it lists are not known, so
    /// they stay with the kernel. Until its own session is finished it is one that cannot be read.
    async fn give_up(&self) -> Result<Vec<String>, admin::Error> {
        self.heed_hang("FINISH")?;
        let job = |kernel: &mut dyn Kernel| kernel.finish_record();
        let then = |agent: &Self, (), _| agent.is_given_up();
        let ended = self.to_its_end(FINISH_RECORD, "FINISH", job, then).await?;
        if let Some(ended) = ended {
            // It has ended, too, if the task does not say so.
            let _ = ended.await;
        }
        // It may have been read in the last moment.
        match self.is_restoring() {
            true => Err(Failed::busy("FINISH").into()),
            false => Ok(Vec::new()),
        }
    }

    /// Ends the update whose record is given up; gives what waits for that.
    fn is_given_up(&self) -> Option<oneshot::Receiver<()>> {
        // Only one caller gets beyond this: a second one could end an update that has begun
        // since.
        let why = self.state.borrow_mut().unreadable.take()?;
        self.state.borrow_mut().unnoted_record = false;
        self.unstore(OWN_SESSION);
        if let Err(why) = self.notes.set_record(None) {
            tracing::error!("the notes: {why}");
        }
        let (tell, told) = oneshot::channel();
        self.begin_task(async move |agent| {
            agent.end_the_unreadable(&why).await;
            agent.enter(Phase::Normal);
            agent.tell_unowned().await;
            // Whoever has asked may be gone.
            let _ = tell.send(());
        });
        Some(told)
    }
}
