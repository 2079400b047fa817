// SPDX-License-Identifier: MIT OR Apache-2.0
//! The checks before an update: they look at the running kernel, the target, and the files
//! that workloads have declared. The crate `luo-preflight` judges.
//!
//! | file | concern |
//! |---|---|
//! | `words` | what luod itself has to say in a report, and how one is judged |
//! | `settled` | the kernel to jump into, completed by the boot loader's entry |
//! | `subject` | all that is looked at, gathered for the thread that does so |
//! | `keeping` | whether luod can write down what it has to |
//! | `offline` | the checks without an agent |
//! | here | the agent's checks |

mod keeping;
mod offline;
mod settled;
mod subject;
mod words;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use luo_preflight::file::{self, Facts, Kind};
use luo_preflight::initrd::Stop;
use luo_preflight::memfds::Memfds;
use luo_preflight::system::System;
use luo_sys::ParticipantEntry;
use luo_varlink::{Check, CheckStatus, Orchestrator, Report, Target, TimelineKind};
use rustix::process::{Resource, getrlimit};

use super::Agent;
use super::clock::after;
use super::timeline::Line;
use super::unowned;
use super::view::{CANCEL_BY_FORCE, UNKNOWN_UPDATE, in_update};
use super::written::on_a_thread_of;
use crate::kernel::Probe;
use crate::manager;

pub use offline::offline;
pub(super) use settled::Settled;

use settled::put_entry;
use subject::{Group, Subject};
use words::{
    broken, check_awaited, check_closing, check_descriptors, check_limit, handlers, judge, late,
    name_of, obstacle, untold, unusable,
};

/// Ends reading with whoever waits for it: the checks of an update that is called off, or
/// whose deadline is over.
struct StopAtEnd(Stop);

impl Drop for StopAtEnd {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// How many descriptors luod has.
fn open() -> Option<u64> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?;
    u64::try_from(open.count()).ok()
}

impl Agent {
    /// Checks everything that an update to a kernel needs. This changes nothing. A disk that
    /// hangs fails it when the time is over.
    pub async fn check_target(&self, target: &Target) -> Report {
        let patience = self.config().kernel_deadline.0;
        let _begun = self.at_work.begin_beside("the checks", None, patience);
        let looking = async {
            let settled = self.settle(target).await;
            self.check(&settled).await
        };
        tokio::select! {
            biased;
            report = looking => report,
            () = after(patience) => judge(&self.config(), vec![late(patience)]),
        }
    }

    /// Completes a target by the configuration, and by the boot loader's entry.
    pub(super) async fn settle(&self, target: &Target) -> Settled {
        let target = self.config().complete(target);
        let root = self.config().checks.root.clone();
        let kept = target.clone();
        let resolve = Arc::clone(&self.resolve);
        let settling = on_a_thread_of(&self.lookers, move || {
            Ok(Settled::of(target, &root, &*resolve))
        });
        let settled = settling.await;
        settled.unwrap_or_else(|why| Settled {
            target: kept,
            entry: Some(broken(&why)),
        })
    }

    pub(super) async fn check(&self, settled: &Settled) -> Report {
        let begun = Instant::now();
        let report = self.look(settled).await;
        let names = |status| {
            let those = report
                .checks
                .iter()
                .filter(move |check| check.status == status);
            those.map(|check| check.name.as_str()).collect::<Vec<_>>()
        };
        let failed = names(CheckStatus::Failed).len();
        let mut text = format!("{} checks, {failed} failed", report.checks.len());
        let mut warn = names(CheckStatus::Warning);
        warn.dedup();
        if !warn.is_empty() {
            text.push_str(&format!(", warnings: {}", warn.join(", ")));
        }
        self.note(
            TimelineKind::Checked,
            Line::text(text).took(begun.elapsed()),
        );
        report
    }

    /// Looks at the running kernel, the target and all files that were declared.
    async fn look(&self, settled: &Settled) -> Report {
        let stop = StopAtEnd(Stop::default());
        let participants = self.participants().await;
        let awaited: Vec<_> = check_awaited(participants.as_deref().unwrap_or_default()).collect();
        let subject = Subject {
            system: System::at(&self.config().checks.root),
            clock: self.handed_on(),
            probe: self.probe.clone(),
            participants,
            own: Arc::clone(&self.own_strings),
            target: settled.target.clone(),
            files: self.declared(),
            groups: self.groups(),
            stop: stop.0.clone(),
        };
        // Images are large, so another thread reads them while this one serves peers.
        let looked = on_a_thread_of(&self.lookers, move || Ok(subject.checks())).await;
        drop(stop);
        let mut checks = looked.unwrap_or_else(|why| vec![broken(&why)]);
        put_entry(&mut checks, settled.entry.clone());
        checks.extend(awaited);
        checks.extend(self.check_jump().await);
        let device = self.check_device().await;
        self.check_state(&mut checks).await;
        self.name_foreign(&mut checks).await;
        checks.extend(device);
        checks.extend(check_limit(getrlimit(Resource::Fsize).current));
        checks.extend(
            open().and_then(|open| check_descriptors(open, getrlimit(Resource::Nofile).current)),
        );
        checks.extend(check_closing());
        checks.extend(self.check_settings().await);
        checks.extend(self.check_custody());
        checks.extend(self.check_notes().await);
        checks.extend(self.check_damage());
        checks.extend(self.check_history().await);
        checks.extend(self.check_report().await);
        checks.extend(self.check_workloads());
        let obstacles = self.obstacles();
        let checks = checks
            .into_iter()
            .chain(obstacles.into_iter().map(obstacle));
        judge(&self.config(), checks.collect())
    }

    /// Whether the luod that is started behind the jump can use its configuration and its policy.
    async fn check_settings(&self) -> Option<Check> {
        let reread = Arc::clone(&self.reread);
        let read = on_a_thread_of(&self.lookers, move || Ok(reread())).await;
        match read {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(unusable(&why)),
            Err(why) => Some(broken(&why)),
        }
    }

    /// Whether something is lost by the way in which the machine jumps.
    async fn check_jump(&self) -> Option<Check> {
        let jump = self.config().jump;
        let root = self.config().checks.root.clone();
        // The service manager is asked, which may take its time.
        let asking = on_a_thread_of(&self.lookers, move || Ok(manager::check(jump, &root)));
        let checked = asking.await;
        checked.unwrap_or_else(|why| Some(broken(&why)))
    }

    /// Whether the kernel is in an update already, whoever began it. It is asked itself:
    /// what the files of the machine say may be of another one.
    async fn check_state(&self, checks: &mut Vec<Check>) {
        let probing = self.ask_kernel("GET_STATE", |kernel| kernel.probe());
        // That it cannot be asked is told by another check.
        let another = match probing.await {
            Ok(Ok(probe)) => self.in_another_update(&probe),
            _ => None,
        };
        let Some(check) = another.or_else(|| self.not_over()) else {
            return;
        };
        let known = checks.iter().position(|known| known.name == check.name);
        match known.and_then(|known| checks.get_mut(known)) {
            Some(known) => *known = check,
            None => checks.push(check),
        }
    }

    /// No update begins before the last one is over, whatever the kernel tells of it.
    fn not_over(&self) -> Option<Check> {
        if !self.is_at_rest() {
            let phase = self.state.borrow().phase.0;
            return Some(Check {
                name: "running-state".to_owned(),
                status: CheckStatus::Failed,
                found: format!("luod is {phase}, in an update"),
                remedy: Some("wait for its end, or cancel it: `luoctl cancel`".to_owned()),
            });
        }
        let state = self.state.borrow();
        let restore = state.restore.as_ref();
        let id = restore.map_or("", |restore| restore.record.update.as_str());
        let mut remedy =
            "wait for them (`luoctl status` says how long still), or end it: `luoctl finish`";
        let found = match (&state.unreadable, restore) {
            (Some(why), _) => {
                remedy = "`luoctl finish --release` gives it up";
                let phase = state.phase.0;
                format!("luod is {phase}, and the previous kernel's record cannot be read: {why}")
            }
            (None, None) => return None,
            (None, Some(restore)) => {
                let mut who = Vec::new();
                for participant in &restore.record.participants {
                    let name = &participant.name;
                    let own = state.sessions.of(name);
                    let own = own.filter(|(_, held)| held.incoming && !held.parked);
                    let own: Vec<_> = own.map(|(session, _)| session.as_str()).collect();
                    let serves = restore.progress.restored.contains(name);
                    match (own.is_empty(), serves || participant.is_parked()) {
                        (true, true) => {}
                        (true, false) => who.push(format!("{name} does not serve yet")),
                        (false, _) => {
                            let own = own.join(", ");
                            who.push(format!("{name} has not finished {own}"));
                        }
                    }
                }
                format!(
                    "luod is {}, update {id} is not over: {}",
                    state.phase.0,
                    who.join("; ")
                )
            }
        };
        Some(Check {
            name: "running-state".to_owned(),
            status: CheckStatus::Failed,
            found,
            remedy: Some(remedy.to_owned()),
        })
    }

    fn in_another_update(&self, probe: &Probe) -> Option<Check> {
        let state = in_update(probe)?;
        let is_ours = !self.is_at_rest();
        let (whose, remedy) = match is_ours {
            true => (
                "in an update of this luod",
                "wait for its end, or cancel it: `luoctl cancel`",
            ),
            false => (UNKNOWN_UPDATE, CANCEL_BY_FORCE),
        };
        Some(Check {
            name: "running-state".to_owned(),
            status: CheckStatus::Failed,
            found: format!("the kernel is {state}, {whose}"),
            remedy: Some(remedy.to_owned()),
        })
    }

    /// Names the sessions of the previous kernel that are not this agent's, where a check
    /// warns of them. That there are some whose owner is not known is said in any case.
    async fn name_foreign(&self, checks: &mut Vec<Check>) {
        let unowned = self.look_for_unowned().await;
        let replaced = self.check_replaced(&unowned);
        checks.extend(self.check_elsewhere(&unowned).await);
        self.name_the_foreign(checks, unowned.names).await;
        checks.extend(replaced);
    }

    async fn name_the_foreign(&self, checks: &mut Vec<Check>, unowned: Vec<String>) {
        let mut known = checks.iter_mut();
        let check = known
            .find(|check| check.name == "running-state" && check.status == CheckStatus::Warning);
        let Some(check) = check else {
            if self.probe.orchestrator == Orchestrator::Mainline {
                checks.push(untold());
                return;
            }
            checks.extend((!unowned.is_empty()).then(|| Check {
                name: "running-state".to_owned(),
                status: CheckStatus::Warning,
                found: unowned::words(&unowned),
                remedy: Some(unowned::REMEDY.to_owned()),
            }));
            return;
        };
        let Ok(sessions) = self.sessions().await else {
            return;
        };
        let foreign = sessions.iter().filter(|session| session.incoming);
        let names: Vec<_> = foreign
            .map(|session| match &session.workload {
                Some(workload) => format!("{} (of {workload})", session.name),
                None => format!("{} (of a program that luod does not know)", session.name),
            })
            .collect();
        if !names.is_empty() {
            check
                .found
                .push_str(&format!(". These are: {}", names.join(", ")));
        }
    }

    /// Whether the device can be had. Another program that has it keeps the update from beginning.
    async fn check_device(&self) -> Option<Check> {
        let why = match self
            .ask_kernel("the kernel", |kernel| kernel.is_free())
            .await
        {
            Ok(free) => free.err()?,
            Err(hangs) => {
                return Some(Check {
                    name: "running-device".to_owned(),
                    status: CheckStatus::Failed,
                    found: hangs.to_string(),
                    remedy: Some("`dmesg` may say what it waits for".to_owned()),
                });
            }
        };
        let root = self.config().checks.root.clone();
        // Without CAP_SYS_PTRACE, as under the packaged unit, luod may not look at the files of
        // programs that have more privileges than it. luoctl may, and adds who it is.
        let looking = on_a_thread_of(&self.lookers, move || Ok(System::at(&root).holders()));
        let holders = looking.await.unwrap_or_default();
        Some(luo_preflight::running::holders::device(
            &why.errno().to_string(),
            &holders,
        ))
    }

    /// Whether there is anybody who is asked, and anything that luod takes along. Whoever looks
    /// may have a workload that ended a moment ago.
    fn check_workloads(&self) -> Option<Check> {
        let state = self.state.borrow();
        let is_empty = state.workloads.is_empty() && state.sessions.iter().next().is_none();
        is_empty.then(|| Check {
            name: "workloads".to_owned(),
            status: CheckStatus::Warning,
            found: "no workload takes part: an update would jump at once".to_owned(),
            remedy: Some("if some ought to, start them before (`luoctl status`)".to_owned()),
        })
    }

    /// The files that were declared. Files that are preserved already have their pages, so
    /// they do not count for the memory that an update needs.
    fn declared(&self) -> Vec<(String, Facts)> {
        let state = self.state.borrow();
        let all = state.sessions.iter().flat_map(|(session, held)| {
            let declared = held.declared.iter();
            declared.filter_map(move |(token, fd)| {
                let facts = file::look(&**fd).ok()?;
                Some((name_of(session, *token), facts))
            })
        });
        all.collect()
    }

    /// The participants in updates, if the kernel lists them; while it cannot be asked, those that
    /// it last listed. With neither, it would pass for a kernel that has no handlers but
    /// mainline's.
    async fn participants(&self) -> Option<Vec<ParticipantEntry>> {
        if self.probe.orchestrator != Orchestrator::Contract {
            return None;
        }
        let asked = self.ask_kernel("LIST_PARTICIPANTS", |kernel| kernel.participants());
        // Why it cannot be asked is told by another check.
        if let Ok(Ok(told)) = asked.await {
            self.heard.replace(told);
        }
        self.heard.borrow().clone()
    }

    /// The workloads that are connected, with their control groups, and what they have declared.
    fn groups(&self) -> Vec<Group> {
        let state = self.state.borrow();
        let all = state.workloads.iter().filter_map(|(name, workload)| {
            let group = workload.link.as_ref()?.group.clone()?;
            let sessions = state.sessions.of(name);
            let files = sessions.flat_map(|(_, held)| held.declared.values());
            Some(Group {
                workload: name.clone(),
                group,
                files: files.filter_map(|fd| file::look(&**fd).ok()).collect(),
            })
        });
        all.collect()
    }

    /// Looks at a file that is going to be preserved.
    pub(super) async fn check_file(&self, session: &str, token: u64, fd: &OwnedFd) -> Report {
        let system = System::at(&self.config().checks.root);
        let name = name_of(session, token);
        let facts = file::look(fd);
        let handlers = self.participants().await.map(|all| handlers(&all));
        // Which kernel is the next is not known yet.
        let memfds = Memfds::of(handlers.as_deref(), None);
        let handlers = handlers.as_deref();
        let checks = match facts {
            Ok(facts) => file::checks(&name, &facts, &system.memory(), handlers, memfds),
            Err(why) => vec![Check {
                name: "file-kind".to_owned(),
                status: CheckStatus::Failed,
                found: format!("{name}: {why}"),
                remedy: Some("preserve a memfd".to_owned()),
            }],
        };
        judge(&self.config(), checks)
    }

    /// The same for a file of a kind that is not taken in here.
    pub(super) async fn check_kind(&self, session: &str, token: u64, kind: Kind) -> Report {
        let handlers = self.participants().await.map(|all| handlers(&all));
        let name = name_of(session, token);
        let check = file::kind_check(&name, kind, handlers.as_deref());
        judge(&self.config(), vec![check])
    }
}
