// SPDX-License-Identifier: MIT OR Apache-2.0
//! Notes of sessions, for the agent that is started after a crash of this one.

use luo_varlink::WorkloadState;

use super::Agent;
use super::held::Held;
use crate::journal::notes::Owner;

impl Agent {
    /// Notes a workload that has sessions in the store, or that it has none any more.
    pub(super) fn note_owner(&self, workload: &str) {
        let owner = {
            let state = self.state.borrow();
            let held: Vec<_> = {
                let all = state.sessions.of(workload);
                let kept = |held: &Held| held.session.is_some() || held.parked;
                all.filter(|(_, held)| kept(held)).collect()
            };
            let sessions: Vec<_> = held.iter().map(|(name, _)| (*name).clone()).collect();
            let incoming = held.iter().filter(|(_, held)| held.incoming);
            let incoming = incoming.map(|(name, _)| (*name).clone()).collect();
            let parked = held.iter().filter(|(_, held)| held.parked);
            let parked = parked.map(|(name, _)| (*name).clone()).collect();
            let known = state
                .workloads
                .get(workload)
                .filter(|_| !sessions.is_empty());
            known.map(|known| Owner {
                workload: workload.to_owned(),
                identity: known.identity.clone(),
                needs: known.needs.clone(),
                sessions,
                incoming,
                left: known.state == WorkloadState::Left,
                parked,
            })
        };
        let noted = match owner {
            Some(owner) => self.notes.set_owner(&owner),
            None => self.notes.remove_owner(workload),
        };
        if let Err(why) = noted {
            tracing::error!(workload, "it cannot be noted who owns its sessions: {why}");
        }
    }

    /// Notes that a session of the previous kernel is finished.
    pub(super) fn finished(&self, session: &str) {
        if let Some(restore) = &mut self.state.borrow_mut().restore {
            restore.progress.finished.push(session.to_owned());
        }
        self.note_progress();
    }

    pub(super) fn note_progress(&self) {
        let state = self.state.borrow();
        let Some(restore) = &state.restore else {
            return;
        };
        if let Err(why) = self.notes.set_progress(&restore.progress) {
            tracing::error!("it cannot be noted what is taken back: {why}");
        }
    }
}
