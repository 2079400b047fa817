// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sessions that a workload has left for good, and the workloads that have left all they had: a
//! luod that is started again finds them in its notes.

use luo_varlink::WorkloadState;

use super::Agent;
use super::held::Held;
use super::noted::owner;
use super::state::Workload;
use crate::journal::notes::Owner;

/// A workload that is known by a note alone.
pub(super) fn known_by(owner: &Owner) -> Workload {
    Workload {
        identity: owner.identity.clone(),
        needs: owner.needs.clone(),
        state: match owner.left {
            true => WorkloadState::Left,
            false => WorkloadState::Lost,
        },
        link: None,
        late_at: None,
        about: None,
    }
}

impl Agent {
    /// Finds the sessions of the previous kernel that were left long ago: the kernel has
    /// them, and the record that has listed them may be gone.
    pub(super) fn find_the_parked(&self, owners: &[Owner]) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        for owner in owners {
            let parked = owner.parked.iter();
            for name in parked.filter(|name| owner.incoming.contains(name)) {
                if state.sessions.get(name).is_some() {
                    continue;
                }
                let held = Held {
                    parked: true,
                    ..Held::new(&owner.workload, None, true)
                };
                state.sessions.insert(name, held);
                let workloads = state.workloads.entry(owner.workload.clone());
                workloads.or_insert_with(|| known_by(owner));
            }
        }
    }

    /// Workloads that have left all they have in an update whose record lists them with
    /// something else.
    pub(super) fn leave_the_left(&self) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        for (name, workload) in &mut state.workloads {
            let away = state.sessions.state_of_absent(name);
            if workload.link.is_none() && away == Some(WorkloadState::Left) {
                workload.state = WorkloadState::Left;
            }
        }
    }

    /// Notes the workloads that have left something for good; says whether all are noted.
    pub(super) fn note_the_parked(&self) -> bool {
        let owners: Vec<_> = {
            let state = self.state.borrow();
            let owners = state.workloads.keys();
            let owners = owners.filter_map(|name| owner(&state, name));
            owners.filter(|owner| !owner.parked.is_empty()).collect()
        };
        let mut all = true;
        for owner in &owners {
            if let Err(why) = self.note_as(&owner.workload, Some(owner)) {
                tracing::error!(workload = owner.workload, "{why}");
                all = false;
            }
        }
        all
    }
}
