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
use crate::kernel::duplicate;

/// How long the kernel may take to name what a workload says is a session.
const NAMING: Duration = Duration::from_secs(3);

/// A file that a workload is going to preserve.
#[derive(Debug)]
pub enum Declaration {
    /// The file.
    File(Aside<OwnedFd>),
    /// One of a kind that is not taken in, because its close may wait for somebody.
    NotTaken(Kind),
}

/// Files that the workloads of one user may have declared.
const MAX_DECLARED: usize = 8192;

impl Agent {
    /// Makes a session for a workload; gives its descriptor.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn create_session(&self, caller: &Caller, name: &str) -> Result<OwnedFd, Error> {
        let workload = caller.workload()?.to_owned();
        self.check_name(&caller.identity, name)?;
        self.is_no_stray(name)?;
        self.heed_hang("CREATE_SESSION")?;
        self.is_closed(name, "CREATE_SESSION").await?;
        self.reserve(caller, &workload, name)?;
        let made = {
            let name = name.to_owned();
            self.kernel.run(move |kernel| kernel.create(&name)).await
        };
        let given = made.and_then(|session| Ok((duplicate(&session)?, session)));
        match given {
            Ok((fd, session)) => {
                self.hold(name, session.into());
                self.unowned.borrow_mut().has_changed();
                let owner = owner(&self.state.borrow(), &workload);
                if let Err(why) = self.note_as(&workload, owner.as_ref()) {
                    self.let_go(name);
                    // If it is not closed in time, it is closed later.
                    let _ = self.is_closed(name, "CREATE_SESSION").await;
                    return Err(why.into());
                }
                Ok(fd)
            }
            Err(why) => {
                self.state.borrow_mut().sessions.remove(name);
                self.changed.notify_waiters();
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
        // A workload that has said that it is ready has no more to preserve.
        if known.state == WorkloadState::Ready {
            return Err(Error::UpdateUnderWay { phase });
        }
        if state.sessions.get(name).is_some() {
            return Err(Failed::new("CREATE_SESSION", luo_sys::Errno::EEXIST).into());
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
            None => {
                self.reserve(caller, &workload, name)?;
                self.state.borrow_mut().take_in_stray(name);
            }
        }
        self.hold(name, session);
        self.note_owner(&workload);
        Ok(())
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
            return self.release(name).await;
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
        let finishing = self.kernel.run(move |kernel| {
            let session = kernel.retrieve(&wanted)?;
            kernel.finish(&session)
        });
        match finishing.await {
            Ok(()) => {
                self.unowned.borrow_mut().has_changed();
                tracing::warn!(session = name, "released by an administrator, by force");
                self.note(TimelineKind::Finished, Line::text(name));
                Ok(())
            }
            Err(why) if why.is_no_session() => Err(admin::Error::NoSuchSession {
                session: name.to_owned(),
            }),
            Err(why) => Err(why.into()),
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
        let (workload, incoming, is_here) = {
            let mut state = self.state.borrow_mut();
            if state.update.is_some() {
                return Err(state.phase.illegal("release"));
            }
            // Sessions of the previous kernel wait for their workloads until the update is
            // over.
            let restoring = state.restore.is_some();
            let held = state.sessions.get(name).filter(|held| !held.busy);
            let held = held.ok_or_else(missing)?;
            let owner = state.workloads.get(&held.workload);
            owner
                .filter(|owner| !owner.is_there())
                .ok_or_else(missing)?;
            if held.incoming && restoring && !held.parked {
                return Err(state.phase.illegal("release"));
            }
            let is_here = held.session.is_some();
            let found = (held.workload.clone(), held.incoming, is_here);
            if let Some(held) = state.sessions.get_mut(name).filter(|held| held.incoming) {
                held.busy = true;
            }
            found
        };
        tracing::warn!(session = name, workload, "released by an administrator");
        if incoming {
            self.release_incoming(name, is_here).await?;
        } else {
            self.let_go(name);
            let _ = self.is_closed(name, "release").await;
        }
        let is_last = self.state.borrow().sessions.of(&workload).next().is_none();
        self.end_if_over();
        if is_last {
            self.forget(&workload);
        } else {
            self.note_owner(&workload);
        }
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
