// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which names an identity may have, and which sessions a workload may name in a call.

use luo_varlink::Identity;
use luo_varlink::client::Error;

use super::Agent;
use super::held::Held;
use super::state::State;
use crate::decide::names;

impl Agent {
    /// Whether an identity may have a name.
    pub(super) fn check_name(&self, identity: &Identity, name: &str) -> Result<(), Error> {
        names::check(name).map_err(|why| Error::BadName {
            reason: format!("'{}': {why}", name.escape_default()),
        })?;
        let allowed = self.policy().may_own(identity, name);
        allowed.map_err(|reason| Error::Denied { reason })
    }

    /// A session of a workload.
    pub(super) fn own<'a>(
        &self,
        state: &'a State,
        workload: &str,
        name: &str,
    ) -> Result<&'a Held, Error> {
        let held = state.sessions.get(name);
        let own = held.filter(|held| held.workload == workload && !held.busy);
        own.ok_or_else(|| Error::NoSuchSession {
            session: name.to_owned(),
        })
    }
}
