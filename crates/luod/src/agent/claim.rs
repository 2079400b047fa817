// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls about incoming sessions: a workload claims one ([`Agent::claim`]), and
//! finishes it ([`Agent::finish_session`]).
//!
//! ```text
//! with the kernel --retrieve--> with the agent, and the workload --finish--> gone
//! ```
//!
//! Closing the last descriptor of a session of the previous kernel finishes it. So the
//! agent keeps each session that it has taken from the kernel, even if the workload that
//! asked for it has gone.

use std::os::fd::OwnedFd;

use luo_sys::Session;
use luo_varlink::client::{Claimed, Error};
use luo_varlink::{Phase, TimelineKind, WorkloadState};

use super::Agent;
use super::caller::Caller;
use super::held::Held;
use super::state::State;
use super::timeline::Line;
use crate::decide::failed::Failed;
use crate::kernel::{Kernel, duplicate};

/// The next step of a claim.
enum Turn {
    /// Other workloads have to serve first.
    Wait,
    /// Another call of the kernel about the session is under way.
    Busy,
    /// The agent has the session.
    Here(Claimed, OwnedFd),
    /// The kernel has the session, which counts as busy from here on.
    Retrieve,
}

/// The situation that a call to finish a session meets.
enum Ending {
    /// It was finished when nobody waited for that any more.
    Over,
    /// It is being finished.
    UnderWay,
    /// It is to be finished now.
    Begins,
}

impl Agent {
    /// Takes a session back for its workload; gives its descriptor.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn claim(&self, caller: &Caller, name: &str) -> Result<(Claimed, OwnedFd), Error> {
        let workload = caller.workload()?.to_owned();
        loop {
            let changed = self.changed.notified();
            match self.turn(&workload, name)? {
                Turn::Wait => changed.await,
                Turn::Busy => {
                    let is_free = |agent: &Self| !agent.state.borrow().sessions.is_busy(name);
                    self.until_in_time("RETRIEVE_SESSION", is_free).await?;
                }
                Turn::Here(claimed, fd) => return Ok((claimed, fd)),
                Turn::Retrieve => break,
            }
        }
        // The workload may go meanwhile, or not wait any longer, and this future with it. The
        // session must not.
        let taking = self.fetch(name, move |agent, name| agent.has_taken(&workload, name));
        Ok((Claimed { incoming: true }, taking.await??))
    }

    /// Decides the next step of a claim.
    fn turn(&self, workload: &str, name: &str) -> Result<Turn, Error> {
        let mut state = self.state.borrow_mut();
        let missing = || Error::NoSuchSession {
            session: name.to_owned(),
        };
        let held = state.sessions.get(name);
        let held = held.filter(|held| held.workload == workload);
        let held = held.ok_or_else(missing)?;
        let waits = waits_for_others(&state, workload, held);
        let held = state.sessions.get_mut(name).ok_or_else(missing)?;
        held.wanted = true;
        if held.busy {
            return Ok(Turn::Busy);
        }
        if waits {
            return Ok(Turn::Wait);
        }
        let Some(session) = &held.session else {
            self.heed_hang("RETRIEVE_SESSION")?;
            held.busy = true;
            return Ok(Turn::Retrieve);
        };
        let fd = duplicate(session)?;
        let incoming = held.incoming;
        held.ungiven = false;
        // One that was left stays in custody until its claimer says what becomes of it: whoever
        // goes before that leaves it as it was.
        let is_first = !std::mem::replace(&mut held.claimed, true);
        drop(state);
        if is_first {
            self.note(TimelineKind::Claimed, Line::of(workload).with(name));
        }
        Ok(Turn::Here(Claimed { incoming }, fd))
    }

    /// Notes that a workload has a session that it has asked for.
    fn has_taken(&self, workload: &str, name: &str) {
        if let Some(held) = self.state.borrow_mut().sessions.get_mut(name) {
            held.claimed = true;
        }
        self.note_owner(workload);
        self.note(TimelineKind::Claimed, Line::of(workload).with(name));
    }

    /// Has the agent have a session that is marked as busy, and that the kernel has alone, and
    /// does `then` when it has, be that late. Gives a descriptor of it; if no other can be made
    /// now, the agent has it all the same.
    pub(super) async fn fetch(
        &self,
        name: &str,
        then: impl FnOnce(&Self, &str) + 'static,
    ) -> Result<Result<OwnedFd, Failed>, Failed> {
        let (wanted, place) = (name.to_owned(), self.store.place(name));
        let job = move |kernel: &mut dyn Kernel| {
            let session = kernel.retrieve(&wanted)?;
            // The store gets it at once: if luod were killed before, the kernel would
            // see the session closed, and finish it.
            let stored = place.fill(&session);
            Ok((session, stored))
        };
        let name = name.to_owned();
        let then = move |agent: &Self, taken, _| {
            let taken = agent.has_arrived(&name, taken);
            if taken.is_ok() {
                then(agent, &name);
            }
            // After the deadline this may have been the last that was waited for.
            agent.end_if_over();
            taken
        };
        let call = "RETRIEVE_SESSION";
        self.to_its_end(call, call, job, then).await?
    }

    /// Notes what has come of taking a session from the kernel.
    fn has_arrived(
        &self,
        name: &str,
        taken: Result<(Session, bool), Failed>,
    ) -> Result<Result<OwnedFd, Failed>, Failed> {
        if !matches!(taken, Ok((_, true))) {
            self.store.vacate(name);
        }
        match taken {
            Ok((session, stored)) => {
                let given = duplicate(&session);
                self.has(name, session.into(), stored);
                Ok(given)
            }
            Err(why) => {
                self.not_taken(name, &why);
                Err(why)
            }
        }
    }

    /// Finishes a session of the previous kernel for its workload. One that is being finished
    /// already, for this workload or another process of it, is waited for.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn finish_session(&self, caller: &Caller, name: &str) -> Result<(), Error> {
        let workload = caller.workload()?.to_owned();
        loop {
            match self.ending(&workload, name)? {
                Ending::Over => return Ok(()),
                Ending::UnderWay => {
                    let is_over = |agent: &Self| !agent.state.borrow().sessions.is_finishing(name);
                    self.until_in_time("FINISH", is_over).await?;
                }
                Ending::Begins => break,
            }
        }
        let then = move |agent: &Self| {
            agent.note_owner(&workload);
            agent.believe(&workload);
            agent.end_if_over();
        };
        Ok(self.finish_held(name, then).await?)
    }

    /// Decides what a call to finish a session does. One that begins counts as busy from here on.
    fn ending(&self, workload: &str, name: &str) -> Result<Ending, Error> {
        let mut state = self.state.borrow_mut();
        let known = state.workloads.get_mut(workload);
        if known.is_some_and(|known| known.has_finished(name)) {
            return Ok(Ending::Over);
        }
        let held = state.sessions.get(name);
        let own = held.filter(|held| held.workload == workload);
        if own.is_some_and(|held| held.finishing) {
            return Ok(Ending::UnderWay);
        }
        let phase = state.phase.0;
        if state.update.is_some() && !may_finish(&state, workload) {
            return Err(Error::UpdateUnderWay { phase });
        }
        let held = self.own(&state, workload, name)?;
        if !held.incoming || held.session.is_none() {
            return Err(Error::NotExpected {
                reason: format!("session '{name}' was not claimed from the previous kernel"),
            });
        }
        self.heed_hang("FINISH")?;
        if let Some(held) = state.sessions.get_mut(name) {
            held.busy = true;
        }
        Ok(Ending::Begins)
    }
}

/// Whether a workload may finish a session in an update that is under way: until it has agreed it
/// may put in order what it has, for no record tells the next kernel of that yet.
fn may_finish(state: &State, workload: &str) -> bool {
    use WorkloadState::{Preparing, Restored, Restoring, Running};
    let known = state.workloads.get(workload);
    let is_free = known
        .is_some_and(|known| matches!(known.state, Running | Preparing | Restoring | Restored));
    is_free && matches!(state.phase.0, Phase::Preparing | Phase::Cancelling)
}

/// Whether workloads that this one needs have to serve before it may have a session of
/// the previous kernel. After the deadline no claim waits for other workloads.
fn waits_for_others(state: &State, workload: &str, held: &Held) -> bool {
    let Some(restore) = state.restore.as_ref() else {
        return false;
    };
    if restore.overdue || !held.incoming {
        return false;
    }
    let participants = &restore.record.participants;
    let own = participants.iter().find(|known| known.name == workload);
    own.is_some_and(|own| {
        own.needs.iter().any(|need| {
            let mut others = participants.iter();
            let takes_part = others.any(|known| known.name == *need && !known.is_parked());
            takes_part && !restore.progress.restored.contains(need)
        })
    })
}
