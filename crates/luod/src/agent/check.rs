// SPDX-License-Identifier: MIT OR Apache-2.0
//! The checks before an update: they look at the running kernel, the target, and the files
//! that workloads have declared. The crate `luo-preflight` judges.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use luo_preflight::abi::{Abi, FAMILIES};
use luo_preflight::file::{self, Facts, Kind};
use luo_preflight::initrd::{Archive, Stop, Unusable};
use luo_preflight::memfds::Memfds;
use luo_preflight::system::System;
use luo_preflight::update::{self, Update};
use luo_preflight::{image, initrd, memory, target};
use luo_sys::{Errno, ParticipantEntry, ParticipantKind};
use luo_varlink::{Check, CheckStatus, Orchestrator, Report, Target, TimelineKind};
use rustix::process::{Resource, getrlimit};

use super::timeline::Line;
use super::unowned;
use super::view::{CANCEL_BY_FORCE, FULL_REMEDY, UNKNOWN_UPDATE, full_disk, in_update};
use super::{Agent, OwnStrings};
use crate::decide::config::{CHECKS, Config, Jump};
use crate::decide::failed::Failed;
use crate::decide::plan::Obstacle;
use crate::decide::record::MAX_LENGTH;
use crate::journal::notes::ROOM;
use crate::journal::picture;
use crate::kernel::{Kernel, Linux, Probe, command_line, initrds, resolve};

/// The check that the checks themselves work, which cannot be ignored.
const BROKEN: &str = "checks";

/// All that the checks look at, gathered for the thread that runs them.
struct Subject {
    system: System,
    probe: Probe,
    participants: Option<Vec<ParticipantEntry>>,
    own: OwnStrings,
    target: Target,
    files: Vec<(String, Facts)>,
    /// Workloads with their control groups, and bytes of the files that they have declared.
    groups: Vec<(String, String, u64)>,
    /// Ends the reading of initrds once nobody waits for it.
    stop: Stop,
}

/// Ends reading with whoever waits for it: the checks of an update that is called off, or
/// whose deadline is over.
struct StopAtEnd(Stop);

impl Drop for StopAtEnd {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A kernel to jump into that is complete, and what is to be said of where it comes from.
pub(super) struct Settled {
    pub(super) target: Target,
    entry: Option<Check>,
}

impl Settled {
    /// Completes a target by the entry that it names, or by the boot loader's own.
    fn of(target: Target, root: &Path) -> Self {
        if target.image.is_some() {
            let entry = None;
            return Self { target, entry };
        }
        let check = |status, found, remedy: Option<&str>| Check {
            name: "target-entry".to_owned(),
            status,
            found,
            remedy: remedy.map(str::to_owned),
        };
        match resolve(target.clone(), root) {
            Ok((target, passed_over)) => {
                let name = target.entry.as_deref().unwrap_or_default();
                let image = target.image.as_deref().unwrap_or_default();
                let found = format!("the boot entry {name} is taken: {image}");
                let entry = match passed_over.is_empty() {
                    true => check(CheckStatus::Ok, found, None),
                    false => {
                        let found = format!("{found}; {}", passed_over.join("; "));
                        let remedy = "look whether that is the kernel that you want; --entry \
                                      names another";
                        check(CheckStatus::Warning, found, Some(remedy))
                    }
                };
                let entry = Some(entry);
                Self { target, entry }
            }
            Err(why) => {
                let remedy = "name a kernel (--kernel), or a boot entry (--entry), or either in \
                              [target] of the configuration";
                let entry = Some(check(CheckStatus::Failed, why.to_string(), Some(remedy)));
                Self { target, entry }
            }
        }
    }
}

/// Puts what is said of the entry before what is said of the image.
fn put_entry(checks: &mut Vec<Check>, entry: Option<Check>) {
    let place = checks
        .iter()
        .position(|check| check.name.starts_with("target-"));
    let place = place.unwrap_or(checks.len());
    checks.splice(place..place, entry);
}

/// The checks without an agent, by its configuration: they know no workloads and no files that
/// those have declared.
#[must_use]
pub fn offline(config: &Config, target: &Target) -> Report {
    let kernel = Linux::default();
    let none = Probe {
        orchestrator: Orchestrator::None,
        state: None,
        handover_abi: None,
        contract_abi: None,
    };
    let (probe, refused) = match kernel.is_free().and_then(|()| kernel.probe()) {
        Ok(probe) => (probe, None),
        Err(why) => (none, Some(why)),
    };
    let root = &config.checks.root;
    let settled = Settled::of(config.complete(target), root);
    let participants = match probe.orchestrator {
        Orchestrator::Contract => kernel.participants().ok().flatten(),
        _ => None,
    };
    let subject = Subject {
        system: System::at(root),
        probe,
        participants,
        own: OwnStrings::default(),
        target: settled.target,
        files: Vec::new(),
        groups: Vec::new(),
        stop: Stop::default(),
    };
    let mut checks = subject.checks();
    put_entry(&mut checks, settled.entry);
    if config.jump == Jump::Systemctl {
        checks.push(crate::manager::shutdown::check(root));
    }
    if let Some(why) = refused {
        does_not_open(&mut checks, &why, root);
    }
    checks.push(Check {
        name: "workloads".to_owned(),
        status: CheckStatus::Unknown,
        found: "luod was not asked, so who takes part, and what that takes, is not known"
            .to_owned(),
        remedy: Some("`luoctl check` without --offline asks it".to_owned()),
    });
    judge(config, checks)
}

impl Agent {
    /// Checks everything that an update to a kernel needs. This changes nothing.
    pub async fn check_target(&self, target: &Target) -> Report {
        let settled = self.settle(target).await;
        self.check(&settled).await
    }

    /// Completes a target by the configuration, and by the boot loader's entry.
    pub(super) async fn settle(&self, target: &Target) -> Settled {
        let target = self.config().complete(target);
        let root = self.config().checks.root.clone();
        let kept = target.clone();
        let settled = tokio::task::spawn_blocking(move || Settled::of(target, &root)).await;
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
        let subject = Subject {
            system: System::at(&self.config().checks.root),
            probe: self.probe.clone(),
            participants: self.participants().await,
            own: Arc::clone(&self.own_strings),
            target: settled.target.clone(),
            files: self.declared(),
            groups: self.groups(),
            stop: stop.0.clone(),
        };
        // Images are large, so another thread reads them while this one serves peers.
        let looked = tokio::task::spawn_blocking(move || subject.checks()).await;
        drop(stop);
        let mut checks = looked.unwrap_or_else(|why| vec![broken(&why)]);
        put_entry(&mut checks, settled.entry.clone());
        if self.config().jump == Jump::Systemctl {
            checks.push(crate::manager::shutdown::check(&self.config().checks.root));
        }
        let device = self.check_device().await;
        self.check_state(&mut checks).await;
        self.name_foreign(&mut checks).await;
        checks.extend(device);
        checks.extend(check_limit(getrlimit(Resource::Fsize).current));
        checks.extend(self.check_notes().await);
        checks.extend(self.check_history().await);
        checks.extend(self.check_report().await);
        let obstacles = self.obstacles();
        let checks = checks
            .into_iter()
            .chain(obstacles.into_iter().map(obstacle));
        judge(&self.config(), checks.collect())
    }

    /// Whether the kernel is in an update already, whoever began it. It is asked itself:
    /// what the files of the machine say may be of another one.
    async fn check_state(&self, checks: &mut Vec<Check>) {
        let probing = self.ask_kernel("GET_STATE", |kernel| kernel.probe());
        // That it cannot be asked is told by another check.
        let Ok(Ok(probe)) = probing.await else {
            return;
        };
        let Some(check) = self.in_another_update(&probe) else {
            return;
        };
        let known = checks.iter().position(|known| known.name == check.name);
        match known.and_then(|known| checks.get_mut(known)) {
            Some(known) => *known = check,
            None => checks.push(check),
        }
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
        let mut known = checks.iter_mut();
        let check = known
            .find(|check| check.name == "running-state" && check.status == CheckStatus::Warning);
        let Some(check) = check else {
            if self.probe.orchestrator == Orchestrator::Mainline {
                checks.push(untold());
                return;
            }
            let unowned = self.look_for_unowned().await;
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

    /// Whether the device can be had. Who has it keeps the update from beginning.
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
        let holders = tokio::task::spawn_blocking(move || System::at(&root).holders()).await;
        let holders = holders.unwrap_or_default();
        Some(luo_preflight::running::device(
            &why.errno().to_string(),
            &holders,
        ))
    }

    /// Whether luod can note what it has to know if it is started again.
    async fn check_notes(&self) -> Option<Check> {
        let notes = self.notes.clone();
        let why = self.fails(move || notes.reserve()).await?;
        let folder = self.notes.folder().display();
        Some(Check {
            name: "notes".to_owned(),
            status: CheckStatus::Failed,
            found: format!(
                "luod needs {} KiB in {folder} to note what a restart of it must not lose: {why}",
                ROOM >> 10
            ),
            remedy: Some(
                "make room there (`df` says how much there is, `du -x` who has filled it), or \
                 make it larger: `mount -o remount,size=`"
                    .to_owned(),
            ),
        })
    }

    /// Whether the update could be written down when it is over.
    async fn check_history(&self) -> Option<Check> {
        let history = self.history.clone();
        let why_not = self.fails(move || history.is_writable()).await;
        self.tried.found(why_not.clone());
        let why = why_not?;
        Some(Check {
            name: "history".to_owned(),
            status: CheckStatus::Warning,
            found: full_disk(&self.config(), &why),
            remedy: Some(FULL_REMEDY.to_owned()),
        })
    }

    /// Whether the picture of the update could be written that somebody wants.
    async fn check_report(&self) -> Option<Check> {
        let path = self.state.borrow().update.as_ref()?.report.clone()?;
        let wanted = PathBuf::from(&path);
        let workloads = self.state.borrow().workloads.len();
        let reserved = self.fails(move || picture::reserve(&wanted, workloads));
        let why = reserved.await?;
        Some(Check {
            name: "report".to_owned(),
            status: CheckStatus::Failed,
            found: format!("the report cannot be written to {path}: {why}"),
            remedy: Some(
                "name a file in a folder with room that luod may write to: its unit allows \
                 /var/lib/luod, and what ReadWritePaths= names beside it"
                    .to_owned(),
            ),
        })
    }

    /// The files that were declared. Files that are preserved already have their pages, so
    /// they do not count for the memory that an update needs.
    fn declared(&self) -> Vec<(String, Facts)> {
        let state = self.state.borrow();
        let all = state.sessions.iter().flat_map(|(session, held)| {
            let declared = held.declared.iter();
            declared.filter_map(move |(token, fd)| {
                let facts = file::look(fd).ok()?;
                Some((name_of(session, *token), facts))
            })
        });
        all.collect()
    }

    /// What takes part in updates, if the kernel says it.
    async fn participants(&self) -> Option<Vec<ParticipantEntry>> {
        if self.probe.orchestrator != Orchestrator::Contract {
            return None;
        }
        let asked = self.ask_kernel("LIST_PARTICIPANTS", |kernel| kernel.participants());
        // Why it cannot be asked is told by another check.
        asked.await.ok()?.ok().flatten()
    }

    /// The workloads that are connected, with their control groups, and the bytes of what
    /// they have declared.
    fn groups(&self) -> Vec<(String, String, u64)> {
        let state = self.state.borrow();
        let all = state.workloads.iter().filter_map(|(name, workload)| {
            let group = workload.link.as_ref()?.group.clone()?;
            let sessions = state.sessions.of(name);
            let files = sessions.flat_map(|(_, held)| held.declared.values());
            let sizes = files.filter_map(|fd| Some(file::look(fd).ok()?.size));
            Some((name.clone(), group, sizes.fold(0, u64::saturating_add)))
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

/// Says of a device that is there why it is of no use.
fn does_not_open(checks: &mut Vec<Check>, why: &Failed, root: &Path) {
    match why.errno() {
        Errno::EBUSY => checks.push(luo_preflight::running::device(
            &why.errno().to_string(),
            &System::at(root).holders(),
        )),
        Errno::EACCES | Errno::EPERM => checks.push(Check {
            name: "running-device".to_owned(),
            status: CheckStatus::Unknown,
            found: format!("this user may not open it: {why}"),
            remedy: Some("run it as root".to_owned()),
        }),
        _ => {
            const NAME: &str = "running-liveupdate";
            checks.retain(|check| check.name != NAME);
            let failed = Check {
                name: NAME.to_owned(),
                status: CheckStatus::Failed,
                found: format!("there is a /dev/liveupdate, and it is of no use: {why}"),
                remedy: Some(
                    "boot the machine anew, not by kexec: what is quarantined is lost by that, \
                     and free again"
                        .to_owned(),
                ),
            };
            checks.insert(0, failed);
        }
    }
}

/// The file handlers among what takes part.
fn handlers(all: &[ParticipantEntry]) -> Vec<String> {
    let handlers = all
        .iter()
        .filter(|entry| entry.kind == ParticipantKind::FileHandler);
    handlers.map(|entry| entry.name.clone()).collect()
}

/// A report, with what the configuration says to ignore.
fn judge(config: &Config, mut checks: Vec<Check>) -> Report {
    for check in &mut checks {
        debug_assert!(
            CHECKS.contains(&check.name.as_str()) || check.name == BROKEN,
            "{} is missing in the list of checks, so it cannot be ignored",
            check.name
        );
        if check.status == CheckStatus::Failed && config.checks.ignore.contains(&check.name) {
            check.status = CheckStatus::Warning;
            check.found.push_str(" (ignored, says the configuration)");
        }
    }
    luo_preflight::report(checks)
}

fn name_of(session: &str, token: u64) -> String {
    format!("session '{session}', token {token:#x}")
}

impl Subject {
    fn checks(&self) -> Vec<Check> {
        let running = self.system.running();
        let own = || self.own.get_or_init(|| self.system.own_strings(&FAMILIES));
        let abi = Abi::of(&self.told(), &running.strings, || own().clone());
        let Some(path) = self.target.image.as_deref().map(Path::new) else {
            return luo_preflight::running::checks(&running);
        };
        let (image, unpacked) = match image::unpack(path) {
            Ok(mut unpacked) => {
                let families = target::families(&abi.known);
                let image = image::read_unpacked(&mut unpacked, &families);
                (image, Some(unpacked))
            }
            Err(why) => (Err(why), None),
        };
        let unpacked = unpacked.as_ref();
        let own_initrd = unpacked.and_then(|unpacked| unpacked.initrd.as_ref());
        let initrd = self.initrd(own_initrd);
        let own_line = unpacked.and_then(|unpacked| unpacked.command_line.as_deref());
        let line = command_line(&self.target, own_line).unwrap_or_default();
        let handlers = self.participants.as_deref().map(handlers);
        let mut checks = update::checks(&Update {
            running: &running,
            abi: &abi,
            handlers: handlers.as_deref(),
            image: image.as_ref(),
            initrd: initrd.as_ref().map(Option::as_ref),
            command_line: &line,
            missing: &self.system.missing(&line),
            shells: &self.system.shells(&line),
            files: &self.files,
        });
        checks.extend(self.groups.iter().filter_map(|(workload, group, takes)| {
            let limit = self.system.memory_limit(group);
            memory::check_group(workload, group, *takes, limit)
        }));
        checks
    }

    /// The initrds that are named, or else the image's own.
    fn initrd(&self, own: Option<&fs::File>) -> Result<Option<Archive>, Unusable> {
        let named = initrd::read(&initrds(&self.target), &self.stop)?;
        let (None, Some(own)) = (&named, own) else {
            return Ok(named);
        };
        let read = initrd::read_file(own, &self.stop);
        read.map(Some).map_err(|why| Unusable {
            path: format!(
                "the one in {}",
                self.target.image.as_deref().unwrap_or_default()
            ),
            why,
        })
    }

    /// The formats that the orchestrator says it hands over, and those of its handlers that
    /// have a file to hand over.
    fn told(&self) -> Vec<&str> {
        let mut told: Vec<&str> = self.probe.handover_abi.as_deref().into_iter().collect();
        if self.probe.orchestrator == Orchestrator::Contract {
            told.extend(self.probe.contract_abi.as_deref());
        }
        let handlers = self.participants.iter().flatten();
        let in_use = handlers.filter(|entry| {
            let is_handler = entry.kind == ParticipantKind::FileHandler;
            is_handler && (entry.files > 0 || entry.name.starts_with("memfd-v"))
        });
        told.extend(in_use.map(|entry| entry.name.as_str()));
        told
    }
}

/// What mainline's orchestrator cannot be asked before an update.
fn untold() -> Check {
    Check {
        name: "running-state".to_owned(),
        status: CheckStatus::Unknown,
        found: "mainline's orchestrator does not tell whether sessions of the previous kernel are \
                left that luod does not know of; what nobody has claimed is dropped by the update"
            .to_owned(),
        remedy: Some(
            "if programs preserve something without luod, see that they have claimed it".to_owned(),
        ),
    }
}

/// Whether luod may write files as long as a record can be.
fn check_limit(limit: Option<u64>) -> Option<Check> {
    let limit = limit.filter(|limit| *limit < MAX_LENGTH as u64)?;
    Some(Check {
        name: "file-limit".to_owned(),
        status: CheckStatus::Failed,
        found: format!(
            "luod may write files of {limit} bytes only, and the record for the next kernel has \
             up to {MAX_LENGTH}"
        ),
        remedy: Some("set LimitFSIZE=infinity in luod's unit (`ulimit -f unlimited`)".to_owned()),
    })
}

fn obstacle(obstacle: Obstacle) -> Check {
    Check {
        name: "workloads".to_owned(),
        status: CheckStatus::Failed,
        found: obstacle.found,
        remedy: Some(obstacle.remedy),
    }
}

fn broken(why: &tokio::task::JoinError) -> Check {
    Check {
        name: BROKEN.to_owned(),
        status: CheckStatus::Failed,
        found: format!("the checks themselves have failed: {why}"),
        remedy: Some("this is a bug of luod: please report it".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_entry_than_the_default_is_taken_with_a_warning_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let put = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let settled = || Settled::of(Target::default(), root);
        put("boot/linux", "kernel");
        put("boot/loader/entries/old.conf", "linux /linux\n");
        put("boot/loader/entries/older.conf", "linux /gone\n");
        let taken = settled();
        let entry = taken.entry.unwrap();
        assert_eq!(entry.status, CheckStatus::Warning);
        assert!(entry.found.contains("/gone is not there"), "{entry:?}");
        assert_eq!(taken.target.entry.as_deref(), Some("old"));
        put("boot/loader/loader.conf", "default older\n");
        let refused = settled();
        assert_eq!(refused.entry.unwrap().status, CheckStatus::Failed);
        assert_eq!(refused.target.image, None);
    }

    #[test]
    fn a_limit_that_would_end_luod_is_told() {
        assert_eq!(check_limit(None), None);
        assert_eq!(check_limit(Some(u64::MAX)), None);
        let failed = check_limit(Some(1024)).unwrap();
        assert_eq!(failed.status, CheckStatus::Failed);
        assert!(CHECKS.contains(&failed.name.as_str()));
    }
}
