// SPDX-License-Identifier: MIT OR Apache-2.0
//! The agent's sessions in the service manager's descriptor store: how they get there, and out.
//!
//! A session is in the descriptor store from before its workload gets to know of it until
//! after the agent has let go of it. Where the service manager takes nothing, or another one is
//! there, it is marked as not stored, and one loop puts all in that is marked so
//! ([`Agent::mind_the_store`]).

use std::collections::BTreeSet;
use std::time::Duration;

use super::Agent;
use super::clock::after;
use super::held::Held;
use super::state::State;
use crate::decide::names::OWN_SESSION;

/// How long the service manager is waited for to take a session.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long to wait before a service manager that takes nothing is tried again, at first and at
/// most.
const SOON: Duration = Duration::from_millis(20);
const SELDOM: Duration = Duration::from_secs(2);

impl State {
    /// Marks all that is here as not stored. Gives what a call of the kernel is about just now:
    /// what becomes of that is known when the call has ended.
    fn is_in_no_store(&mut self) -> BTreeSet<String> {
        for stray in self.strays.values_mut() {
            stray.stored = false;
        }
        let mut on_their_way = BTreeSet::new();
        for (name, held) in self.sessions.iter_mut() {
            held.stored = false;
            held.elsewhere = held.busy;
            if held.busy {
                on_their_way.insert(name.clone());
            }
        }
        on_their_way
    }

    /// The sessions and strays that are here and not in the store.
    fn not_stored(&self) -> (Vec<String>, Vec<String>) {
        let is_missed = |held: &Held| held.session.is_some() && !(held.stored || held.busy);
        let sessions = self.sessions.iter().filter(|(_, held)| is_missed(held));
        let strays = self.strays.iter().filter(|(_, stray)| !stray.stored);
        (
            sessions.map(|(name, _)| name.clone()).collect(),
            strays.map(|(name, _)| name.clone()).collect(),
        )
    }
}

impl Agent {
    /// Takes a session out of the store.
    pub(super) fn unstore(&self, name: &str) {
        self.store.remove(name);
        self.mind_the_store();
    }

    /// Has the service manager told what it has not taken, as soon as it takes something again.
    pub(super) fn mind_the_store(&self) {
        if self.store.is_behind().is_none() || self.stores_later.replace(true) {
            return;
        }
        self.begin_task(async |agent| {
            let mut pause = SOON;
            while agent.store.is_behind().is_some() {
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(SELDOM);
                agent.store.catch_up(|| agent.store_the_rest());
            }
            agent.stores_later.set(false);
        });
    }

    /// Another service manager is there, which has nothing: all that is here is put in anew, at
    /// once as far as it takes it.
    pub(super) fn store_all_anew(&self) {
        let had_own = self.store.has(OWN_SESSION);
        let on_their_way = self.state.borrow_mut().is_in_no_store();
        self.store.begin_anew(&on_their_way);
        self.store.catch_up(|| self.store_the_rest());
        self.mind_the_store();
        if had_own {
            self.begin_task(async |agent| {
                let own = agent.kernel.run(|kernel| kernel.own_session()).await;
                if let Some(session) = own.filter(|_| !agent.store.has(OWN_SESSION)) {
                    // If the store has no room the log says so.
                    let _ = agent.store.put(OWN_SESSION, &session);
                }
            });
        }
    }

    /// Puts the sessions into the store that are here and not in it, as long as it takes some.
    fn store_the_rest(&self) {
        let (sessions, strays) = self.state.borrow().not_stored();
        let takes = || self.store.is_behind().is_none() && self.store.has_room();
        for name in sessions {
            if !takes() {
                return;
            }
            self.put_into_store(&name);
            self.changed.notify_waiters();
        }
        for name in strays {
            if !takes() {
                return;
            }
            if let Some(stray) = self.state.borrow_mut().strays.get_mut(&name) {
                stray.stored = self.store.put(&name, &*stray.session);
            }
        }
    }

    /// Waits for the service manager to take a session, as long as it has not been waited for in
    /// vain before.
    pub(super) async fn is_taken(&self, name: &str) {
        let is_taken = |agent: &Self| {
            let state = agent.state.borrow();
            let held = state.sessions.get(name);
            held.is_none_or(|held| held.stored) || agent.store.is_behind().is_none()
        };
        let behind = self.store.is_behind();
        if is_taken(self) || behind.is_some_and(|since| since.elapsed() > PATIENCE) {
            return;
        }
        tokio::select! {
            biased;
            () = self.until(is_taken) => {}
            () = after(PATIENCE) => {}
        }
    }

    /// Puts a session that the agent has into the store, if that has room. Its owner is noted
    /// before: if luod ended between the two, nobody would know the owner. A note of a session that
    /// is nowhere does no harm.
    pub(super) fn put_into_store(&self, name: &str) {
        let mut state = self.state.borrow_mut();
        if let Some(held) = state.sessions.get_mut(name)
            && let Some(session) = &held.session
        {
            held.stored = self.store.put(name, &**session);
        }
        drop(state);
        self.mind_the_store();
    }

    /// Puts a session in that a call of the kernel was about when another service manager came.
    pub(super) fn put_anew(&self, name: &str) {
        // This one may have got it after all.
        self.store.remove(name);
        self.put_into_store(name);
    }
}
