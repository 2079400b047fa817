// SPDX-License-Identifier: MIT OR Apache-2.0
//! Looking at the agent.

use core::time::Duration;
use std::path::Path;

use luo_varlink::status::{Current, Error as Refusal, History, Method};
use luo_varlink::{HistoryEntry, paths};
use serde::Serialize;
use zlink_core::Call;

use super::caller::{Caller, DEFAULT_TIMEOUT, Waits};
use super::error::Error;
use super::timeline::Timeline;

type Result<T> = core::result::Result<T, Error<Refusal>>;

/// A connection that can only look, and changes nothing.
///
/// ```no_run
/// use luo_client::agent::Status;
///
/// let mut status = Status::connect()?;
/// println!("the agent is {}", status.get()?.phase);
/// for event in status.watch()? {
///     println!("{}", event?.kind);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Status {
    caller: Caller,
}

impl Status {
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
        let caller = Caller::connect(&folder.join(paths::STATUS), within)?;
        Ok(Self { caller })
    }

    /// Sets how long the agent has for an answer; `None` sets no limit.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.caller.times.timeout = timeout;
    }

    /// Sets how long to wait for each line of [`Status::watch`]; `None` sets no limit.
    pub fn set_patience(&mut self, patience: Option<Duration>) {
        self.caller.times.patience = patience;
    }

    /// Asks for an answer that costs nothing: an agent that is busy gives it, one that hangs
    /// does not.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if it hangs; see [`Error`].
    pub fn ping(&mut self) -> Result<()> {
        #[derive(Debug, Serialize)]
        #[serde(tag = "method")]
        enum Service {
            #[serde(rename = "org.varlink.service.GetInfo")]
            GetInfo,
        }
        let name = "GetInfo";
        self.caller.send(name, &Call::new(Service::GetInfo), None)?;
        self.caller.receive_nothing(name, Waits::Agent)
    }

    /// How the agent and the machine stand.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn get(&mut self) -> Result<luo_varlink::Status> {
        let name = "GetStatus";
        self.caller
            .send(name, &Call::new(Method::GetStatus), None)?;
        let answer = self.caller.receive::<Current, _>(name, Waits::Agent)?;
        Ok(answer.parameters.status)
    }

    /// The last updates, the newest first, `most` of them at most.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn history(&mut self, most: u32) -> Result<Vec<HistoryEntry>> {
        self.past(most).map(|past| past.updates)
    }

    /// The last updates, and what of the history cannot be read.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn past(&mut self, most: u32) -> Result<History> {
        let name = "GetHistory";
        let call = Call::new(Method::GetHistory { most });
        self.caller.send(name, &call, None)?;
        let answer = self.caller.receive::<History, _>(name, Waits::Agent)?;
        Ok(answer.parameters)
    }

    /// All events from now on, as lines. The first line tells the present phase.
    ///
    /// # Errors
    /// See [`Error`]. If there are too many watchers the first line is a refusal.
    pub fn watch(&mut self) -> Result<Timeline<'_, Refusal>> {
        let name = "Watch";
        let call = Call::new(Method::Watch).set_more(true);
        self.caller.send(name, &call, None)?;
        Ok(Timeline::new(&mut self.caller, name))
    }
}
