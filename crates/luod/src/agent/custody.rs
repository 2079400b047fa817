// SPDX-License-Identifier: MIT OR Apache-2.0
//! The custody of sessions: with its workload, with the kernel, or with luod alone. A session that
//! luod alone has is lost with luod's end, unless the service manager keeps it, too.
//!
//! ```text
//! kept --the supervisor dies--> kept by nobody --another takes luod over--> kept: all is put in again
//! ```
//!
//! Where nobody keeps it, the status and the checks say so, and a workload that would leave a session
//! with luod is refused. systemd does not die; `luod supervise` may.

use std::time::Duration;

use luo_sys::Direction;
use luo_varlink::{Check, CheckStatus, Custody};

use super::Agent;
use super::held::Held;
use super::state::{State, Workload};
use crate::decide::names::OWN_SESSION;
use crate::kernel::Opener;
use crate::manager::store::Look;

/// How often it is looked whether the supervisor is still there.
const LOOKS: Duration = Duration::from_secs(1);

/// That the supervisor is gone.
const GONE: &str = "luod's supervisor is gone, so nobody starts luod again, and nobody keeps what \
                    luod alone has";

/// The remedy.
const TAKE_OVER: &str = "run `luod supervise` again, with the same folder: it takes this luod over, \
                         with all that it has; do not end luod before";

/// The remedy where there has never been a supervisor, or one without room.
const KEEP: &str = "have its owner take it back (`luoctl take`), or update before luod ends; have \
                    systemd run luod, or `luod supervise`, with room in its store \
                    (FileDescriptorStoreMax=)";

/// The same for the record alone, which nobody can take back.
const KEEP_RECORD: &str = "do not end luod before the record is read and noted; have systemd run \
                           luod, or `luod supervise`, with room in its store \
                           (FileDescriptorStoreMax=)";

/// The name of the record's own session in a list of sessions.
const RECORD: &str = "the previous kernel's record, which is not noted";

/// The custody of a session: the kernel's, luod's alone, or luod's and the service manager's.
pub(super) fn of(state: &State, held: &Held) -> Custody {
    let owner = state.workloads.get(&held.workload);
    // The state of a workload says what is expected of it; its connection, that it is there.
    let is_there = owner.is_some_and(Workload::is_there);
    match (&held.session, is_there) {
        (None, _) => Custody::Kernel,
        (Some(_), false) => Custody::Agent,
        (Some(_), true) => Custody::Shared,
    }
}

impl State {
    /// The sessions that luod alone has and of which `which` is true; it is told whether the
    /// session was put into the store.
    fn alone_with(&self, which: &impl Fn(bool) -> bool) -> Vec<String> {
        let held = self.sessions.iter().filter(|(_, held)| {
            let is_alone = held.session.is_some() && of(self, held) == Custody::Agent;
            // One on its way to or from the kernel is somebody's who waits for it.
            is_alone && !held.busy && which(held.stored)
        });
        let strays = self.strays.iter().filter(|(_, stray)| which(stray.stored));
        let strays = strays.map(|(name, _)| name);
        held.map(|(name, _)| name).chain(strays).cloned().collect()
    }
}

impl Agent {
    /// The same, with the record's own session: so long as that is not noted, all that came along
    /// hangs on it.
    fn alone_with(&self, which: impl Fn(bool) -> bool) -> Vec<String> {
        let state = self.state.borrow();
        let mut names = state.alone_with(&which);
        if state.unnoted_record && which(self.store.has(OWN_SESSION)) {
            names.push(RECORD.to_owned());
        }
        names
    }

    /// Forgets sessions of the previous kernel that were lost with an earlier luod, which alone had
    /// them and was told to end: neither the kernel nor the store has them. Whoever looks is told.
    pub(super) async fn find_the_lost(&self) {
        let waits = |held: &Held| held.incoming && held.session.is_none() && !held.busy;
        if !self
            .state
            .borrow()
            .sessions
            .iter()
            .any(|(_, held)| waits(held))
        {
            return;
        }
        let listing = self.ask_kernel("LIST_SESSIONS", |kernel| kernel.sessions(Opener::Waited));
        // Mainline's orchestrator lists none.
        let Ok(Ok(Some(listed))) = listing.await else {
            return;
        };
        let is_there = |name: &str| {
            let mut listed = listed.iter();
            listed.any(|entry| {
                let is_incoming = entry.direction == Direction::Incoming && !entry.of_device;
                let known = entry.name.as_ref().filter(|_| is_incoming);
                known.is_some_and(|known| known.to_string() == name)
            })
        };
        let state = self.state.borrow();
        let lost = state.sessions.iter().filter(|(_, held)| waits(held));
        let lost = lost.filter(|(name, _)| !is_there(name));
        let lost: Vec<_> = lost.map(|(name, _)| name.clone()).collect();
        drop(state);
        for name in &lost {
            self.gone(name);
        }
        if !lost.is_empty() {
            let words = format!(
                "what luod alone had of the previous kernel has gone with an earlier luod, which \
                 was told to end: {} was lost",
                lost.join(", ")
            );
            tracing::error!("{words}");
            self.state.borrow_mut().lost_with_luod = Some(words);
        }
    }

    /// Looks now and then whether the supervisor is still there.
    pub(super) fn watch_the_supervisor(&self) {
        self.begin_task(async |agent| {
            loop {
                tokio::time::sleep(LOOKS).await;
                agent.look_at_the_store();
            }
        });
    }

    /// Looks whether somebody keeps what luod has, and puts all in that another one does not have
    /// yet.
    pub(super) fn look_at_the_store(&self) {
        match self.store.look() {
            Look::Same => {}
            Look::Gone => {
                if let Some((words, remedy)) = self.unkept() {
                    tracing::error!("{words}: {remedy}");
                }
            }
            Look::Another => {
                tracing::warn!("another supervisor keeps what luod has from here on");
                self.store_all_anew();
            }
        }
    }

    /// The fault in how luod's sessions are kept, if there is one, and the remedy.
    pub(super) fn unkept(&self) -> Option<(String, &'static str)> {
        let listed = |names: &[String]| names.join(", ");
        if self.store.is_there() && !self.store.keeps() {
            return Some(match self.alone_with(|_| true).as_slice() {
                [] => (GONE.to_owned(), TAKE_OVER),
                names => {
                    let words = format!(
                        "{GONE}; with its end these would be lost: {}",
                        listed(names)
                    );
                    (words, TAKE_OVER)
                }
            });
        }
        let is_there = self.store.is_there();
        let names = self.alone_with(|stored| !(is_there && stored));
        (!names.is_empty()).then(|| {
            let remedy = match names.as_slice() {
                [name] if name == RECORD => KEEP_RECORD,
                _ => KEEP,
            };
            let names = listed(&names);
            let words = format!(
                "luod alone has what no service manager keeps, and with its end it would be lost: \
                 {names}"
            );
            (words, remedy)
        })
    }

    /// Why nothing can be left here just now.
    pub(super) fn keeps_nothing(&self) -> Option<String> {
        if !self.store.is_there() {
            return Some(
                "there is no descriptor store, so a crash of luod would lose the sessions: have \
                 systemd run luod, or `luod supervise`"
                    .to_owned(),
            );
        }
        (!self.store.keeps()).then(|| format!("{GONE}: {TAKE_OVER}"))
    }

    pub(super) fn check_custody(&self) -> Option<Check> {
        let (found, remedy) = self.unkept()?;
        Some(Check {
            name: "custody".to_owned(),
            status: CheckStatus::Warning,
            found,
            remedy: Some(remedy.to_owned()),
        })
    }

    /// The sessions that are lost if luod is told to end.
    pub(super) fn gone_with_luod(&self) -> Vec<String> {
        let ends = self.store.ends_with_the_agent();
        self.alone_with(|stored| ends || !stored)
    }

    /// Says what is lost because luod is told to end.
    pub(super) fn tell_what_goes_with_luod(&self) {
        let names = self.gone_with_luod();
        if !names.is_empty() {
            tracing::error!(
                "luod is told to end, and nobody keeps what it alone has: with it go {}",
                names.join(", ")
            );
        }
    }
}
