// SPDX-License-Identifier: MIT OR Apache-2.0
//! The agent's copies of sessions: how one gets here, and how it goes.
//!
//! ```text
//! made, given, claimed --has, put_into_store--> here --let_go (outgoing), finish_held (incoming)--> gone
//! ```
//!
//! Whether the descriptor store has it, too, is in `stored`. The callers (`session`, `claim`,
//! `unclaimed`, `workload`) have decided that it may come or go.

use std::time::Duration;

use luo_sys::Session;
use luo_varlink::TimelineKind;

use super::Agent;
use super::clock::after;
use super::timeline::Line;
use crate::aside::Aside;
use crate::decide::failed::Failed;
use crate::kernel::Kernel;

/// How long sessions may be on their way from the kernel.
const ARRIVAL: Duration = Duration::from_secs(10);

/// How long a session may be on its way out.
const PATIENCE: Duration = Duration::from_secs(3);

impl Agent {
    /// Takes a session in; `stored` says whether it is in the store.
    pub(super) fn has(&self, name: &str, session: Aside<Session>, stored: bool) {
        let is_elsewhere = {
            let mut state = self.state.borrow_mut();
            state.sessions.get_mut(name).is_some_and(|held| {
                held.session = Some(session);
                held.busy = false;
                held.stored = stored;
                std::mem::take(&mut held.elsewhere)
            })
        };
        if stored && is_elsewhere {
            self.put_anew(name);
        }
        self.mind_the_store();
        self.changed.notify_waiters();
    }

    /// Closes the agent's copy of a session and forgets it.
    pub(super) fn let_go(&self, name: &str) {
        let held = self.state.borrow_mut().sessions.remove(name);
        if let Some(held) = &held
            && !held.incoming
        {
            self.state.borrow_mut().parted.put(name, &held.workload);
        }
        if let Some(session) = held.and_then(|held| held.session) {
            self.unstore(name);
            self.close(name, session);
        }
        self.changed.notify_waiters();
    }

    /// Closes the agent's copy of a session, and notes when that is done.
    pub(super) fn close(&self, name: &str, session: Aside<Session>) {
        let Some(closed) = session.close() else {
            return;
        };
        self.state.borrow_mut().sessions.close(name, false);
        let name = name.to_owned();
        self.begin_task(async move |agent| {
            // It is closed, too, if the thread does not say so.
            let _ = closed.await;
            agent.state.borrow_mut().sessions.close(&name, true);
            agent.changed.notify_waiters();
        });
    }

    /// Waits until no session of a name that the agent has let go of is being closed.
    ///
    /// # Errors
    /// EBUSY: the kernel does not let go of it in time.
    pub(super) async fn is_closed(&self, name: &str, call: &str) -> Result<(), Failed> {
        let is_closed = |agent: &Self| !agent.state.borrow().sessions.is_closing(name);
        // Most of the time it is, and no deadline is needed, which takes a thread.
        if is_closed(self) {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = self.until(is_closed) => Ok(()),
            () = after(PATIENCE) => Err(Failed::busy(call)),
        }
    }

    /// Closes the agent's copies of a workload's outgoing sessions, but for those that it
    /// has left.
    pub(super) fn drop_outgoing(&self, workload: &str) {
        let names: Vec<_> = {
            let state = self.state.borrow();
            let own = state.sessions.of(workload);
            // One that the kernel is making goes when it is made.
            let outgoing = own.filter(|(_, held)| !(held.incoming || held.parked || held.busy));
            outgoing.map(|(name, _)| name.clone()).collect()
        };
        for name in &names {
            self.let_go(name);
        }
    }

    /// Notes that the kernel did not give a session. If the kernel does not have it at all,
    /// the session is forgotten; else it can be claimed again.
    pub(super) fn not_taken(&self, name: &str, why: &Failed) {
        if why.is_no_session() {
            tracing::error!(session = name, "the kernel does not have it: {why}");
            self.gone(name);
            return;
        }
        if let Some(held) = self.state.borrow_mut().sessions.get_mut(name) {
            held.busy = false;
            held.elsewhere = false;
        }
        self.changed.notify_waiters();
    }

    /// Forgets a session of the previous kernel that is finished, or that another process
    /// has taken.
    pub(super) fn gone(&self, name: &str) {
        let held = self.state.borrow_mut().sessions.remove(name);
        if held.is_some_and(|held| held.session.is_some()) {
            self.unstore(name);
        }
        self.finished(name);
        self.changed.notify_waiters();
    }

    /// Finishes a session of the previous kernel that is marked as busy, whether the agent has
    /// it or the kernel alone. `then` is done when it is finished, be that late: whoever asks is
    /// told when the kernel takes too long, and it is finished all the same.
    pub(super) async fn finish_held(
        &self,
        name: &str,
        then: impl FnOnce(&Self) + 'static,
    ) -> Result<(), Failed> {
        let here = {
            let mut state = self.state.borrow_mut();
            let Some(held) = state.sessions.get_mut(name) else {
                return Ok(());
            };
            held.finishing = true;
            held.session.take()
        };
        let wanted = name.to_owned();
        let job = move |kernel: &mut dyn Kernel| {
            let session = match here {
                Some(session) => session,
                None => kernel.retrieve(&wanted)?.into(),
            };
            Ok((kernel.finish(&session), session))
        };
        let name = name.to_owned();
        let then = move |agent: &Self, ended, is_late| {
            let ended = agent.has_finished(&name, ended, is_late);
            if ended.is_ok() {
                then(agent);
            }
            // Nobody is there who would look whether that was the last.
            if is_late {
                agent.end_if_over();
            }
            ended
        };
        self.to_its_end("FINISH of a session", "FINISH", job, then)
            .await?
    }

    /// Notes what has come of finishing a session.
    fn has_finished(
        &self,
        name: &str,
        ended: Result<(Result<(), Failed>, Aside<Session>), Failed>,
        is_late: bool,
    ) -> Result<(), Failed> {
        if let Some(held) = self.state.borrow_mut().sessions.get_mut(name) {
            held.finishing = false;
        }
        let session = match ended {
            Ok((Ok(()), session)) => session,
            Ok((Err(why), session)) => {
                let stored = self.store.has(name);
                self.has(name, session, stored);
                return Err(why);
            }
            // Another process has taken it from the kernel, without the agent.
            Err(why) if why.is_taken() => {
                self.gone(name);
                return Err(why);
            }
            Err(why) => {
                self.not_taken(name, &why);
                return Err(why);
            }
        };
        let workload = {
            let mut state = self.state.borrow_mut();
            let workload = state.sessions.remove(name).map(|held| held.workload);
            let owner = workload.as_ref();
            let owner = owner.and_then(|owner| state.workloads.get_mut(owner));
            if let Some(link) = owner.and_then(|owner| owner.link.as_mut())
                && is_late
            {
                link.finished.insert(name.to_owned());
            }
            workload
        };
        drop(session);
        self.unstore(name);
        self.finished(name);
        let line = workload.as_deref().map_or_else(Line::default, Line::of);
        self.note(TimelineKind::Finished, line.with(name));
        self.changed.notify_waiters();
        Ok(())
    }

    /// Finishes a session of the previous kernel that nobody claims, which is marked as
    /// busy. `then` is as of [`Agent::finish_held`].
    pub(super) async fn release_incoming(
        &self,
        name: &str,
        then: impl FnOnce(&Self) + 'static,
    ) -> Result<(), Failed> {
        if let Err(why) = self.heed_hang("FINISH") {
            self.not_taken(name, &why);
            return Err(why);
        }
        self.finish_held(name, then).await
    }

    /// Waits until no call of the kernel about a session is under way; says whether that
    /// came about in time.
    pub(super) async fn all_have_arrived(&self) -> bool {
        let arrived = self.until(|agent| !agent.state.borrow().sessions.any_busy());
        tokio::time::timeout(ARRIVAL, arrived).await.is_ok()
    }

    /// Forgets a workload that is gone, and closes the outgoing sessions that it leaves.
    pub(super) fn forget(&self, name: &str) {
        self.drop_outgoing(name);
        let mut state = self.state.borrow_mut();
        let in_record = state.restore.as_ref().is_some_and(|restore| {
            let mut participants = restore.record.participants.iter();
            participants.any(|participant| participant.name == name)
        });
        let away = state.sessions.state_of_absent(name);
        match (state.workloads.get_mut(name), away) {
            // A session that it has left is kept, and so is one that could not be finished: only
            // this workload owns it.
            (Some(workload), Some(away)) => {
                workload.link = None;
                workload.state = away;
            }
            // The status lists the participants of an update until it is over.
            (Some(_), None) if !in_record => drop(state.workloads.remove(name)),
            _ => {}
        }
        drop(state);
        self.note_owner(name);
        self.changed.notify_waiters();
    }
}
