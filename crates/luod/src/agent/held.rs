// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sessions that the agent knows, by name and by workload.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use luo_sys::Session;
use luo_varlink::WorkloadState;

use crate::aside::Aside;

/// A session that the agent knows.
pub(super) struct Held {
    pub(super) workload: String,
    /// The agent's copy; none while the kernel has the session alone.
    pub(super) session: Option<Aside<Session>>,
    pub(super) incoming: bool,
    /// Files that are going to be preserved, by token.
    pub(super) declared: BTreeMap<u64, Aside<OwnedFd>>,
    /// A call of the kernel about it is under way. The call runs to its end, even if nobody
    /// waits for it any more.
    pub(super) busy: bool,
    /// That call finishes it.
    pub(super) finishing: bool,
    /// It was made when its workload did not wait for that any more, and has not been given.
    pub(super) ungiven: bool,
    /// Whether the session is in the descriptor store.
    pub(super) stored: bool,
    /// Another service manager is there since that call of the kernel began: what the call has put
    /// into the store may be with the earlier one.
    pub(super) elsewhere: bool,
    /// Whether its workload has claimed it since the workload connected.
    pub(super) claimed: bool,
    /// Whether a claim of its workload waits for it. The claim is lost if the workload goes.
    pub(super) wanted: bool,
    /// Its workload has left it. It is kept, over updates too, until somebody of the same
    /// identity has claimed it and says what becomes of it (it is dropped; finished, if it came
    /// from the previous kernel; or taken along by a workload that agrees to an update), or an
    /// administrator releases it.
    pub(super) parked: bool,
    /// It was left in the update that is under way, and its workload is waited for after the
    /// jump.
    pub(super) awaited: bool,
}

impl Held {
    pub(super) fn new(workload: &str, session: Option<Aside<Session>>, incoming: bool) -> Self {
        Self {
            workload: workload.to_owned(),
            session,
            incoming,
            declared: BTreeMap::new(),
            busy: false,
            finishing: false,
            ungiven: false,
            stored: false,
            elsewhere: false,
            claimed: false,
            wanted: false,
            parked: false,
            awaited: false,
        }
    }
}

/// All sessions that the agent knows.
#[derive(Default)]
pub(super) struct Sessions {
    by_name: BTreeMap<String, Held>,
    /// Those that the agent has let go of, and whose copy here is not closed yet: until then
    /// the kernel has one of the same name.
    closing: BTreeSet<String>,
    by_workload: BTreeMap<String, BTreeSet<String>>,
}

impl Sessions {
    pub(super) fn insert(&mut self, name: &str, held: Held) {
        self.remove(name);
        let own = self.by_workload.entry(held.workload.clone()).or_default();
        own.insert(name.to_owned());
        self.by_name.insert(name.to_owned(), held);
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Held> {
        let held = self.by_name.remove(name)?;
        if let Some(own) = self.by_workload.get_mut(&held.workload) {
            own.remove(name);
            if own.is_empty() {
                self.by_workload.remove(&held.workload);
            }
        }
        Some(held)
    }

    /// Notes that the agent's copy of a session is being closed, or that it is closed.
    pub(super) fn close(&mut self, name: &str, ended: bool) {
        match ended {
            true => self.closing.remove(name),
            false => self.closing.insert(name.to_owned()),
        };
    }

    pub(super) fn is_closing(&self, name: &str) -> bool {
        self.closing.contains(name)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Held> {
        self.by_name.get(name)
    }

    /// A session to be changed, except its `workload`: the index by workload relies on it.
    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Held> {
        self.by_name.get_mut(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Held)> {
        self.by_name.iter()
    }

    /// All of them, as [`Self::get_mut`] gives one.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&String, &mut Held)> {
        self.by_name.iter_mut()
    }

    /// The sessions of the previous kernel that are a workload's, if it has claimed none of them.
    pub(super) fn all_untouched(&self, workload: &str) -> Vec<&str> {
        let own = self.of(workload);
        let own = own.filter(|(_, held)| held.incoming && !held.parked);
        let is_touched = |held: &Held| held.session.is_some() || held.claimed || held.wanted;
        match own.clone().any(|(_, held)| is_touched(held)) {
            true => Vec::new(),
            false => own.map(|(name, _)| name.as_str()).collect(),
        }
    }

    /// The sessions of a workload.
    pub(super) fn of<'a>(
        &'a self,
        workload: &str,
    ) -> impl Iterator<Item = (&'a String, &'a Held)> + Clone + use<'a> {
        let own = self.by_workload.get(workload).into_iter().flatten();
        own.filter_map(|name| self.by_name.get_key_value(name))
    }

    /// The names of the sessions of a workload.
    pub(super) fn names_of(&self, workload: &str) -> Vec<String> {
        self.of(workload).map(|(name, _)| name.clone()).collect()
    }

    /// Gives a workload what it has claimed of that which was left: it has said what becomes of
    /// it. One of the previous kernel is left until it is finished. Says whether there was any.
    pub(super) fn take_over(&mut self, workload: &str) -> bool {
        let mut any = false;
        for name in self.names_of(workload) {
            let held = self.by_name.get_mut(&name);
            let held = held.filter(|held| held.parked && held.claimed && !held.incoming);
            if let Some(held) = held {
                held.parked = false;
                any = true;
            }
        }
        any
    }

    /// Nobody is waited for after a jump: there is none.
    pub(super) fn await_nobody(&mut self) {
        for held in self.by_name.values_mut() {
            held.awaited = false;
        }
    }

    /// The state of a workload that is not connected, by what it has here: it has left all
    /// of that, or is waited for. None if it has nothing.
    pub(super) fn state_of_absent(&self, workload: &str) -> Option<WorkloadState> {
        let mut own = self.of(workload).peekable();
        own.peek()?;
        match own.all(|(_, held)| held.parked) {
            true => Some(WorkloadState::Left),
            false => Some(WorkloadState::Waiting),
        }
    }

    /// Whether a call of the kernel about a session is under way.
    pub(super) fn is_busy(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(|held| held.busy)
    }

    /// Whether a session is being finished.
    pub(super) fn is_finishing(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(|held| held.finishing)
    }

    /// Whether a call of the kernel about any session is under way.
    pub(super) fn any_busy(&self) -> bool {
        self.by_name.values().any(|held| held.busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_indices_say_the_same() {
        let mut sessions = Sessions::default();
        for (name, workload) in [("a", "x"), ("b", "x"), ("c", "y"), ("a", "y")] {
            sessions.insert(name, Held::new(workload, None, false));
        }
        assert_eq!(sessions.names_of("x"), ["b"]);
        assert_eq!(sessions.names_of("y"), ["a", "c"]);
        assert!(sessions.remove("b").is_some() && sessions.remove("b").is_none());
        assert!(sessions.names_of("x").is_empty() && sessions.by_workload.len() == 1);
    }
}
