// SPDX-License-Identifier: MIT OR Apache-2.0
//! The status of the agent and the list of sessions, for those who ask.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use luo_preflight::running::holders;
use luo_sys::{Direction, SessionState, State as KernelState};
use luo_varlink::{Custody, Orchestrator, Phase, SessionInfo, Status, Workload, WorkloadState};

use super::Agent;
use super::at_work::SHUTTING_DOWN;
use super::clock::after;
use super::held::Held;
use super::state::{BY_FINISH, Seen, State, Unowned};
use super::written::on_a_thread_of;
use super::{custody, doubt, hang, unowned, unreadable};
use crate::aside;
use crate::decide::config::{Config, Unclaimed};
use crate::decide::failed::Failed;
use crate::decide::names::OWN_SESSION;
use crate::decide::plan::Obstacle;
use crate::decide::unwritable::unwritable;
use crate::journal::log;
use crate::kernel::{self, Opener, Probe, Told};

/// The programs that may have begun an update which this agent has not.
pub(super) const UNKNOWN_UPDATE: &str = "and not by this luod: another program has begun an \
                                         update, or a luod that is gone";

/// The remedy.
pub(super) const CANCEL_BY_FORCE: &str = "wait until the other program has ended its update; if \
                                          there is none that would: `luoctl cancel --force`";

/// That the history takes nothing, and why.
pub(super) fn full_disk(config: &Config, why: &str) -> String {
    let folder = config.state_directory.display();
    format!("what becomes of an update cannot be written to {folder}: {why}")
}

/// The remedy, where it is for want of room.
const FULL_REMEDY: &str = "make room there, or name another state_directory";

/// The remedy for a history that takes nothing.
pub(super) fn full_remedy(why: &str) -> &'static str {
    unwritable(why, FULL_REMEDY)
}

/// The state of a kernel that is in an update already.
pub(super) fn in_update(probe: &Probe) -> Option<KernelState> {
    let state = probe.state?;
    matches!(state, KernelState::Prepared | KernelState::Frozen).then_some(state)
}

/// How long a look at the kernel counts as fresh, if the agent has not changed it since.
const FRESH: Duration = Duration::from_millis(500);

/// How long a call for the status waits for the kernel.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long it may take to say what it tells everybody.
const TELLING: Duration = Duration::from_secs(1);

/// The remedy for descriptors that the kernel does not let go of.
pub(super) const CLOSING_REMEDY: &str = "`dmesg` may say what it waits for: for example, for a program that writes to a file of the \
     session, and does not end";

/// How long closing a descriptor may take before anybody is told.
const HANGS: Duration = Duration::from_secs(5);

/// Says that the kernel does not let go of what luod has let go of.
pub(super) fn not_closed() -> Option<String> {
    let (count, waited) = aside::hanging(HANGS)?;
    Some(format!(
        "the kernel has not let go yet of {count} descriptors that luod has closed, of one of them \
         for {} s: a session among them takes part in updates",
        waited.as_secs()
    ))
}

impl Agent {
    /// How the agent and the machine stand.
    pub async fn status(&self) -> Status {
        let probe = self.look_at_kernel().await;
        let unowned = self.still_unowned().await;
        let full = self.history_fails().await;
        let told = self.told_while_not_undone().await;
        let state = self.state.borrow();
        Status {
            phase: state.phase.0,
            update: state.update_id().map(str::to_owned),
            work: self.at_work.told(),
            orchestrator: probe.orchestrator,
            kernel_state: told
                .map_or(probe.state, |told| told.state)
                .map(|state| state.to_string()),
            kernel_release: kernel::release(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            workloads: workloads(&state, self.config().unclaimed),
            warnings: self.warnings(&probe, told, &unowned, full),
            unreadable: state.unreadable.clone(),
        }
    }

    /// The state that the kernel tells everybody while it has an update to undo that is over: the
    /// state that was seen before that is not how it stands.
    pub(super) async fn told_while_not_undone(&self) -> Option<Told> {
        if !self.is_not_undone() {
            return None;
        }
        let tell = Arc::clone(&self.tell);
        let asked = on_a_thread_of(&self.lookers, move || Ok(tell()));
        let told = tokio::select! {
            biased;
            told = asked => told.ok(),
            () = after(TELLING) => None,
        };
        Some(told.unwrap_or_default())
    }

    /// All metrics, with what stands now. The kernel is not asked.
    pub fn metrics_text(&self) -> String {
        let state = self.state.borrow();
        let sessions = state.sessions.iter();
        let custodies = sessions.map(|(_, held)| custody::of(&state, held));
        let custodies = custodies.chain(state.strays.values().map(|_| Custody::Agent));
        let states = state.workloads.values().map(|workload| workload.state);
        self.metrics.count(states, custodies);
        self.metrics.text()
    }

    /// The things that an administrator should look at, in words.
    fn warnings(
        &self,
        probe: &Probe,
        told: Option<Told>,
        unowned: &Unowned,
        full: Option<String>,
    ) -> Option<Vec<String>> {
        let mut warnings = self.history_warnings(full);
        if let Some(why) = self.not_reloaded.borrow().as_deref() {
            warnings.push(format!(
                "luod was told to read its configuration and its policy again and could not, so \
                 those of before count: {why}"
            ));
        }
        warnings.extend(self.moves_later());
        let unkept = self.unkept();
        warnings.extend(unkept.map(|(words, remedy)| format!("{words}: {remedy}")));
        if let Some(update) = self.lost.borrow().as_deref() {
            warnings.push(format!(
                "the last update, {update}, was lost in the jump: `luoctl history last` says how \
                 far it was"
            ));
        }
        if let Some(state) = in_update(probe).filter(|_| self.is_at_rest()) {
            warnings.push(format!(
                "the kernel is {state}, {UNKNOWN_UPDATE}: {CANCEL_BY_FORCE}"
            ));
        }
        if let Some(words) = self.unreadable() {
            warnings.push(format!("{words}: {}", unreadable::REMEDY));
        }
        warnings.extend(self.session_warnings(unowned));
        let dropped = log::dropped();
        if dropped > 0 {
            warnings.push(format!(
                "{dropped} lines of luod's log were dropped: whoever reads it does not, or did not, \
                 keep up with it"
            ));
        }
        if let Some((what, since)) = self.hangs_in() {
            let remedy = told.unwrap_or_default().before(hang::remedy(what));
            warnings.push(format!(
                "the kernel hangs: {what} has not come back for {} s, and all else that is asked \
                 of it waits behind that or is refused: {remedy}",
                since.elapsed().as_secs()
            ));
        } else if let Some(what) = self.at_work.late() {
            warnings.push(format!("{what} takes its time: {SHUTTING_DOWN}"));
        }
        warnings.extend(not_closed().map(|words| format!("{words}: {CLOSING_REMEDY}")));
        (!warnings.is_empty()).then_some(warnings)
    }

    /// Those of the history: why it takes nothing, and what it has not taken.
    fn history_warnings(&self, full: Option<String>) -> Vec<String> {
        let config = self.config();
        let folder = config.state_directory.display();
        let full = full.map(|why| format!("{}: {}", full_disk(&config, &why), full_remedy(&why)));
        let unwritten = match self.history.count_unwritten() {
            0 => None,
            1 => Some("1 update that is over".to_owned()),
            many => Some(format!("{many} updates that are over")),
        };
        let unwritten =
            unwritten.map(|updates| format!("{updates} could not be written to {folder}"));
        full.into_iter().chain(unwritten).collect()
    }

    /// Those of sessions: damaged ones, ones in doubt, ones without their owner.
    fn session_warnings(&self, unowned: &Unowned) -> Vec<String> {
        let state = self.state.borrow();
        let mut warnings = state.damaged.clone();
        warnings.extend(state.lost_with_luod.clone());
        warnings.extend(
            state
                .doubt()
                .map(|words| format!("{words}: {}", doubt::REMEDY)),
        );
        warnings.extend(state.stray_obstacles().map(|stray| stray.words()));
        let told = [
            (
                &unowned.replaced,
                unowned::words_of_loss as fn(&[String]) -> String,
            ),
            (&unowned.names, unowned::words),
        ];
        let told = told.into_iter().filter(|(names, _)| !names.is_empty());
        warnings
            .extend(told.map(|(names, words)| format!("{}: {}", words(names), unowned::REMEDY)));
        let elsewhere = unowned.elsewhere.iter();
        warnings.extend(elsewhere.map(|(name, workload)| {
            let check = holders::session_elsewhere(name, workload, &[]);
            format!("{}: {}", check.found, check.remedy.unwrap_or_default())
        }));
        warnings
    }

    /// Whether this agent has nothing to do with what state the kernel is in: it may have
    /// begun an update, and has not had the kernel prepare.
    pub(super) fn is_at_rest(&self) -> bool {
        let state = self.state.borrow();
        match (state.phase.0, &state.update) {
            (Phase::Normal | Phase::Updated, _) => true,
            // The room of the record is known right before.
            (Phase::Preparing, Some(update)) => update.room == 0,
            _ => false,
        }
    }

    /// The kernel as it stands. Everybody may ask for the status, but the device has one
    /// opener at a time: so it is opened now and then only, by one question at a time, and
    /// another opener is not waited for long.
    async fn look_at_kernel(&self) -> Probe {
        let fresh = |seen: &Seen| seen.changes == self.changes.get() && seen.at.elapsed() < FRESH;
        let seen = self.seen.borrow().clone().filter(fresh);
        if let Some(seen) = seen {
            return seen.probe;
        }
        let last = || {
            let seen = self.seen.borrow();
            let last = seen.as_ref().map(|seen| seen.probe.clone());
            last.unwrap_or_else(|| self.probe.clone())
        };
        // It answers nobody before that is done.
        if self.at_work.has_the_kernel() {
            return last();
        }
        let changes = self.changes.get();
        let probed = async {
            // While it hangs, nobody waits for it in vain.
            self.heed_hang("GET_INFO")?;
            self.question(|kernel| kernel.probe()).await
        };
        match tokio::time::timeout(PATIENCE, probed).await {
            Ok(Ok(probe)) => {
                let at = Instant::now();
                let seen = Seen { probe, at, changes };
                self.seen.replace(Some(seen.clone()));
                seen.probe
            }
            // Somebody else has the device just now.
            _ => last(),
        }
    }

    /// The obstacles that make an update impossible.
    pub(super) fn obstacles(&self) -> Vec<Obstacle> {
        let state = self.state.borrow();
        let mut obstacles = state.obstacles();
        obstacles.extend(self.unreadable_obstacle());
        obstacles.extend(state.stray_obstacles());
        // Mainline's orchestrator drops what the kernel before has left and nobody has taken.
        let is_mainline = self.probe.orchestrator == Orchestrator::Mainline;
        let waiting = state.sessions.iter();
        let waiting = waiting.filter(|(_, held)| held.parked && held.incoming && is_mainline);
        let waiting = waiting.filter(|(_, held)| held.session.is_none());
        obstacles.extend(waiting.map(|(name, held)| {
            let owner = &held.workload;
            Obstacle {
                found: format!(
                    "session '{name}' of the previous kernel waits for '{owner}', and this \
                     kernel would drop it in the jump"
                ),
                remedy: format!("start '{owner}', or release it with `luoctl release`"),
            }
        }));
        // No kernel carries on what was taken from it once. A workload that is connected may veto.
        let is_there = |name: &str| {
            let owner = state.workloads.get(name);
            owner.is_some_and(|owner| owner.link.is_some())
        };
        let unfinished = state.sessions.iter().filter(|(_, held)| {
            let is_its = !held.parked && is_there(&held.workload);
            is_its && held.incoming && held.session.is_some()
        });
        obstacles.extend(unfinished.map(|(name, held)| {
            let owner = &held.workload;
            let release = match state.ends_with_the_update(held) {
                true => BY_FINISH,
                false => "release the session with `luoctl release`",
            };
            let has_asked = held.claimed;
            Obstacle {
                found: match has_asked {
                    true => format!(
                        "workload '{owner}' has taken back session '{name}' of the previous \
                         kernel and not finished it, so what is in it is not yet in one for the \
                         next"
                    ),
                    false => format!(
                        "workload '{owner}' has not asked for session '{name}' of the previous \
                         kernel, which luod keeps for it, and no kernel carries that on"
                    ),
                },
                remedy: format!(
                    "wait until '{owner}' has {} it; or stop '{owner}', and {release}",
                    match has_asked {
                        true => "finished",
                        false => "taken back and finished",
                    }
                ),
            }
        }));
        let taken = state.sessions.iter().filter(|(_, held)| {
            held.parked && held.incoming && held.session.is_some() && !is_there(&held.workload)
        });
        obstacles.extend(taken.map(|(name, held)| {
            let owner = &held.workload;
            Obstacle {
                found: format!(
                    "session '{name}' of the previous kernel was taken back and not finished, \
                     so no kernel carries it on"
                ),
                remedy: format!(
                    "have '{owner}' take it again (`luoctl take`), or release it with \
                     `luoctl release`"
                ),
            }
        }));
        obstacles
    }

    /// All sessions that the agent and the kernel know.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub async fn sessions(&self) -> Result<Vec<SessionInfo>, Failed> {
        let listing = self.ask_kernel("LIST_SESSIONS", |kernel| kernel.sessions(Opener::Moment));
        let kernels = listing.await??;
        let state = self.state.borrow();
        let own = state.sessions.iter();
        let mut all: BTreeMap<_, _> = own
            .map(|(name, held)| ((name.clone(), held.incoming), info(&state, name, held)))
            .collect();
        let strays = state.stray_infos();
        all.extend(strays.map(|stray| ((stray.name.clone(), stray.incoming), stray)));
        for entry in kernels.into_iter().flatten() {
            let Some(name) = entry.name.filter(|_| !entry.of_device) else {
                continue;
            };
            let (name, incoming) = (name.to_string(), entry.direction == Direction::Incoming);
            let is_own = name == OWN_SESSION;
            let known = all.entry((name.clone(), incoming));
            let known = known.or_insert_with(|| SessionInfo {
                name,
                workload: None,
                custody: match entry.state {
                    SessionState::Unclaimed | SessionState::Closed => Custody::Kernel,
                    _ if is_own => Custody::Agent,
                    _ => Custody::Shared,
                },
                incoming,
                files: None,
                bytes: None,
                identity: None,
                left: None,
            });
            known.files = Some(entry.files);
            known.bytes = Some(entry.bytes);
        }
        Ok(all.into_values().collect())
    }
}

fn workloads(state: &State, unclaimed: Unclaimed) -> Vec<Workload> {
    let of = |(name, workload): (&String, &super::state::Workload)| Workload {
        name: name.clone(),
        identity: workload.identity.clone(),
        state: workload.state,
        connected: workload.link.is_some(),
        needs: workload.needs.clone(),
        sessions: state.sessions.names_of(name),
        left_ms: late_at(state, workload, unclaimed).map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
        }),
        about: workload.about.clone(),
    };
    state.workloads.iter().map(of).collect()
}

/// When a workload is late that is waited for. Nothing becomes of one that comes back late where
/// unclaimed sessions are kept.
fn late_at(
    state: &State,
    workload: &super::state::Workload,
    unclaimed: Unclaimed,
) -> Option<Instant> {
    match workload.state {
        WorkloadState::Preparing | WorkloadState::Freezing => workload.late_at,
        WorkloadState::Waiting | WorkloadState::Restoring if unclaimed == Unclaimed::Finish => {
            let restore = state.restore.as_ref();
            restore.filter(|restore| !restore.overdue)?.until
        }
        _ => None,
    }
}

fn info(state: &State, name: &str, held: &Held) -> SessionInfo {
    let owner = state.workloads.get(&held.workload);
    SessionInfo {
        name: name.to_owned(),
        workload: Some(held.workload.clone()),
        custody: custody::of(state, held),
        incoming: held.incoming,
        files: None,
        bytes: None,
        identity: owner.map(|owner| owner.identity.clone()),
        left: Some(held.parked || owner.is_some_and(|owner| owner.state == WorkloadState::Left)),
    }
}
