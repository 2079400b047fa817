// SPDX-License-Identifier: MIT OR Apache-2.0
//! Notes of sessions, for the agent that is started after a crash of this one.

use std::rc::Rc;
use std::time::Duration;

use luo_varlink::WorkloadState;

use super::Agent;
use super::held::Held;
use super::state::State;
use crate::decide::failed::Failed;
use crate::decide::names::OWN_SESSION;
use crate::journal::notes::Owner;
use crate::kernel::Kernel;

/// A call that the kernel may hang in, as the subject of a sentence.
pub(super) const FINISH_RECORD: &str = "FINISH of the previous kernel's record";

/// How long to wait before a record that could not be noted is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// The note of a workload; nothing if it has no sessions here.
pub(super) fn owner(state: &State, workload: &str) -> Option<Owner> {
    let kept = |held: &Held| held.session.is_some() || held.parked;
    let held: Vec<_> = {
        let all = state.sessions.of(workload);
        all.filter(|(_, held)| kept(held)).collect()
    };
    let names = |which: fn(&Held) -> bool| {
        let some = held.iter().filter(|(_, held)| which(held));
        some.map(|(name, _)| (*name).clone()).collect::<Vec<_>>()
    };
    let known = state.workloads.get(workload);
    known.filter(|_| !held.is_empty()).map(|known| Owner {
        workload: workload.to_owned(),
        identity: known.identity.clone(),
        needs: known.needs.clone(),
        sessions: names(|_| true),
        incoming: names(|held| held.incoming),
        left: known.state == WorkloadState::Left,
        parked: names(|held| held.parked),
    })
}

impl Agent {
    /// Notes a workload that has sessions in the store, or that it has none any more. What
    /// has come about already is kept in memory if it cannot be noted.
    pub(super) fn note_owner(&self, workload: &str) {
        let owner = owner(&self.state.borrow(), workload);
        if let Err(why) = self.note_as(workload, owner.as_ref()) {
            tracing::error!(workload, "{why}");
        }
    }

    /// Notes a workload as it is or is about to be.
    ///
    /// # Errors
    /// It cannot be noted: what relies on it is refused then.
    pub(super) fn note_as(&self, workload: &str, owner: Option<&Owner>) -> Result<(), Failed> {
        let noted = match owner {
            Some(owner) => self.notes.set_owner(owner),
            None => self.notes.remove_owner(workload),
        };
        noted.map_err(|why| self.unnoted(&why))
    }

    pub(super) fn unnoted(&self, why: &std::io::Error) -> Failed {
        Failed::unnoted(self.notes.folder(), why)
    }

    /// Has the descriptor store keep the session of a record that cannot be noted: an agent
    /// that is started again reads it there.
    pub(super) async fn keep_record_in_store(&self, why: &std::io::Error) {
        let why = self.unnoted(why);
        let session = self.kernel.run(|kernel| kernel.own_session()).await;
        if session.is_some_and(|session| {
            self.store.has(OWN_SESSION) || self.store.put(OWN_SESSION, &session)
        }) {
            tracing::error!("the record of the previous kernel: {why}");
        } else {
            // luod goes on: if it ended here, the record's session would be closed, and the
            // record lost.
            tracing::error!(
                "the record of the previous kernel, so luod must not be restarted now: {why}"
            );
        }
    }

    /// Has the descriptor store keep the session of a record that the kernel has failed to give.
    pub(super) async fn keep_unread_in_store(&self) {
        let session = self.kernel.run(|kernel| kernel.own_session()).await;
        self.state.borrow_mut().unnoted_record = session.is_some();
        // Without one the kernel has it still, whatever becomes of luod.
        if let Some(session) = session
            && !(self.store.has(OWN_SESSION) || self.store.put(OWN_SESSION, &session))
        {
            tracing::error!(
                "the session of the previous kernel's record is in no descriptor store: if luod \
                 ends now, the record is lost"
            );
        }
    }

    /// Notes a record as soon as there is room for it. Until then its session is not
    /// finished.
    pub(super) fn note_record_later(self: &Rc<Self>, bytes: Vec<u8>) {
        if let Some(restore) = &mut self.state.borrow_mut().restore {
            restore.is_unnoted = true;
        }
        let agent = Rc::clone(self);
        let waits = |agent: &Self| {
            let state = agent.state.borrow();
            state
                .restore
                .as_ref()
                .is_some_and(|restore| restore.is_unnoted)
        };
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(AGAIN).await;
                if !waits(&agent) {
                    return;
                }
                if agent.notes.set_record(Some(&bytes)).is_ok() {
                    break;
                }
            }
            if let Some(restore) = &mut agent.state.borrow_mut().restore {
                restore.is_unnoted = false;
            }
            agent.state.borrow_mut().unnoted_record = false;
            tracing::info!("the record of the previous kernel is noted");
            agent.note_progress();
            agent.drop_kernels_record().await;
        });
    }

    /// Finishes the record's session, which the descriptor store may have, too. The record stands
    /// in the notes, so nobody waits for it; what the kernel hangs in is told.
    pub(super) async fn drop_kernels_record(&self) {
        let job = |kernel: &mut dyn Kernel| kernel.finish_record();
        let then = |agent: &Self, (), _| {
            agent.state.borrow_mut().unnoted_record = false;
            agent.unstore(OWN_SESSION);
        };
        if let Err(why) = self.to_its_end(FINISH_RECORD, "FINISH", job, then).await {
            tracing::error!("the session of the previous kernel's record: {why}");
        }
    }

    /// Notes that a session of the previous kernel is finished.
    pub(super) fn finished(&self, session: &str) {
        if let Some(restore) = &mut self.state.borrow_mut().restore {
            restore.progress.finished.push(session.to_owned());
        }
        self.note_progress();
    }

    pub(super) fn note_progress(&self) {
        let state = self.state.borrow();
        let Some(restore) = &state.restore else {
            return;
        };
        if let Err(why) = self.notes.set_progress(&restore.progress) {
            tracing::error!("it cannot be noted what is taken back: {why}");
        }
    }
}
