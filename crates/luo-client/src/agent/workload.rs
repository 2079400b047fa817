// SPDX-License-Identifier: MIT OR Apache-2.0
//! Taking part in updates.

use core::time::Duration;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Instant;

use luo_sys::{Session, SessionName, Token};
use luo_varlink::client::{Claimed, Declared, Error as Refusal, Method, Next, Registered};
use luo_varlink::limits::MAX_REASON;
use luo_varlink::{Event, EventKind, Report, Step};
use serde::de::DeserializeOwned;
use zlink_core::Call;

use super::caller::{Answer, Caller, Nothing, Waits};
use super::error::{Error, Result};
use super::held::{Held, knows};
use super::role::Role;

/// A session that was taken back.
#[derive(Debug)]
pub struct Claim {
    /// The session.
    pub session: Session,
    /// Whether it came from the previous kernel: then its files are to be retrieved, and
    /// [`Workload::finish_session`] ends it. Else it was in the agent's custody, and files
    /// may be added.
    pub incoming: bool,
}

/// A program that takes part in updates.
///
/// It keeps a copy of the descriptor of each of its sessions, as the agent does:
/// a session ends with [`Workload::drop_session`] or [`Workload::finish_session`], and
/// not when the [`Session`] that was given out is dropped.
///
/// A workload that is dropped is lost to the agent, as if the program had died: an
/// update that is under way is called off, and the agent lets go of its sessions for the
/// next kernel; those of the previous one wait for the same identity to register again.
/// [`Workload::unregister`] and [`Workload::detach`] leave in an orderly way.
///
/// ```text
/// register -> create_session -> next_event -> prepare -> ready -> freeze -> ready ==kexec==>
///                                   ^            |          |        |
///                                   `--- cancel -+----------+--------'
/// ==kexec==> register -> claim -> restored -> finish_session
/// ```
#[derive(Debug)]
pub struct Workload {
    pub(super) caller: Caller,
    pub(super) folder: PathBuf,
    pub(super) role: Role,
    pub(super) registered: Registered,
    pub(super) held: Held,
    /// The agent has been asked for an event, and has not answered.
    pub(super) asked: bool,
    /// An event that came while another call was made.
    pub(super) event: Option<Event>,
    /// The session that the agent was to make when it was lost.
    pub(super) unmade: Option<SessionName>,
    /// An agent was told that this workload serves again.
    pub(super) serves: bool,
}

impl Workload {
    /// The agent's answer when this workload registered: the phase, and the sessions that
    /// can be claimed.
    #[must_use]
    pub fn registered(&self) -> &Registered {
        &self.registered
    }

    /// The workload's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.role.name
    }

    /// Sets how long the agent has for an answer that waits for nobody; `None` sets no
    /// limit.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.caller.times.timeout = timeout;
    }

    /// Sets how long [`Workload::claim`] and [`Workload::finish_session`] wait; `None` sets no
    /// limit: the agent has its own for what the kernel takes. After that time the connection is
    /// given up.
    pub fn set_patience(&mut self, patience: Option<Duration>) {
        self.caller.times.patience = patience;
    }

    /// Sends a call and reads replies up to its own. If the agent was asked for an event
    /// before, that is answered first.
    fn send(&mut self, name: &'static str, method: Method, fd: Option<OwnedFd>) -> Result<()> {
        self.caller.send(name, &Call::new(method), fd)?;
        if core::mem::take(&mut self.asked) {
            match self.caller.receive::<Next, _>("NextEvent", Waits::Agent) {
                Ok(answer) => self.event = answer.parameters.event,
                // The agent answers this error again when the event is asked for again.
                Err(Error::Refused(_) | Error::Unknown { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn call<P>(
        &mut self,
        name: &'static str,
        method: Method,
        fd: Option<OwnedFd>,
        waits: Waits,
    ) -> Result<Answer<P>>
    where
        P: DeserializeOwned + core::fmt::Debug,
    {
        self.send(name, method, fd)?;
        self.caller.receive(name, waits)
    }

    fn tell(&mut self, name: &'static str, method: Method, fd: Option<OwnedFd>) -> Result<()> {
        self.tell_and_wait(name, method, fd, Waits::Agent)
    }

    fn tell_and_wait(
        &mut self,
        name: &'static str,
        method: Method,
        fd: Option<OwnedFd>,
        waits: Waits,
    ) -> Result<()> {
        self.send(name, method, fd)?;
        self.caller.receive_nothing(name, waits)
    }

    /// Makes a session, for the next kernel. The agent keeps a copy of its descriptor. If an
    /// agent was lost in the same call, and had made it, it is that one.
    ///
    /// # Errors
    /// Refused: [`Refusal::BadName`] (the agent takes UTF-8 only), [`Refusal::Denied`],
    /// [`Refusal::TooMany`], [`Refusal::UpdateUnderWay`], [`Refusal::Kernel`].
    pub fn create_session(&mut self, name: &SessionName) -> Result<Session> {
        let is_unmade = self.unmade.take() == Some(*name);
        if is_unmade && knows(&self.registered, name) && !self.held.has(name) {
            let made = self.claim(name);
            self.unmade = is_lost(&made).then_some(*name);
            match made {
                // One of the previous kernel is another one, as the agent will say.
                Ok(claim) if claim.incoming => {}
                made => return made.map(|claim| claim.session),
            }
        }
        let made = self.create(name);
        self.unmade = is_lost(&made).then_some(*name);
        made
    }

    fn create(&mut self, name: &SessionName) -> Result<Session> {
        let call = "CreateSession";
        let method = Method::CreateSession { name: text(name)? };
        self.send(call, method, None)?;
        let (_, fd) = self.caller.receive_fd::<Nothing, _>(call, Waits::Agent)?;
        let session = Session::from_fd(fd);
        self.keep(call, name, &session, false)?;
        Ok(session)
    }

    /// Gives the agent a copy of a session that it does not have: one that this program
    /// made or retrieved itself. [`Workload::reconnect`] does that for those it knows.
    ///
    /// # Errors
    /// Refused: [`Refusal::BadDescriptor`] if it is not the session of that name, else
    /// as [`Workload::create_session`].
    pub fn attach(&mut self, name: &SessionName, session: &Session) -> Result<()> {
        let call = "AttachSession";
        let method = Method::AttachSession { name: text(name)? };
        let copy = session.as_fd().try_clone_to_owned();
        let copy = copy.map_err(|why| Error::Os { call, why })?;
        self.tell(call, method, Some(copy))?;
        self.keep(call, name, session, false)
    }

    fn keep(
        &mut self,
        call: &'static str,
        name: &SessionName,
        session: &Session,
        incoming: bool,
    ) -> Result<()> {
        let kept = self.held.keep(name, session, incoming);
        kept.map_err(|why| {
            // This workload could not keep a copy, and the agent takes it for a holder of
            // the session. Hanging up has the agent close its copy.
            self.caller.hang_up();
            Error::Os { call, why }
        })
    }

    /// Says that a file is going to be preserved in a session, so that checks look at it:
    /// now, and before each update. The agent keeps a copy until the session is dropped.
    /// A check that failed is in the report, and no error.
    ///
    /// # Errors
    /// Refused: [`Refusal::NoSuchSession`], [`Refusal::BadDescriptor`],
    /// [`Refusal::TooMany`].
    pub fn declare(
        &mut self,
        session: &SessionName,
        token: Token,
        file: impl AsFd,
    ) -> Result<Report> {
        let call = "Declare";
        let copy = || {
            let copy = file.as_fd().try_clone_to_owned();
            copy.map_err(|why| Error::Os { call, why })
        };
        let kept = copy()?;
        let declared = declare(session, token)?;
        let answer: Answer<Declared> = self.call(call, declared, Some(copy()?), Waits::Agent)?;
        self.held.declare(session, token, kept);
        Ok(answer.parameters.report)
    }

    /// Ends a session for the next kernel: this workload and the agent close their
    /// copies. When the last one is closed, what is preserved in it is released.
    ///
    /// # Errors
    /// Refused: [`Refusal::NoSuchSession`], [`Refusal::UpdateUnderWay`].
    pub fn drop_session(&mut self, name: &SessionName) -> Result<()> {
        let method = Method::DropSession { name: text(name)? };
        self.tell("DropSession", method, None)?;
        self.held.forget(name);
        Ok(())
    }

    /// Waits for the next event, as long as it takes.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn next_event(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.event_until(None)? {
                return Ok(event);
            }
        }
    }

    /// Waits for the next event, so long at most. If none comes the connection goes on.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn next_event_within(&mut self, time: Duration) -> Result<Option<Event>> {
        self.event_until(Instant::now().checked_add(time))
    }

    /// Asks the agent for an event, unless it has been asked. When there is one, the
    /// descriptor can be read.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn request_event(&mut self) -> Result<()> {
        if self.asked || self.event.is_some() {
            return Ok(());
        }
        let call = Call::new(Method::NextEvent);
        self.caller.send("NextEvent", &call, None)?;
        self.asked = true;
        Ok(())
    }

    /// Gives the next event if one is there. Asks the agent for one, unless it was asked.
    ///
    /// In an event loop: call it until it gives nothing, then wait until the descriptor can
    /// be read. Do so after each other call as well, because another call ends the wait for
    /// an event, and an event may have come with its answer.
    ///
    /// ```no_run
    /// # use luo_client::agent::{Result, Workload};
    /// # fn handle(_: luo_client::agent::Event) {}
    /// # fn turn(workload: &mut Workload) -> Result<()> {
    /// while let Some(event) = workload.try_event()? {
    ///     handle(event);
    /// }
    /// // Now poll `workload.as_fd()` for input.
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`Error`].
    pub fn try_event(&mut self) -> Result<Option<Event>> {
        self.event_until(Some(Instant::now()))
    }

    fn event_until(&mut self, deadline: Option<Instant>) -> Result<Option<Event>> {
        self.request_event()?;
        if let Some(event) = self.event.take() {
            return Ok(Some(event));
        }
        let waits = Waits::Until(deadline);
        let answer = self.caller.receive::<Next, _>("NextEvent", waits);
        match answer {
            Err(Error::TimedOut { .. }) => Ok(None),
            other => {
                self.asked = false;
                Ok(other?.parameters.event)
            }
        }
    }

    /// Answers an event: this workload has done what was asked for.
    ///
    /// # Errors
    /// Refused: [`Refusal::NotExpected`], because the event is a cancel, the update is
    /// over, or the answer is late; a cancel is the next event then.
    pub fn ready(&mut self, event: &Event) -> Result<()> {
        self.answer(event, None)
    }

    /// Answers an event: this workload cannot do what was asked for, and the update has to
    /// be called off. The first 1,024 bytes of the reason are shown to the administrator.
    ///
    /// # Errors
    /// As [`Workload::ready`].
    pub fn veto(&mut self, event: &Event, reason: &str) -> Result<()> {
        self.answer(event, Some(cut(reason).into()))
    }

    fn answer(&mut self, event: &Event, veto: Option<String>) -> Result<()> {
        let step = match event.kind {
            EventKind::Prepare => Step::Prepare,
            EventKind::Freeze => Step::Freeze,
            EventKind::Cancel => {
                let reason = "a cancel is not answered".into();
                return Err(Error::Refused(Refusal::NotExpected { reason }));
            }
        };
        let update = event.update.clone();
        let method = Method::Answer { update, step, veto };
        self.tell("Answer", method, None)
    }

    /// Leaves the sessions with the agent, which gives them back to the same identity, before
    /// or after the jump. In an update this is possible once this workload is ready; the agent
    /// agrees to the rest for it. While no update is under way the sessions go through each
    /// update that comes, until they are claimed. The connection is over.
    ///
    /// # Errors
    /// Refused: [`Refusal::NotExpected`], because this workload is asked to prepare and has
    /// not agreed, or is asked to freeze, or has a session of the previous kernel that it has
    /// not finished; [`Refusal::Denied`], because the agent has nothing that would keep the
    /// sessions if it died.
    pub fn detach(&mut self) -> Result<()> {
        self.tell("Detach", Method::Detach, None)?;
        self.leave();
        Ok(())
    }

    /// Ends the registration. The copies that this workload and the agent have of its
    /// sessions are closed; a session ends with its last copy. The connection is over.
    ///
    /// # Errors
    /// Refused: [`Refusal::UpdateUnderWay`].
    pub fn unregister(&mut self) -> Result<()> {
        self.tell("Unregister", Method::Unregister, None)?;
        self.leave();
        Ok(())
    }

    fn leave(&mut self) {
        self.caller.hang_up();
        self.held.clear();
    }

    /// Takes a session back, from the previous kernel or from the agent's custody. It
    /// waits until the workloads that this one needs serve again.
    ///
    /// # Errors
    /// Refused: [`Refusal::NoSuchSession`] if this workload has no such session,
    /// [`Refusal::Denied`], [`Refusal::Kernel`]; one that [`Error::is_busy`] can be tried again.
    pub fn claim(&mut self, name: &SessionName) -> Result<Claim> {
        let call = "Claim";
        let session = text(name)?;
        self.send(call, Method::Claim { session }, None)?;
        let (claimed, fd) = self.caller.receive_fd::<Claimed, _>(call, Waits::Others)?;
        let Some(Claimed { incoming }) = claimed else {
            return Err(self.caller.nonsense(call, "a reply without parameters"));
        };
        let session = Session::from_fd(fd);
        self.keep(call, name, &session, incoming)?;
        Ok(Claim { session, incoming })
    }

    /// Tells the agent that this workload serves again after an update. Workloads that need
    /// it may go on then. [`Workload::reconnect`] tells the next agent, too.
    ///
    /// # Errors
    /// Refused: [`Refusal::NotExpected`], because there was no update.
    pub fn restored(&mut self) -> Result<()> {
        self.tell("Restored", Method::Restored, None)?;
        self.serves = true;
        Ok(())
    }

    /// Says something about this workload for people who look at it, in place of what it said
    /// before: `luoctl inspect` shows it, and the history when it serves again. What is longer than
    /// the agent keeps is cut. An agent that was lost does not know it any more.
    ///
    /// # Errors
    /// As [`Workload::restored`], but for what is refused.
    pub fn describe(&mut self, about: &str) -> Result<()> {
        let about = cut(about).to_owned();
        self.tell("Describe", Method::Describe { about }, None)
    }

    /// Finishes a session of the previous kernel. Files that were retrieved are this
    /// program's; the others are released. If an agent was lost after it had finished the
    /// session, this succeeds.
    ///
    /// It waits for the kernel, which may hang in a file of the session, or of another one. What
    /// was retrieved is this program's all the same: it serves on, and tries again later. A
    /// session that was finished meanwhile is not finished twice.
    ///
    /// # Errors
    /// Refused: [`Refusal::NoSuchSession`]; [`Refusal::Kernel`], which [`Error::is_busy`] with
    /// EBUSY if a file cannot be let go of yet, or the kernel hangs in something else, and with
    /// ETIMEDOUT if it has not come back in time.
    pub fn finish_session(&mut self, name: &SessionName) -> Result<()> {
        if self.held.has_ended(name) {
            return Ok(());
        }
        let method = Method::FinishSession { name: text(name)? };
        self.tell_and_wait("FinishSession", method, None, Waits::Others)?;
        self.held.forget(name);
        Ok(())
    }
}

/// Whether the agent was lost in a call.
fn is_lost<T>(result: &Result<T>) -> bool {
    result.as_ref().is_err_and(Error::is_lost_agent)
}

/// The call that declares a file.
pub(super) fn declare(session: &SessionName, token: Token) -> Result<Method> {
    Ok(Method::Declare {
        session: text(session)?,
        token: token.0,
    })
}

/// Cuts a reason to the length that the agent takes.
pub(super) fn cut(reason: &str) -> &str {
    let mut ends = (0..=MAX_REASON.min(reason.len())).rev();
    let fits = ends.find_map(|end| reason.get(..end));
    fits.unwrap_or_default()
}

/// A session's name as the agent takes it: UTF-8.
pub(super) fn text(name: &SessionName) -> Result<String> {
    match core::str::from_utf8(name.as_bytes()) {
        Ok(text) => Ok(text.into()),
        Err(_) => Err(Error::Refused(Refusal::BadName {
            reason: format!("the agent takes names in UTF-8 only, which '{name}' is not"),
        })),
    }
}

impl AsFd for Workload {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.caller.as_fd()
    }
}
