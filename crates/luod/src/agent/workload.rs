// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls of a workload about itself: it registers, answers, leaves its sessions with
//! the agent, unregisters; and its connection ends.

use std::collections::BTreeSet;

use luo_varlink::client::{Error, Registered};
use luo_varlink::limits::MAX_NEEDS;
use luo_varlink::{Phase, Step, TimelineKind, WorkloadState, admin};

use super::Agent;
use super::caller::{Caller, cut};
use super::held::Held;
use super::inbox::Inbox;
use super::noted::owner;
use super::shares;
use super::state::{Link, Said, State, Workload, states_of};
use super::timeline::Line;
use crate::decide::names;
use crate::journal::notes::Owner;

/// The state of a workload that has just registered.
fn joined(state: &State, name: &str) -> WorkloadState {
    let restore = state.restore.as_ref();
    let restore = restore.filter(|restore| {
        let mut participants = restore.record.participants.iter();
        participants.any(|participant| participant.name == name)
    });
    match restore {
        Some(restore) if restore.progress.restored.iter().any(|known| known == name) => {
            WorkloadState::Restored
        }
        Some(_) => WorkloadState::Restoring,
        None => WorkloadState::Running,
    }
}

/// How a workload leaves that may: what there is to note of it, and whether it is expected back
/// after the jump. Nothing is changed yet. `not_stored` says what may be why a session is not in
/// the store.
fn leaves(state: &State, name: &str, not_stored: &str) -> Result<(Option<Owner>, bool), Error> {
    let first = |which: fn(&Held) -> bool| {
        let mut own = state.sessions.of(name);
        let found = own.find(|(_, held)| which(held));
        found.map(|(session, _)| session.clone())
    };
    if let Some(lost) = first(|held| !(held.stored || held.parked)) {
        return Err(Error::Denied {
            reason: format!(
                "session '{lost}' could not be put into the descriptor store, so a crash of \
                 luod would lose it: {not_stored}"
            ),
        });
    }
    let unfinished = first(|held| held.incoming && (held.claimed || !held.parked));
    let is_quiet = state.update.is_none();
    let workload = state.workloads.get(name).ok_or(Error::NotRegistered)?;
    let is_awaited = match (workload.state, unfinished) {
        (WorkloadState::Ready, _) => true,
        (WorkloadState::Running | WorkloadState::Restored, None) if is_quiet => false,
        (_, Some(session)) if is_quiet => {
            return Err(Error::NotExpected {
                reason: format!(
                    "session '{session}' came from the previous kernel: claim it, and finish it, \
                     before you leave"
                ),
            });
        }
        _ => {
            return Err(Error::NotExpected {
                reason: "in an update a workload leaves after it has agreed to prepare, and \
                         before it is asked to freeze"
                    .to_owned(),
            });
        }
    };
    let known = owner(state, name);
    let note = known.map(|known| Owner {
        left: true,
        parked: known.sessions.clone(),
        ..known
    });
    Ok((note, is_awaited))
}

/// Has a workload leave, as it is noted.
fn leave(state: &mut State, name: &str, owner: Option<&Owner>, is_awaited: bool) {
    for session in owner.iter().flat_map(|owner| &owner.parked) {
        if let Some(held) = state.sessions.get_mut(session) {
            // One that was left before is in nobody's way still.
            held.awaited = is_awaited && !held.parked;
            held.parked = true;
        }
    }
    if let Some(workload) = state.workloads.get_mut(name) {
        workload.state = WorkloadState::Left;
        workload.link = None;
    }
}

impl Agent {
    /// Makes a connection a workload, which hears of events in its inbox from here on.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn register(
        &self,
        caller: &mut Caller,
        name: &str,
        needs: Vec<String>,
        inbox: Inbox,
    ) -> Result<Registered, Error> {
        if let Some(workload) = &caller.workload {
            return Err(Error::NotExpected {
                reason: format!("this connection is workload '{workload}' already"),
            });
        }
        self.check_name(&caller.identity, name)?;
        self.let_in(name)?;
        if needs.len() > MAX_NEEDS {
            let limit = format!("{MAX_NEEDS} workloads that one needs");
            return Err(Error::TooMany { limit });
        }
        for need in &needs {
            let bad = |why: names::BadName| Error::BadName {
                reason: format!("'{need}': {why}"),
            };
            names::check(need).map_err(bad)?;
            if need == name {
                return Err(Error::BadName {
                    reason: format!("'{need}' needs itself: it would be waited for for ever"),
                });
            }
        }
        let phase = self.take_place(caller, name, needs, inbox)?;
        caller.workload = Some(name.to_owned());
        self.note_owner(name);
        self.believe(name);
        self.changed.notify_waiters();
        let claimable = self.state.borrow().sessions.names_of(name);
        Ok(Registered { phase, claimable })
    }

    /// Keeps what a workload says of itself.
    ///
    /// # Errors
    /// [`Error::NotRegistered`]
    pub fn describe(&self, caller: &Caller, about: &str) -> Result<(), Error> {
        let name = caller.workload()?;
        let mut state = self.state.borrow_mut();
        let workload = state.workloads.get_mut(name);
        workload.ok_or(Error::NotRegistered)?.about = Some(cut(about));
        Ok(())
    }

    fn take_place(
        &self,
        caller: &Caller,
        name: &str,
        needs: Vec<String>,
        inbox: Inbox,
    ) -> Result<Phase, Error> {
        let mut state = self.state.borrow_mut();
        let phase = state.phase.0;
        if !matches!(phase, Phase::Normal | Phase::Updated) {
            return Err(Error::UpdateUnderWay { phase });
        }
        let link = Some(Link {
            connection: caller.connection,
            inbox,
            group: caller.group.clone(),
            finished: BTreeSet::new(),
        });
        let user = caller.identity.uid;
        let full = match state.workloads.contains_key(name) {
            true => Ok(()),
            false => shares::one_more_workload(&state, user, &self.policy().limits),
        };
        let joined = joined(&state, name);
        let result = match state.workloads.get_mut(name) {
            Some(known) if known.link.is_some() => Err(Error::WorkloadTaken {
                workload: name.to_owned(),
            }),
            Some(known) if !names::is_same(&known.identity, &caller.identity) => {
                Err(Error::Denied {
                    reason: format!(
                        "workload '{name}' has sessions of {}, and this is {}",
                        known.identity, caller.identity
                    ),
                })
            }
            Some(known) => {
                // A scope has another name each time.
                known.identity = caller.identity.clone();
                known.needs = needs;
                known.link = link;
                known.state = joined;
                Ok(phase)
            }
            None => full.map(|()| {
                let workload = Workload {
                    identity: caller.identity.clone(),
                    needs,
                    state: joined,
                    link,
                    late_at: None,
                    about: None,
                };
                state.workloads.insert(name.to_owned(), workload);
                phase
            }),
        };
        if result.is_ok() {
            for session in state.sessions.names_of(name) {
                if let Some(held) = state.sessions.get_mut(&session) {
                    held.claimed = false;
                    held.wanted = false;
                }
            }
        }
        result
    }

    /// Takes the answer of a workload.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn answer(
        &self,
        caller: &Caller,
        id: &str,
        step: Step,
        veto: Option<&str>,
    ) -> Result<(), Error> {
        let name = caller.workload()?;
        let unexpected = |reason: &str| Error::NotExpected {
            reason: reason.to_owned(),
        };
        let owns_more;
        let ear = {
            let mut state = self.state.borrow_mut();
            let update = state.update.as_ref().filter(|update| update.id == id);
            let update = update.ok_or_else(|| unexpected("the update of that id is over"))?;
            let ear = update.ear.clone();
            let (asked, agreed) = states_of(step);
            let workload = state.workloads.get_mut(name).ok_or(Error::NotRegistered)?;
            if workload.state != asked {
                return Err(unexpected("nobody has asked for that, or it is answered"));
            }
            let ear = ear.ok_or_else(|| unexpected("the update is being cancelled"))?;
            if veto.is_none() {
                workload.state = agreed;
            }
            owns_more = veto.is_none() && state.sessions.take_over(name);
            ear
        };
        if owns_more {
            self.note_owner(name);
        }
        let said = match veto {
            None => Said::Agreed(name.to_owned()),
            Some(reason) => Said::Off(admin::Error::Vetoed {
                workload: name.to_owned(),
                step,
                reason: cut(reason),
            }),
        };
        ear.send(said)
            .map_err(|_| unexpected("the update is being cancelled"))
    }

    /// Takes over the sessions of a workload that leaves: in an update once it is ready, or
    /// while none is under way.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn detach(&self, caller: &mut Caller) -> Result<(), Error> {
        let name = caller.workload()?.to_owned();
        self.look_at_the_store();
        if let Some(reason) = self.keeps_nothing() {
            return Err(Error::Denied { reason });
        }
        {
            let mut state = self.state.borrow_mut();
            if state.sessions.of(&name).next().is_none() && state.update.is_none() {
                // There is nothing to be kept.
                drop(state);
                return self.unregister(caller);
            }
            let not_stored = match self.store.is_behind() {
                Some(_) => "the service manager takes nothing just now; try again",
                None => "has the store room (FileDescriptorStoreMax=)?",
            };
            let (owner, is_awaited) = leaves(&state, &name, not_stored)?;
            // Nobody but the note knows of it if luod dies: without it the workload stays.
            self.note_as(&name, owner.as_ref())?;
            leave(&mut state, &name, owner.as_ref(), is_awaited);
        }
        caller.workload = None;
        // The same channel keeps `Left` behind `Agreed`.
        let state = self.state.borrow();
        let ear = state.update.as_ref().and_then(|update| update.ear.clone());
        drop(state);
        let heard = ear.is_some_and(|ear| ear.send(Said::Left(name.clone())).is_ok());
        if !heard {
            self.note(TimelineKind::Left, Line::of(&name));
        }
        self.changed.notify_waiters();
        self.end_if_over();
        Ok(())
    }

    /// Ends the registration of a workload.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn unregister(&self, caller: &mut Caller) -> Result<(), Error> {
        let name = caller.workload()?.to_owned();
        let phase = self.state.borrow().phase.0;
        if !matches!(phase, Phase::Normal | Phase::Updated) {
            return Err(Error::UpdateUnderWay { phase });
        }
        caller.workload = None;
        // It does not want any more what it has claimed.
        self.state.borrow_mut().sessions.take_over(&name);
        self.part(&name, caller.connection);
        Ok(())
    }

    /// Notes that a connection is gone.
    pub fn disconnected(&self, caller: &mut Caller) {
        if let Some(name) = caller.workload.take() {
            self.tell_what_goes_with(&name);
            self.part(&name, caller.connection);
        }
    }

    /// Says which sessions end with a workload's connection. In an update none does: they go when
    /// that is off, and whoever forgets the workload then says so.
    pub(super) fn tell_what_goes_with(&self, name: &str) {
        let state = self.state.borrow();
        if state.update.is_some() {
            return;
        }
        let own = state.sessions.of(name);
        let going = own.filter(|(_, held)| !(held.incoming || held.parked));
        let going: Vec<_> = going.map(|(session, _)| session.as_str()).collect();
        if !going.is_empty() {
            let going = going.join(", ");
            // Only the kernel knows whether a program has a descriptor still.
            let text = format!(
                "workload '{name}' is gone, and luod lets go of what it has not left: {going}. A \
                 session ends with its last descriptor: one that another program holds is in \
                 `luoctl sessions`, and the update takes it along as nobody's"
            );
            self.quiet.warn(&text);
        }
    }

    /// Parts from a workload whose connection ends. After the jump its incoming sessions
    /// wait for it; else the agent closes its copies, and forgets the workload.
    fn part(&self, name: &str, connection: u64) {
        let mut borrowed = self.state.borrow_mut();
        let state = &mut *borrowed;
        let is_its = |workload: &&mut Workload| {
            let link = workload.link.as_ref();
            link.is_some_and(|link| link.connection == connection)
        };
        let Some(workload) = state.workloads.get_mut(name).filter(is_its) else {
            return;
        };
        workload.link = None;
        let step = match workload.state {
            WorkloadState::Freezing | WorkloadState::Frozen => Step::Freeze,
            _ => Step::Prepare,
        };
        if state.phase.0 == Phase::Jumping {
            // The shutdown before the jump has ended this workload. If the jump does not
            // come to pass, the workload finds its sessions here.
            workload.state = WorkloadState::Left;
            drop(borrowed);
            self.note_owner(name);
            self.note(TimelineKind::Left, Line::of(name));
            return;
        }
        if state.update.is_some() {
            // Its sessions go when the update has been undone: until then none may change.
            workload.state = WorkloadState::Lost;
            state.doom(admin::Error::Lost {
                workload: name.to_owned(),
                step,
            });
            drop(borrowed);
            self.note(TimelineKind::Lost, Line::of(name));
            self.changed.notify_waiters();
            return;
        }
        drop(borrowed);
        self.forget(name);
    }
}
