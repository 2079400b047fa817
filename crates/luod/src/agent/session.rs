// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls about outgoing sessions, those that an update will carry: a workload has one
//! made ([`Agent::create_session`]), gives the agent a copy again after a crash of the
//! agent ([`Agent::attach_session`]), declares its files ([`Agent::declare`]) and drops it
//! ([`Agent::drop_session`]); an administrator releases one whose workload has left
//! ([`Agent::release`]).
//!
//! These functions decide whether a call is allowed now. The copy itself, in the state and
//! in the descriptor store, comes and goes in `keep`. Sessions of the previous kernel are
//! claimed and finished in `claim`.

use std::os::fd::OwnedFd;
use std::time::Duration;

use luo_preflight::file::Kind;
use luo_sys::{Session, SessionName};
use luo_varlink::client::{Declared, Error};
use luo_varlink::{Phase, TimelineKind, WorkloadState, admin};

use tokio::time::Instant;

use super::Agent;
use super::caller::Caller;
use super::clock::after;
use super::held::Held;
use super::noted::owner;
use super::shares;
use super::state::State;
use super::timeline::Line;
use crate::aside::{self, Aside};
use crate::decide::failed::Failed;
use crate::kernel::{Kernel, duplicate};

/// How long the kernel may take to name what a workload says is a session.
const NAMING: Duration = Duration::from_secs(3);

/// How long the service manager may take to close its copy of a session, and how often that is
/// looked for.
const CLOSING: Duration = Duration::from_secs(3);
const AGAIN: Duration = Duration::from_millis(20);

/// A file that a workload is going to preserve.
#[derive(Debug)]
pub enum Declaration {
    /// The file.
    File(Aside<OwnedFd>),
    /// One of a kind that is not taken in, because its close may wait for somebody.
    NotTaken(Kind),
}

/// A session that was asked for before.
enum Making {
    /// It is made.
    Done(Result<OwnedFd, Failed>),
    /// The kernel is at it.
    UnderWay,
}

/// Files that the workloads of one user may have declared.
const MAX_DECLARED: usize = 8192;

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
        loop {
            let made = self.make(caller, &workload, name).await?;
            match made {
                // Nobody answers that the copy in the store is closed.
                Err(why) if why.is_there_already() && self.store.may_not_have_closed(name) => {
                    if begun.elapsed() > CLOSING {
                        return Err(Failed::not_closed("CREATE_SESSION").into());
                    }
                    tokio::time::sleep(AGAIN).await;
                }
                Err(why) => return Err(why.into()),
                Ok(fd) => {
                    self.is_taken(name).await;
                    return Ok(fd);
                }
            }
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

    /// What there is of a session that was asked for before, and whose workload was told that the
    /// kernel is late with it, or has connected again since.
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
        // What the kernel does not let go of in time, it lets go of later.
        let _ = self.is_closed(name, "DropSession").await;
        Ok(())
    }

    /// Checks a file that is going to be preserved.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn declare(
        &self,
        caller: &Caller,
        session: &str,
        token: u64,
        file: Declaration,
    ) -> Result<Declared, Error> {
        let workload = caller.workload()?;
        let may = || {
            let state = self.state.borrow();
            self.own(&state, workload, session)?;
            self.may_declare(&state, caller, workload)
        };
        may()?;
        let report = match &file {
            Declaration::File(fd) => self.check_file(session, token, fd).await,
            Declaration::NotTaken(kind) => self.check_kind(session, token, *kind).await,
        };
        // Others may have come while the kernel was asked.
        may()?;
        let mut state = self.state.borrow_mut();
        if let (Some(held), Declaration::File(fd)) = (state.sessions.get_mut(session), file) {
            held.declared.insert(token, fd);
        }
        Ok(Declared { report })
    }

    /// Whether a workload may declare one more file. The agent has a descriptor of each,
    /// and they must last for everybody.
    fn may_declare(&self, state: &State, caller: &Caller, workload: &str) -> Result<(), Error> {
        let count = |workload: &str| -> usize {
            let own = state.sessions.of(workload);
            own.map(|(_, held)| held.declared.len()).sum()
        };
        let limit = self.policy().limits(&caller.identity).files;
        if count(workload) as u64 >= limit {
            let limit = format!("{limit} files of a workload; the policy file says so");
            return Err(Error::TooMany { limit });
        }
        let user = caller.identity.uid;
        let of_user = state.workloads.iter();
        let of_user = of_user.filter(|(_, workload)| workload.identity.uid == user);
        if of_user.map(|(name, _)| count(name)).sum::<usize>() >= MAX_DECLARED {
            let limit = format!("{MAX_DECLARED} declared files of a user");
            return Err(Error::TooMany { limit });
        }
        Ok(())
    }

    /// Releases for an administrator a session; with `force` one of the previous kernel that
    /// nobody has claimed and that this agent knows nothing of, where there is one of that name,
    /// and one whose note is gone.
    ///
    /// # Errors
    /// As [`admin::Error`] says.
    pub async fn release_or_force(&self, name: &str, force: bool) -> Result<(), admin::Error> {
        let is_ours = self.state.borrow().sessions.get(name).is_some();
        let is_foreign = async || {
            let unowned = self.look_for_unowned().await;
            unowned.names.iter().any(|unowned| unowned == name)
        };
        if !force || is_ours && !is_foreign().await {
            let released = self.release(name).await;
            return match released {
                Err(why) if force && self.let_go_of_unfinished(name, &why) => Ok(()),
                released => released,
            };
        }
        {
            let state = self.state.borrow();
            if state.update.is_some() {
                return Err(state.phase.illegal("release"));
            }
        }
        if self.release_stray(name).await {
            return Ok(());
        }
        self.heed_hang("RETRIEVE_SESSION")?;
        let wanted = name.to_owned();
        let job = move |kernel: &mut dyn Kernel| {
            let session = kernel.retrieve(&wanted)?;
            kernel.finish(&session)
        };
        let released = name.to_owned();
        let then = move |agent: &Self, ended: Result<(), Failed>, _| {
            if ended.is_ok() {
                agent.unowned.borrow_mut().has_changed();
                tracing::warn!(session = released, "released by an administrator, by force");
                agent.note(TimelineKind::Finished, Line::text(&released));
            }
            ended
        };
        let finishing = self.to_its_end("FINISH of a session", "FINISH", job, then);
        match finishing.await? {
            Err(why) if why.is_no_session() => Err(admin::Error::NoSuchSession {
                session: name.to_owned(),
            }),
            ended => Ok(ended?),
        }
    }

    /// Releases for an administrator a session that is held for a workload that has left.
    ///
    /// # Errors
    /// As [`admin::Error`] says.
    pub async fn release(&self, name: &str) -> Result<(), admin::Error> {
        let missing = || admin::Error::NoSuchSession {
            session: name.to_owned(),
        };
        let (workload, incoming) = {
            let mut state = self.state.borrow_mut();
            if state.update.is_some() {
                return Err(state.phase.illegal("release"));
            }
            let held = state.sessions.get(name).filter(|held| !held.busy);
            let held = held.ok_or_else(missing)?;
            let owner = state.workloads.get(&held.workload);
            owner
                .filter(|owner| !owner.is_there())
                .ok_or_else(missing)?;
            if state.ends_with_the_update(held) {
                return Err(state.phase.illegal("release"));
            }
            let found = (held.workload.clone(), held.incoming);
            if let Some(held) = state.sessions.get_mut(name).filter(|held| held.incoming) {
                held.busy = true;
            }
            found
        };
        let told = |name: &str, workload: &str| {
            tracing::warn!(session = name, workload, "released by an administrator");
        };
        if incoming {
            let released = name.to_owned();
            let then = move |agent: &Self| {
                told(&released, &workload);
                agent.has_released(&workload);
            };
            self.release_incoming(name, then).await?;
        } else {
            self.let_go(name);
            told(name, &workload);
            let _ = self.is_closed(name, "release").await;
            self.has_released(&workload);
        }
        Ok(())
    }

    /// Lets go of a session that the kernel has refused to finish, and that is here: the kernel
    /// finishes it by itself, as soon as it can, when nobody has it any more. Says whether it was
    /// one.
    fn let_go_of_unfinished(&self, name: &str, why: &admin::Error) -> bool {
        let held = {
            let mut state = self.state.borrow_mut();
            let held = state.sessions.get(name);
            let is_it = held.is_some_and(|held| {
                held.incoming && held.session.is_some() && !held.busy && !held.finishing
            });
            let was_refused = matches!(why, admin::Error::Kernel { .. });
            match is_it && was_refused {
                true => state.sessions.remove(name),
                false => None,
            }
        };
        let Some(held) = held else {
            return false;
        };
        tracing::warn!(
            session = name,
            workload = held.workload,
            "let go of by an administrator, by force; the kernel did not finish it: {why}"
        );
        self.unstore(name);
        if let Some(session) = held.session {
            self.close(name, session);
        }
        self.finished(name);
        self.note(TimelineKind::Finished, Line::of(&held.workload).with(name));
        self.unowned.borrow_mut().has_changed();
        self.has_released(&held.workload);
        true
    }

    /// A session of a workload was released: with its last one it is forgotten.
    fn has_released(&self, workload: &str) {
        let is_last = self.state.borrow().sessions.of(workload).next().is_none();
        self.end_if_over();
        if is_last {
            self.forget(workload);
        } else {
            self.note_owner(workload);
        }
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
