// SPDX-License-Identifier: MIT OR Apache-2.0
//! Running updates.

use core::time::Duration;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use luo_varlink::admin::{
    Checked, Error as Refusal, Finished, Method, Planned, Prepared, Sessions,
};
use luo_varlink::{Plan, Report, SessionInfo, Target, paths};
use serde::de::DeserializeOwned;
use zlink_core::Call;

use super::caller::{Caller, DEFAULT_TIMEOUT, Waits};
use super::error::Error;
use super::timeline::Timeline;
use super::workload::cut;

type Result<T> = core::result::Result<T, Error<Refusal>>;

const CANCEL: &str = "Cancel";

/// A connection of an administrator.
///
/// Calls that wait for workloads or for the kernel are bounded by the agent's deadlines,
/// and by [`Admin::set_patience`] here.
///
/// ```no_run
/// use luo_client::agent::{Admin, varlink::Target};
///
/// let mut admin = Admin::connect()?;
/// for event in admin.update(&Target::default())? {
///     let event = event?;
///     println!("{}: {}", event.phase, event.detail.unwrap_or_default());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Admin {
    caller: Caller,
}

impl Admin {
    /// Connects to the machine's agent.
    ///
    /// # Errors
    /// [`Error::NoAgent`].
    pub fn connect() -> Result<Self> {
        Self::connect_to(&paths::runtime())
    }

    /// Connects to the agent whose sockets lie in `folder`.
    ///
    /// # Errors
    /// [`Error::NoAgent`].
    pub fn connect_to(folder: &Path) -> Result<Self> {
        Self::connect_within(folder, DEFAULT_TIMEOUT)
    }

    /// The same, within a time: an agent that hangs accepts no connection.
    ///
    /// # Errors
    /// [`Error::NoAgent`].
    pub fn connect_within(folder: &Path, within: Duration) -> Result<Self> {
        let caller = Caller::connect(&folder.join(paths::ADMIN), within)?;
        Ok(Self { caller })
    }

    /// Sets how long the agent has for an answer that waits for nobody; `None` sets no
    /// limit.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.caller.times.timeout = timeout;
    }

    /// Sets how long to wait for an answer that waits for others; `None` sets no limit. If
    /// the time is over the agent goes on with the update: look at it with
    /// [`super::Status`].
    pub fn set_patience(&mut self, patience: Option<Duration>) {
        self.caller.times.patience = patience;
    }

    fn call<P>(&mut self, name: &'static str, method: Method, waits: Waits) -> Result<P>
    where
        P: DeserializeOwned + core::fmt::Debug,
    {
        self.caller.send(name, &Call::new(method), None)?;
        Ok(self.caller.receive::<P, _>(name, waits)?.parameters)
    }

    fn tell(&mut self, name: &'static str, method: Method, waits: Waits) -> Result<()> {
        self.caller.send(name, &Call::new(method), None)?;
        self.caller.receive_nothing(name, waits)
    }

    /// The order in which an update would ask the workloads, and the obstacles.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn plan(&mut self) -> Result<Plan> {
        let planned: Planned = self.call("Plan", Method::Plan, Waits::Agent)?;
        Ok(planned.plan)
    }

    /// Checks whether an update to a kernel would work. A check that failed is in the
    /// report, and no error.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn check(&mut self, target: &Target) -> Result<Report> {
        let target = target.clone();
        let checked: Checked = self.call("Check", Method::Check { target }, Waits::Others)?;
        Ok(checked.report)
    }

    /// Checks, tries whether the kernel can be loaded, and asks all workloads to get ready;
    /// gives the update's id. It returns when all are ready, or when all is undone. No kernel
    /// is loaded yet.
    ///
    /// # Errors
    /// [`Error::Refused`] names the workload or the check that stood in the way; all is
    /// undone then.
    pub fn prepare(&mut self, target: &Target) -> Result<String> {
        self.prepare_and_warn(target)
            .map(|prepared| prepared.update)
    }

    /// The same, with what the checks warn of.
    ///
    /// # Errors
    /// As [`Admin::prepare`].
    pub fn prepare_and_warn(&mut self, target: &Target) -> Result<Prepared> {
        let target = target.clone();
        self.call("Prepare", Method::Prepare { target }, Waits::Others)
    }

    /// Loads the kernel, and asks all workloads to stand still.
    ///
    /// # Errors
    /// As [`Admin::prepare`].
    pub fn freeze(&mut self) -> Result<()> {
        self.tell("Freeze", Method::Freeze, Waits::Others)
    }

    /// Jumps. It does not return if that works, unless the caller outlives its kernel.
    ///
    /// # Errors
    /// As [`Admin::prepare`]. [`Error::AgentGone`]: the machine is on its way.
    pub fn kexec(&mut self) -> Result<()> {
        self.tell("Kexec", Method::Kexec, Waits::Others)
    }

    /// Ends an update before the jump. All workloads go on. They are told the reason, its
    /// first 1,024 bytes.
    ///
    /// # Errors
    /// [`Refusal::Illegal`]: no update is under way.
    pub fn cancel(&mut self, reason: Option<&str>) -> Result<()> {
        self.send_cancel(reason)?;
        self.cancelled()
    }

    /// The same, also for an update that another program has begun in the kernel, or that the
    /// agent does not know of any more.
    ///
    /// # Errors
    /// [`Refusal::Illegal`]: the kernel is in no update. [`Refusal::Kernel`].
    pub fn cancel_by_force(&mut self, reason: Option<&str>) -> Result<()> {
        self.send_cancel_of(reason, Some(true))?;
        self.cancelled()
    }

    /// The first half of [`Admin::cancel`]: the agent has the call when this returns. It
    /// cancels then even if nobody waits for the answer.
    ///
    /// # Errors
    /// [`Error::AgentGone`].
    pub fn send_cancel(&mut self, reason: Option<&str>) -> Result<()> {
        self.send_cancel_of(reason, None)
    }

    fn send_cancel_of(&mut self, reason: Option<&str>, force: Option<bool>) -> Result<()> {
        let reason = reason.map(|reason| cut(reason).into());
        let call = Call::new(Method::Cancel { reason, force });
        self.caller.send(CANCEL, &call, None)
    }

    /// The second half of [`Admin::cancel`]: waits until all is undone.
    ///
    /// # Errors
    /// As [`Admin::cancel`].
    pub fn cancelled(&mut self) -> Result<()> {
        self.caller.receive_nothing(CANCEL, Waits::Others)
    }

    /// Runs all of an update: check, prepare, freeze, jump. Gives each line of the timeline
    /// as it happens; the connection ends with the jump.
    ///
    /// # Errors
    /// See [`Error`]. The last item says what stood in the way.
    pub fn update(&mut self, target: &Target) -> Result<Timeline<'_, Refusal>> {
        self.update_with_report(target, None)
    }

    /// The same. The agent, or after the jump the next one, writes a picture of the update
    /// (SVG) to the file `report` when it is over; the path is absolute.
    ///
    /// # Errors
    /// As [`Admin::update`]. If the file cannot be written there, a check fails.
    pub fn update_with_report(
        &mut self,
        target: &Target,
        report: Option<&str>,
    ) -> Result<Timeline<'_, Refusal>> {
        let name = "Update";
        let (target, report) = (target.clone(), report.map(str::to_owned));
        let call = Call::new(Method::Update { target, report }).set_more(true);
        self.caller.send(name, &call, None)?;
        Ok(Timeline::new(&mut self.caller, name))
    }

    /// Ends an update after the jump before its deadline. With `release_unclaimed`,
    /// sessions that nobody has claimed are released; it gives their names.
    ///
    /// # Errors
    /// [`Refusal::Unclaimed`], [`Refusal::Unreadable`], [`Refusal::Illegal`].
    pub fn finish(&mut self, release_unclaimed: bool) -> Result<Vec<String>> {
        let method = Method::Finish { release_unclaimed };
        let finished: Finished = self.call("Finish", method, Waits::Others)?;
        Ok(finished.released)
    }

    /// Releases a session that the agent holds for a workload that has left. One of the previous
    /// kernel is finished, which may take the kernel a while.
    ///
    /// # Errors
    /// [`Refusal::NoSuchSession`], [`Refusal::Kernel`].
    pub fn release(&mut self, session: &str) -> Result<()> {
        let (session, force) = (session.into(), None);
        self.tell("Release", Method::Release { session, force }, Waits::Others)
    }

    /// Releases any session of the previous kernel that nobody has claimed, even one that the
    /// agent knows nothing of.
    ///
    /// # Errors
    /// [`Refusal::NoSuchSession`], [`Refusal::Kernel`].
    pub fn release_by_force(&mut self, session: &str) -> Result<()> {
        let (session, force) = (session.into(), Some(true));
        self.tell("Release", Method::Release { session, force }, Waits::Others)
    }

    /// All sessions that the agent and the kernel know.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn sessions(&mut self) -> Result<Vec<SessionInfo>> {
        let all: Sessions = self.call("ListSessions", Method::ListSessions, Waits::Agent)?;
        Ok(all.sessions)
    }
}

impl AsFd for Admin {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.caller.as_fd()
    }
}
