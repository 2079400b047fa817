// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connecting again after the agent was lost.

use core::time::Duration;
use std::time::Instant;

use luo_varlink::client::{Declared, Error as Refusal, Method, Registered};
use zlink_core::Call;

use super::caller::{Caller, DEFAULT_TIMEOUT, Times, Waits};
use super::error::{Error, Result};
use super::held::Gift;
use super::register::Agent;
use super::workload::{Workload, declare, text};

/// The first pause between two attempts to connect again; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Workload {
    /// Connects again after the agent was lost, registers, and gives the agent copies of
    /// all sessions and declared files again. It tries for as long as `within`, with
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

    /// Makes one attempt, which either succeeds as a whole or changes nothing.
    fn again(&mut self, end: Option<Instant>) -> Result<()> {
        let call = "reconnect";
        let gifts = self.held.gifts();
        let gifts = gifts.map_err(|source| Error::Os { call, source })?;
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
        for gift in gifts {
            give(&mut caller, gift)?;
        }
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
