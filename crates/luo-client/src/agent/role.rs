// SPDX-License-Identifier: MIT OR Apache-2.0
//! The workload that a connection is, or becomes again.

use luo_varlink::client::{Error as Refusal, Method, Registered};
use luo_varlink::limits::{MAX_NEEDS, MAX_WORKLOAD_NAME};
use zlink_core::Call;

use super::caller::{Caller, Waits};
use super::error::{Error, Result};

/// The workload that a connection registers as.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) needs: Vec<String>,
}

impl Role {
    /// Refuses a role that is too long for a call, as the agent would.
    pub(super) fn check(&self) -> Result<()> {
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
