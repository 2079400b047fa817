// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files that a workload is going to preserve: it declares them ([`Agent::declare`]), and they are
//! checked, at once and before an update.

use std::os::fd::OwnedFd;

use luo_preflight::file::Kind;
use luo_varlink::client::{Declared, Error};

use super::Agent;
use super::caller::Caller;
use super::state::State;
use crate::aside::Aside;

/// Files that the workloads of one user may have declared.
const MAX_DECLARED: usize = 8192;

/// A file that a workload is going to preserve.
#[derive(Debug)]
pub enum Declaration {
    /// The file.
    File(Aside<OwnedFd>),
    /// One of a kind that is not taken in, because its close may wait for somebody.
    NotTaken(Kind),
}

impl Agent {
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
}
