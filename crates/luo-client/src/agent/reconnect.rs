// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connecting again after the agent was lost.

use core::time::Duration;
use std::time::Instant;

use luo_sys::SessionName;
use luo_varlink::Phase;
use luo_varlink::client::{Declared, Error as Refusal, Method, Registered};
use zlink_core::Call;

use super::caller::{Caller, DEFAULT_TIMEOUT, Times, Waits};
use super::error::{Error, Result};
use super::held::{Gift, knows};
use super::register::Agent;
use super::workload::{Workload, declare, text};

/// The first pause between two attempts to connect again; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Workload {
    /// Connects again after the agent was lost, registers, gives the agent copies of
    /// all sessions and declared files again, and says that it serves if it has said so before. It tries for as long as `within`, with
    /// pauses from 10 ms to 1 s between the attempts.
    ///
    /// An event that was not answered is void: if the agent was lost while it prepared
    /// or froze, the update is off. The result lists the sessions that can be claimed now.
    ///
    /// # Errors
    /// The error of the last attempt. It can be called again.
    pub fn reconnect(&mut self, within: Duration) -> Result<&Registered> {
        self.caller.hang_up();
        self.asked = false;
        self.event = None;
        let end = Instant::now().checked_add(within);
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.again(end) {
                Ok(()) => return Ok(&self.registered),
                Err(error) => error,
            };
            if !passes(&error) || left(end) <= pause {
                return Err(error);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Makes a call, and makes it again with the next agent if this one is lost in it, and after a
    /// pause if the kernel is busy or hangs in it ([`Error::is_busy`]). For the
    /// calls after a jump: what was taken back is with this program alone until it is in a
    /// session again, so the program must not end because the agent does, nor because the kernel
    /// hangs in somebody's file.
    ///
    /// The time is the agent's, and begins when that is first lost; a kernel that hangs is waited
    /// for as long as it takes, which `luoctl status` tells of. A program that is to serve
    /// meanwhile has a thread for this, or makes the call itself and tries again by and by. A session that the lost agent had made,
    /// or finished, already is not made or finished twice: [`Workload::create_session`] gives
    /// the one that there is, [`Workload::finish_session`] succeeds.
    ///
    /// ```no_run
    /// # use core::time::Duration;
    /// # use luo_client::{SessionName, agent::{Result, Workload}};
    /// # fn come_back(workload: &mut Workload, name: &SessionName) -> Result<()> {
    /// const WITHIN: Duration = Duration::from_secs(60);
    /// let claim = workload.surely(WITHIN, |workload| workload.claim(name))?;
    /// // ... retrieve what is in it ...
    /// workload.surely(WITHIN, Workload::restored)?;
    /// workload.surely(WITHIN, |workload| workload.finish_session(name))
    /// # }
    /// ```
    ///
    /// # Errors
    /// As those of the call; or, if no agent is there in time, of [`Workload::reconnect`].
    pub fn surely<T>(
        &mut self,
        within: Duration,
        mut call: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let mut end = None;
        loop {
            let lost = match call(self) {
                Err(lost) if lost.is_lost_agent() => lost,
                Err(busy) if busy.is_busy() => {
                    std::thread::sleep(LONGEST_PAUSE);
                    continue;
                }
                done => return done,
            };
            let end = *end.get_or_insert_with(|| Instant::now().checked_add(within));
            if left(end).is_zero() {
                return Err(lost);
            }
            self.reconnect(left(end))?;
        }
    }

    /// Makes one attempt, which either succeeds as a whole or changes nothing.
    fn again(&mut self, end: Option<Instant>) -> Result<()> {
        let call = "reconnect";
        // An agent that hangs does not get all of the time: its successor may answer.
        let within = left(end).min(DEFAULT_TIMEOUT);
        let mut caller = Agent::connect_within(&self.folder, within)?.caller;
        let times = self.caller.times;
        let timeout = times.timeout.map_or(within, |timeout| timeout.min(within));
        caller.times = Times {
            timeout: Some(timeout),
            end,
            ..times
        };
        let registered = self.role.register(&mut caller)?;
        // What the previous kernel has left and the agent does not know is finished: to give
        // it back would make it one for the next kernel.
        let known = |name: &SessionName| knows(&registered, name);
        let gifts = self.held.gifts(known);
        let gifts = gifts.map_err(|why| Error::Os { call, why })?;
        for gift in gifts {
            give(&mut caller, gift)?;
        }
        if self.serves && registered.phase == Phase::Updated {
            report(&mut caller)?;
        }
        self.held.end(known);
        caller.times = times;
        self.caller = caller;
        self.registered = registered;
        Ok(())
    }
}

/// The time that is left until `end`.
fn left(end: Option<Instant>) -> Duration {
    end.map_or(Duration::MAX, |end| {
        end.saturating_duration_since(Instant::now())
    })
}

/// Gives the agent a copy of a session, or of a file, that a workload holds.
fn give(caller: &mut Caller, gift: Gift) -> Result<()> {
    match gift {
        Gift::Session(name, fd) => {
            let call = "AttachSession";
            let name = text(&name)?;
            let method = Method::AttachSession { name };
            caller.send(call, &Call::new(method), Some(fd))?;
            caller.receive_nothing(call, Waits::Agent)
        }
        Gift::File(session, token, fd) => {
            let call = "Declare";
            let method = declare(&session, token)?;
            caller.send(call, &Call::new(method), Some(fd))?;
            // The report is not needed: the agent checks files before each update.
            caller.receive::<Declared, _>(call, Waits::Agent).map(drop)
        }
    }
}

/// Tells an agent that this workload has served again before the last one was lost: its notes may
/// not say so.
fn report(caller: &mut Caller) -> Result<()> {
    let call = "Restored";
    caller.send(call, &Call::new(Method::Restored), None)?;
    match caller.receive_nothing(call, Waits::Agent) {
        // The update is over.
        Err(Error::Refused(Refusal::NotExpected { .. })) => Ok(()),
        told => told,
    }
}

/// Whether another attempt may succeed.
fn passes(error: &Error) -> bool {
    match error {
        Error::NoAgent { .. } | Error::AgentGone | Error::TimedOut { .. } => true,
        Error::Refused(refusal) => matches!(
            refusal,
            Refusal::WorkloadTaken { .. } | Refusal::UpdateUnderWay { .. }
        ),
        _ => false,
    }
}
