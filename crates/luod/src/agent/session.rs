// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sessions: made for workloads, given back to them, held for them.
//!
//! What the agent holds is in the descriptor store too, from before a workload gets to
//! know of it until after the agent lets go of it.

use std::os::fd::OwnedFd;

use luo_sys::Session;
use luo_varlink::client::{Claimed, Declared, Error};
use luo_varlink::{Phase, TimelineKind, WorkloadState, admin};

use super::Agent;
use super::state::{Held, State};
use super::timeline::Line;
use super::workload::Caller;
use crate::kernel::{Failed, duplicate};
use crate::notes::Owner;

impl Agent {
    /// Makes a session for a workload; gives its descriptor.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn create_session(&self, caller: &Caller, name: &str) -> Result<OwnedFd, Error> {
        let workload = caller.workload()?.to_owned();
        self.check_name(&caller.identity, name)?;
        self.reserve(caller, &workload, name)?;
        let made = {
            let name = name.to_owned();
            self.kernel.run(move |kernel| kernel.create(&name)).await
        };
        let given = made.and_then(|session| Ok((duplicate(&session)?, session)));
        match given {
            Ok((fd, session)) => {
                self.hold(name, session);
                self.note_owner(&workload);
                Ok(fd)
            }
            Err(why) => {
                self.state.borrow_mut().sessions.remove(name);
                Err(why.into())
            }
        }
    }

    /// Takes a session's name for a workload, before the kernel is asked.
    fn reserve(&self, caller: &Caller, workload: &str, name: &str) -> Result<(), Error> {
        let mut state = self.state.borrow_mut();
        let phase = state.phase.0;
        if !matches!(phase, Phase::Normal | Phase::Preparing | Phase::Updated) {
            return Err(Error::UpdateUnderWay { phase });
        }
        let known = state.workloads.get(workload).ok_or(Error::NotRegistered)?;
        // Who has said that it is ready has no more to preserve.
        if known.state == WorkloadState::Ready {
            return Err(Error::UpdateUnderWay { phase });
        }
        if state.sessions.contains_key(name) {
            return Err(Failed::new("CREATE_SESSION", luo_sys::Errno::EEXIST).into());
        }
        let limit = self.policy.limits(&caller.identity).sessions;
        if state.sessions_of(workload).count() >= limit {
            let limit = format!("{limit} sessions of a workload; the policy file says so");
            return Err(Error::TooMany { limit });
        }
        let held = Held {
            busy: true,
            ..Held::new(workload, None, false)
        };
        state.sessions.insert(name.to_owned(), held);
        Ok(())
    }

    /// The agent has a session from here on.
    fn hold(&self, name: &str, session: Session) {
        self.store.put(name, &session);
        let mut state = self.state.borrow_mut();
        if let Some(held) = state.sessions.get_mut(name) {
            held.session = Some(session);
            held.busy = false;
        }
    }

    /// A workload gives the agent a copy of a session again.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn attach_session(
        &self,
        caller: &Caller,
        name: &str,
        fd: OwnedFd,
    ) -> Result<(), Error> {
        let workload = caller.workload()?.to_owned();
        self.check_name(&caller.identity, name)?;
        // Asking the kernel is what tells a session from any other file.
        let session = Session::from_fd(fd);
        let kernels = session.name().map_err(|_| Error::BadDescriptor {
            reason: "it is not a session".to_owned(),
        })?;
        if kernels.as_bytes() != name.as_bytes() {
            return Err(Error::BadDescriptor {
                reason: format!("it is session '{kernels}'"),
            });
        }
        let known = {
            let state = self.state.borrow();
            let held = state.sessions.get(name);
            held.map(|held| {
                (
                    held.workload == workload,
                    held.session.is_some() || held.busy,
                )
            })
        };
        match known {
            Some((false, _)) => {
                return Err(Error::Denied {
                    reason: format!("session '{name}' is another workload's"),
                });
            }
            // It came out of the descriptor store already.
            Some((true, true)) => return Ok(()),
            // An earlier process of the agent gave it to the workload, and the record
            // of the previous kernel still has it.
            Some((true, false)) => {}
            None => self.reserve(caller, &workload, name)?,
        }
        self.hold(name, session);
        self.note_owner(&workload);
        Ok(())
    }

    /// The agent lets go of a session of a workload that is connected.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn drop_session(&self, caller: &Caller, name: &str) -> Result<(), Error> {
        let workload = caller.workload()?;
        {
            let state = self.state.borrow();
            self.own(&state, workload, name)?;
            let phase = state.phase.0;
            if state.update.is_some() {
                return Err(Error::UpdateUnderWay { phase });
            }
        }
        self.let_go(name);
        self.note_owner(workload);
        Ok(())
    }

    /// A session of a workload.
    fn own<'a>(&self, state: &'a State, workload: &str, name: &str) -> Result<&'a Held, Error> {
        let held = state.sessions.get(name);
        let own = held.filter(|held| held.workload == workload && !held.busy);
        own.ok_or_else(|| Error::NoSuchSession {
            session: name.to_owned(),
        })
    }

    /// Closes the agent's copy of a session and forgets it.
    pub(super) fn let_go(&self, name: &str) {
        let held = self.state.borrow_mut().sessions.remove(name);
        if held.is_some_and(|held| held.session.is_some()) {
            self.store.remove(name);
        }
        self.changed.notify_waiters();
    }

    /// Closes the agent's copies of a workload's outgoing sessions.
    pub(super) fn drop_outgoing(&self, workload: &str) {
        let names: Vec<_> = {
            let state = self.state.borrow();
            let outgoing = state
                .sessions_of(workload)
                .filter(|(_, held)| !held.incoming);
            outgoing.map(|(name, _)| name.clone()).collect()
        };
        for name in &names {
            self.let_go(name);
        }
    }

    /// A file is going to be preserved: looks at it.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn declare(
        &self,
        caller: &Caller,
        session: &str,
        token: u64,
        fd: OwnedFd,
    ) -> Result<Declared, Error> {
        let workload = caller.workload()?;
        let limit = self.policy.limits(&caller.identity).files;
        let report = self.check_file(session, token, &fd);
        let mut state = self.state.borrow_mut();
        self.own(&state, workload, session)?;
        let declared = state
            .sessions_of(workload)
            .map(|(_, held)| held.declared.len());
        if declared.sum::<usize>() as u64 >= limit {
            let limit = format!("{limit} files of a workload; the policy file says so");
            return Err(Error::TooMany { limit });
        }
        if let Some(held) = state.sessions.get_mut(session) {
            held.declared.insert(token, fd);
        }
        Ok(Declared { report })
    }

    /// Takes a session back for its workload; gives its descriptor.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn claim(&self, caller: &Caller, name: &str) -> Result<(Claimed, OwnedFd), Error> {
        let workload = caller.workload()?.to_owned();
        loop {
            let changed = self.changed.notified();
            if self.may_claim(&workload, name)? {
                break;
            }
            changed.await;
        }
        let incoming = {
            let mut state = self.state.borrow_mut();
            let held = state.sessions.get_mut(name);
            let held = held.ok_or_else(|| Error::NoSuchSession {
                session: name.to_owned(),
            })?;
            if let Some(session) = &held.session {
                let fd = duplicate(session)?;
                let incoming = held.incoming;
                drop(state);
                self.note(TimelineKind::Claimed, Line::of(&workload).with(name));
                return Ok((Claimed { incoming }, fd));
            }
            held.busy = true;
            held.incoming
        };
        let taken = {
            let name = name.to_owned();
            self.kernel.run(move |kernel| kernel.retrieve(&name)).await
        };
        match taken.and_then(|session| Ok((duplicate(&session)?, session))) {
            Ok((fd, session)) => {
                self.hold(name, session);
                self.note_owner(&workload);
                self.note(TimelineKind::Claimed, Line::of(&workload).with(name));
                Ok((Claimed { incoming }, fd))
            }
            Err(why) => {
                if let Some(held) = self.state.borrow_mut().sessions.get_mut(name) {
                    held.busy = false;
                }
                Err(why.into())
            }
        }
    }

    /// Whether a session can be claimed now; false if others have to serve first.
    fn may_claim(&self, workload: &str, name: &str) -> Result<bool, Error> {
        let state = self.state.borrow();
        let missing = || Error::NoSuchSession {
            session: name.to_owned(),
        };
        let held = state.sessions.get(name).ok_or_else(missing)?;
        if held.workload != workload {
            return Err(missing());
        }
        if held.busy {
            return Ok(false);
        }
        let Some(restore) = state.restore.as_ref().filter(|_| held.incoming) else {
            return Ok(true);
        };
        // After the deadline nobody waits for anybody.
        let participants = &restore.record.participants;
        let own = participants.iter().find(|known| known.name == workload);
        let waits_for = |need: &&String| {
            let takes_part = participants.iter().any(|known| known.name == **need);
            takes_part && !restore.progress.restored.contains(need)
        };
        let waits = own.is_some_and(|own| own.needs.iter().any(|need| waits_for(&need)));
        Ok(restore.overdue || !waits)
    }

    /// Finishes a session of the previous kernel for its workload.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn finish_session(&self, caller: &Caller, name: &str) -> Result<(), Error> {
        let workload = caller.workload()?.to_owned();
        {
            let mut state = self.state.borrow_mut();
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
        self.end_if_over().await;
        Ok(())
    }

    /// Finishes a session that the agent holds and has marked as busy.
    pub(super) async fn finish_held(&self, name: &str) -> Result<(), Failed> {
        let session = {
            let mut state = self.state.borrow_mut();
            state
                .sessions
                .get_mut(name)
                .and_then(|held| held.session.take())
        };
        let Some(session) = session else {
            return Ok(());
        };
        let (finished, session) = self
            .kernel
            .run(move |kernel| (kernel.finish(&session), session))
            .await;
        let mut state = self.state.borrow_mut();
        if let Err(why) = finished {
            if let Some(held) = state.sessions.get_mut(name) {
                held.session = Some(session);
                held.busy = false;
            }
            return Err(why);
        }
        let workload = state.sessions.remove(name).map(|held| held.workload);
        drop(state);
        drop(session);
        self.store.remove(name);
        self.finished(name);
        let line = workload.as_deref().map_or_else(Line::default, Line::of);
        self.note(TimelineKind::Finished, line.with(name));
        self.changed.notify_waiters();
        Ok(())
    }

    /// An administrator releases a session that is held for somebody who has left.
    ///
    /// # Errors
    /// As [`admin::Error`] says.
    pub fn release(&self, name: &str) -> Result<(), admin::Error> {
        let missing = || admin::Error::NoSuchSession {
            session: name.to_owned(),
        };
        let workload = {
            let state = self.state.borrow();
            if state.update.is_some() {
                return Err(state.phase.illegal("release"));
            }
            let held = state
                .sessions
                .get(name)
                .filter(|held| !held.incoming && !held.busy);
            let held = held.ok_or_else(missing)?;
            let owner = state.workloads.get(&held.workload);
            owner.filter(|owner| owner.is_away()).ok_or_else(missing)?;
            held.workload.clone()
        };
        tracing::warn!(session = name, workload, "released by an administrator");
        self.let_go(name);
        let is_last = self.state.borrow().sessions_of(&workload).next().is_none();
        if is_last {
            self.forget(&workload);
        } else {
            self.note_owner(&workload);
        }
        Ok(())
    }

    /// Notes who has sessions in the store, for the agent that comes after a crash.
    pub(super) fn note_owner(&self, workload: &str) {
        let owner = {
            let state = self.state.borrow();
            let held: Vec<_> = {
                let all = state.sessions_of(workload);
                all.filter(|(_, held)| held.session.is_some()).collect()
            };
            let sessions: Vec<_> = held.iter().map(|(name, _)| (*name).clone()).collect();
            let incoming = held.iter().filter(|(_, held)| held.incoming);
            let incoming = incoming.map(|(name, _)| (*name).clone()).collect();
            let known = state
                .workloads
                .get(workload)
                .filter(|_| !sessions.is_empty());
            known.map(|known| Owner {
                workload: workload.to_owned(),
                identity: known.identity.clone(),
                needs: known.needs.clone(),
                sessions,
                incoming,
                left: known.state == WorkloadState::Left,
            })
        };
        let noted = match owner {
            Some(owner) => self.notes.set_owner(&owner),
            None => self.notes.remove_owner(workload),
        };
        if let Err(why) = noted {
            tracing::error!(workload, "it cannot be noted who owns its sessions: {why}");
        }
    }
}
