// SPDX-License-Identifier: MIT OR Apache-2.0
//! Becoming a workload.

use core::time::Duration;
use std::path::{Path, PathBuf};

#[cfg(doc)]
use luo_varlink::client::Error as Refusal;
use luo_varlink::paths;

use super::caller::{Caller, DEFAULT_TIMEOUT};
#[cfg(doc)]
use super::error::Error;
use super::error::Result;
use super::held::Held;
use super::role::Role;
use super::workload::Workload;

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

    /// The same, within a time: an agent that hangs accepts no connection.
    ///
    /// # Errors
    /// [`Error::NoAgent`].
    pub fn connect_within(folder: &Path, within: Duration) -> Result<Self> {
        Ok(Self {
            caller: Caller::connect(&folder.join(paths::CLIENT), within)?,
            folder: folder.into(),
        })
    }

    /// Sets how long the agent has for an answer that waits for nobody; `None` sets no
    /// limit.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.caller.times.timeout = timeout;
    }

    /// Makes this connection the workload `name`, which needs others: those are prepared
    /// and restored before it, and frozen after it.
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
            unmade: None,
            serves: false,
        })
    }
}
