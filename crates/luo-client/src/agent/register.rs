// SPDX-License-Identifier: MIT OR Apache-2.0
//! Becoming a workload.

use core::time::Duration;
use std::path::{Path, PathBuf};

use luo_varlink::client::{Error as Refusal, Method, Registered};
use luo_varlink::limits::{MAX_NEEDS, MAX_WORKLOAD_NAME};
use luo_varlink::paths;
use zlink_core::Call;

use super::caller::{Caller, Waits};
use super::held::Held;
use super::workload::Workload;
use super::{DEFAULT_TIMEOUT, Error, Result};

/// A connection that is no workload yet.
#[derive(Debug)]
pub struct Agent {
    pub(super) caller: Caller,
    folder: PathBuf,
}

impl Agent {
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

    pub(super) fn connect_within(folder: &Path, within: Duration) -> Result<Self> {
        Ok(Self {
            caller: Caller::connect(&folder.join(paths::CLIENT), within)?,
            folder: folder.into(),
        })
    }

    /// How long the agent has for an answer that waits for nobody; none for ever.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.caller.times.timeout = timeout;
    }

    /// Becomes the workload `name`, which needs others: they are there before it, and
    /// stay longer.
    ///
    /// # Errors
    /// Refused: [`Refusal::BadName`], [`Refusal::Denied`] by the policy,
    /// [`Refusal::WorkloadTaken`] while another connection is this workload,
    /// [`Refusal::UpdateUnderWay`], [`Refusal::TooMany`].
    pub fn register(self, name: &str, needs: &[&str]) -> Result<Workload> {
        let needs = needs.iter().map(|&need| need.into()).collect();
        let role = Role {
            name: name.into(),
            needs,
        };
        role.check()?;
        let mut caller = self.caller;
        let registered = role.register(&mut caller)?;
        Ok(Workload {
            caller,
            folder: self.folder,
            role,
            registered,
            held: Held::default(),
            asked: false,
            event: None,
        })
    }
}

/// What a connection registers as.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) name: String,
    needs: Vec<String>,
}

impl Role {
    /// What would be too long for a call is refused here, as the agent would.
    fn check(&self) -> Result<()> {
        let mut names = core::iter::once(&self.name).chain(&self.needs);
        let bad = |name: &&String| name.is_empty() || name.len() > MAX_WORKLOAD_NAME;
        if names.any(|name| bad(&name)) {
            let reason = format!("a workload's name has 1 to {MAX_WORKLOAD_NAME} bytes");
            return Err(Error::Refused(Refusal::BadName { reason }));
        }
        if self.needs.len() > MAX_NEEDS {
            let limit = format!("a workload needs {MAX_NEEDS} others at most");
            return Err(Error::Refused(Refusal::TooMany { limit }));
        }
        Ok(())
    }

    /// Registers on a new connection.
    pub(super) fn register(&self, caller: &mut Caller) -> Result<Registered> {
        let name = "Register";
        let method = Method::Register {
            workload: self.name.clone(),
            needs: self.needs.clone(),
        };
        caller.send(name, &Call::new(method), None)?;
        Ok(caller.receive(name, Waits::Agent)?.parameters)
    }
}
