// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls about outgoing sessions, those that an update will carry: a workload has one
//! made ([`Agent::create_session`]), gives the agent a copy again after a crash of the
//! agent ([`Agent::attach_session`]) and drops it ([`Agent::drop_session`]). Its files are declared
//! in `declare`; an administrator releases it in `release`.
//!
//! These functions decide whether a call is allowed now. The copy itself, in the state and
//! in the descriptor store, comes and goes in `keep`. Sessions of the previous kernel are
//! claimed and finished in `claim`.

use std::os::fd::OwnedFd;
use std::time::Duration;

use luo_sys::{Direction, Session, SessionName, SessionState};
use luo_varlink::client::Error;
use luo_varlink::{Phase, WorkloadState};
use tokio::time::Instant;

use super::Agent;
use super::caller::Caller;
use super::clock::after;
use super::held::Held;
use super::noted::owner;
use super::shares;
use crate::aside::{self, Aside};
use crate::decide::failed::Failed;
use crate::kernel::{Kernel, Opener, duplicate};

/// How long the kernel may take to name what a workload says is a session.
const NAMING: Duration = Duration::from_secs(3);

/// How long the service manager may take to close its copy of a session, and how often that is
/// looked for.
const CLOSING: Duration = Duration::from_secs(3);

/// After how long it is looked which other program has it.
const MOMENT: Duration = Duration::from_millis(500);
const AGAIN: Duration = Duration::from_millis(20);

/// A session that was asked for before.
enum Making {
    /// It is made.
    Done(Result<OwnedFd, Failed>),
    /// The kernel is at it.
    UnderWay,
}

impl Agent {
    /// Makes a session for a workload; gives its descriptor. One that the kernel was late with is
    /// given to who asks again.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn create_session(&self, caller: &Caller, name: &str) -> Result<OwnedFd, Error> {
        let workload = caller.workload()?.to_owned();
        self.check_name(&caller.identity, name)?;
        self.is_no_stray(name)?;
        while let Some(making) = self.made_before(&workload, name) {
            match making {
                Making::Done(fd) => return Ok(fd?),
                Making::UnderWay => {
                    let is_made = |agent: &Self| !agent.state.borrow().sessions.is_busy(name);
                    self.until_in_time("CREATE_SESSION", is_made).await?;
                }
            }
        }
        self.heed_hang("CREATE_SESSION")?;
        self.is_closed(name, "CREATE_SESSION").await?;
        let begun = Instant::now();
        let mut has_looked = false;
        loop {
            let why = match self.make(caller, &workload, name).await? {
                Ok(fd) => {
                    self.is_taken(name).await;
                    return Ok(fd);
                }
                Err(why) if why.is_there_already() => why,
                Err(why) => return Err(why.into()),
            };
            // Nobody answers that the copy in the store is closed.
            let is_closing = self.store.may_not_have_closed(name);
            if !is_closing || begun.elapsed() > MOMENT && !has_looked {
                has_looked = true;
                if let Some(held) = self.held_elsewhere(name, is_closing).await {
                    self.state.borrow_mut().parted.put(name, &workload);
                    return Err(held.into());
                }
                if !is_closing {
                    return Err(why.into());
                }
            }
            if begun.elapsed() > CLOSING {
                return Err(Failed::not_closed("CREATE_SESSION").into());
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Why a session of a name is there that the agent does not have, if that is known: some program
    /// has it open. As long as the service manager may have its copy still, only a program that can
    /// be seen counts.
    async fn held_elsewhere(&self, name: &str, is_closing: bool) -> Option<Failed> {
        let call = "CREATE_SESSION";
        let holders = self.holders_elsewhere(name).await;
        if !holders.is_empty() {
            return Some(Failed::held_elsewhere(call, &holders));
        }
        if is_closing {
            return None;
        }
        let asked = self.ask_kernel("LIST_SESSIONS", |kernel| kernel.sessions(Opener::Moment));
        let listed = asked.await.ok()?.ok()??;
        let mut listed = listed.iter().filter(|entry| {
            let is_new = entry.direction == Direction::Outgoing && !entry.of_device;
            let known = entry.name.as_ref().filter(|_| is_new);
            known.is_some_and(|known| known.to_string() == name)
        });
        match listed.next()?.state {
            SessionState::Open => Some(Failed::held_elsewhere(call, &[])),
            SessionState::Closed => Some(Failed::held_by_an_update(call)),
            _ => None,
        }
    }

    /// Has the kernel make a session.
    async fn make(
        &self,
        caller: &Caller,
        workload: &str,
        name: &str,
    ) -> Result<Result<OwnedFd, Failed>, Error> {
        self.reserve(caller, workload, name)?;
        let workload = workload.to_owned();
        let (wanted, session) = (name.to_owned(), name.to_owned());
        let job = move |kernel: &mut dyn Kernel| kernel.create(&wanted);
        let then = move |agent: &Self, made, is_late| {
            let made = agent.has_made(&workload, &session, made, is_late);
            if made.is_err() {
                agent.forget_if_away(&workload);
            }
            made
        };
        let call = "CREATE_SESSION";
        let made = self.to_its_end(call, call, job, then).await?;
        if made.is_err() {
            // If it is not closed in time, it is closed later.
            let _ = self.is_closed(name, call).await;
        }
        Ok(made)
    }

    /// A session that was asked for before, if there is one: its workload was told that the kernel
    /// is late with it, or has connected again since.
    fn made_before(&self, workload: &str, name: &str) -> Option<Making> {
        let mut state = self.state.borrow_mut();
        let held = state.sessions.get(name)?;
        if held.workload != workload || held.incoming {
            return None;
        }
        let held = state.sessions.get_mut(name)?;
        if held.busy {
            return Some(Making::UnderWay);
        }
        if !std::mem::take(&mut held.ungiven) {
            return None;
        }
        Some(Making::Done(duplicate(held.session.as_deref()?)))
    }

    /// Notes what has come of making a session. Nobody may wait for it any more.
    fn has_made(
        &self,
        workload: &str,
        name: &str,
        made: Result<Session, Failed>,
        is_late: bool,
    ) -> Result<OwnedFd, Failed> {
        let given = made.and_then(|session| Ok((duplicate(&session)?, session)));
        let (fd, session) = match given {
            Ok(given) => given,
            Err(why) => {
                self.state.borrow_mut().sessions.remove(name);
                self.changed.notify_waiters();
                return Err(why);
            }
        };
        self.has(name, session.into(), false);
        self.state.borrow_mut().parted.remove(name);
        self.unowned.borrow_mut().has_changed();
        let is_there = {
            let mut state = self.state.borrow_mut();
            if let Some(held) = state.sessions.get_mut(name) {
                held.ungiven = is_late;
            }
            let owner = state.workloads.get(workload);
            owner.is_some_and(super::state::Workload::is_there)
        };
        // One that nobody knows of goes with its workload.
        if is_late && !is_there {
            self.let_go(name);
            return Err(Failed::new("CREATE_SESSION", luo_sys::Errno::EIO));
        }
        let owner = owner(&self.state.borrow(), workload);
        if let Err(why) = self.note_as(workload, owner.as_ref()) {
            self.let_go(name);
            return Err(why);
        }
        self.put_into_store(name);
        Ok(fd)
    }

    /// Forgets a workload that has gone while a session was made for it.
    fn forget_if_away(&self, workload: &str) {
        let is_there = {
            let state = self.state.borrow();
            let known = state.workloads.get(workload);
            known.is_none_or(super::state::Workload::is_there) || state.update.is_some()
        };
        if !is_there {
            self.forget(workload);
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
        // A workload that has said that it is ready has no more to preserve.
        if known.state == WorkloadState::Ready {
            return Err(Error::UpdateUnderWay { phase });
        }
        if state.sessions.get(name).is_some() {
            return Err(Failed::new("CREATE_SESSION", luo_sys::Errno::EEXIST).into());
        }
        // From here on the name is that of another session.
        if let Some(known) = state.workloads.get_mut(workload) {
            known.has_finished(name);
        }
        let limit = self.policy().limits(&caller.identity).sessions;
        if state.sessions.of(workload).count() >= limit {
            let limit = format!("{limit} sessions of a workload; the policy file says so");
            return Err(Error::TooMany { limit });
        }
        let user = caller.identity.uid;
        let places = self.store.places();
        shares::one_more_session(&state, user, &self.policy().limits, places)?;
        let held = Held {
            busy: true,
            ..Held::new(workload, None, false)
        };
        state.sessions.insert(name, held);
        Ok(())
    }

    /// Takes a copy of a session that a workload gives the agent again.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn attach_session(
        &self,
        caller: &Caller,
        name: &str,
        fd: Aside<OwnedFd>,
    ) -> Result<(), Error> {
        caller.workload()?;
        self.check_name(&caller.identity, name)?;
        // Only the kernel can tell a session from another file, so it is asked for the
        // name.
        let (session, kernels) = named(fd).await?;
        if kernels.as_bytes() != name.as_bytes() {
            return Err(Error::BadDescriptor {
                reason: format!("it is session '{kernels}'"),
            });
        }
        self.give_back(caller, name, session)
    }

    /// Takes a copy of a session that the kernel has named.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub(super) fn give_back(
        &self,
        caller: &Caller,
        name: &str,
        session: Aside<Session>,
    ) -> Result<(), Error> {
        let workload = caller.workload()?.to_owned();
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
            // The session came out of the descriptor store already, and an earlier process of
            // the agent has given it to the workload.
            Some((true, true)) => {
                if let Some(held) = self.state.borrow_mut().sessions.get_mut(name) {
                    held.claimed = true;
                }
                return Ok(());
            }
            // An earlier process of the agent gave the session to the workload, and the
            // record of the previous kernel still lists it.
            Some((true, false)) => {}
            // It was finished while its workload was not connected, or did not wait for that.
            None if self.has_ended(&workload, name) => return Ok(()),
            None => {
                self.reserve(caller, &workload, name)?;
                self.state.borrow_mut().take_in_stray(name);
            }
        }
        self.has(name, session, false);
        self.note_owner(&workload);
        self.put_into_store(name);
        Ok(())
    }

    /// Whether a session of the previous kernel was finished for a workload without its knowing.
    fn has_ended(&self, workload: &str, name: &str) -> bool {
        let state = self.state.borrow();
        let known = state.workloads.get(workload);
        let link = known.and_then(|known| known.link.as_ref());
        link.is_some_and(|link| link.finished.contains(name))
    }

    /// Lets go of a session of a workload that is connected.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn drop_session(&self, caller: &Caller, name: &str) -> Result<(), Error> {
        let workload = caller.workload()?;
        {
            let state = self.state.borrow();
            let held = self.own(&state, workload, name)?;
            let phase = state.phase.0;
            if state.update.is_some() {
                return Err(Error::UpdateUnderWay { phase });
            }
            if held.incoming {
                return Err(Error::NotExpected {
                    reason: format!(
                        "session '{name}' came from the previous kernel: claim it, and finish it"
                    ),
                });
            }
        }
        self.let_go(name);
        self.note_owner(workload);
        // If the kernel does not let go of it in time, it does so later.
        let _ = self.is_closed(name, "DropSession").await;
        Ok(())
    }
}

/// Asks the kernel which session a descriptor is. On one that is something else, that call
/// may wait for whoever is behind it.
async fn named(fd: Aside<OwnedFd>) -> Result<(Aside<Session>, SessionName), Error> {
    let bad = |reason: &str| Error::BadDescriptor {
        reason: reason.to_owned(),
    };
    let none = || bad("it is not a session");
    let fd = fd.into_inner().ok_or_else(none)?;
    let naming = aside::run(move || {
        let session = Session::from_fd(fd);
        let name = session.name();
        (Aside::from(session), name)
    });
    let (session, name) = tokio::select! {
        biased;
        named = naming => named.map_err(|_| none())?,
        () = after(NAMING) => {
            return Err(bad("the kernel does not tell in time which session it is"));
        }
    };
    Ok((session, name.map_err(|_| none())?))
}
