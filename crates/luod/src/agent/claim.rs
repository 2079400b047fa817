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
use std::rc::Rc;

use luo_sys::Errno;
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
    /// Other workloads have to serve first, or another call about the session is under way.
    Wait,
    /// The agent has the session.
    Here(Claimed, OwnedFd),
    /// The kernel has the session, which counts as busy from here on.
    Retrieve,
}

impl Agent {
    /// Takes a session back for its workload; gives its descriptor.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn claim(
        self: &Rc<Self>,
        caller: &Caller,
        name: &str,
    ) -> Result<(Claimed, OwnedFd), Error> {
        let workload = caller.workload()?.to_owned();
        loop {
            let changed = self.changed.notified();
            match self.turn(&workload, name)? {
                Turn::Wait => changed.await,
                Turn::Here(claimed, fd) => return Ok((claimed, fd)),
                Turn::Retrieve => break,
            }
        }
        // The workload may go meanwhile, and this future with it. The session must not.
        let (agent, name) = (Rc::clone(self), name.to_owned());
        let taking =
            tokio::task::spawn_local(async move { agent.take_back(&workload, &name).await });
        let taken = taking.await;
        taken.unwrap_or_else(|_| Err(Failed::new("RETRIEVE_SESSION", Errno::EIO).into()))
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
        let waits = held.busy || waits_for_others(&state, workload, held);
        let held = state.sessions.get_mut(name).ok_or_else(missing)?;
        held.wanted = true;
        if waits {
            return Ok(Turn::Wait);
        }
        let Some(session) = &held.session else {
            held.busy = true;
            return Ok(Turn::Retrieve);
        };
        let fd = duplicate(session)?;
        let incoming = held.incoming;
        // One that was left stays in custody until its claimer says what becomes of it: whoever
        // goes before that leaves it as it was.
        let is_first = !std::mem::replace(&mut held.claimed, true);
        drop(state);
        if is_first {
            self.note(TimelineKind::Claimed, Line::of(workload).with(name));
        }
        Ok(Turn::Here(Claimed { incoming }, fd))
    }

    /// Takes a session that is marked as busy from the kernel.
    async fn take_back(
        self: &Rc<Self>,
        workload: &str,
        name: &str,
    ) -> Result<(Claimed, OwnedFd), Error> {
        let given = match self.fetch(name).await {
            Ok(given) => given,
            Err(why) => {
                self.end_if_over();
                return Err(why.into());
            }
        };
        if let Some(held) = self.state.borrow_mut().sessions.get_mut(name) {
            held.claimed = true;
        }
        self.note_owner(workload);
        self.note(TimelineKind::Claimed, Line::of(workload).with(name));
        // After the deadline this may have been the last that was waited for.
        self.end_if_over();
        Ok((Claimed { incoming: true }, given?))
    }

    /// Has the agent have a session that is marked as busy, and that the kernel has alone.
    /// Gives a descriptor of it; if no other can be made now, the agent has it all the same.
    pub(super) async fn fetch(&self, name: &str) -> Result<Result<OwnedFd, Failed>, Failed> {
        let taken = {
            let (name, place) = (name.to_owned(), self.store.place(name));
            let job = move |kernel: &mut dyn Kernel| {
                let session = kernel.retrieve(&name)?;
                // The store gets it at once: if luod were killed before, the kernel would
                // see the session closed, and finish it.
                let stored = place.fill(&session);
                Ok((session, stored))
            };
            self.kernel.run(job).await
        };
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

    /// Finishes a session of the previous kernel for its workload.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn finish_session(&self, caller: &Caller, name: &str) -> Result<(), Error> {
        let workload = caller.workload()?.to_owned();
        {
            let mut state = self.state.borrow_mut();
            let phase = state.phase.0;
            if state.update.is_some() && !may_finish(&state, &workload) {
                return Err(Error::UpdateUnderWay { phase });
            }
            let held = self.own(&state, &workload, name)?;
            if !held.incoming || held.session.is_none() {
                return Err(Error::NotExpected {
                    reason: format!("session '{name}' was not claimed from the previous kernel"),
                });
            }
            if let Some(held) = state.sessions.get_mut(name) {
                held.busy = true;
            }
        }
        self.finish_held(name).await?;
        self.note_owner(&workload);
        self.believe(&workload);
        self.end_if_over();
        Ok(())
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
