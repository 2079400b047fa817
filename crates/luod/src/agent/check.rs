// SPDX-License-Identifier: MIT OR Apache-2.0
//! The checks before an update: they look at the running kernel, the target, and the files
//! that workloads have declared. The crate `luo-preflight` judges.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use luo_preflight::file::{self, Facts};
use luo_preflight::system::System;
use luo_preflight::update::{self, Update};
use luo_preflight::{image, initrd, target};
use luo_varlink::{Check, CheckStatus, Orchestrator, Report, Target, TimelineKind};
use rustix::process::{Resource, getrlimit};

use super::Agent;
use super::timeline::Line;
use crate::decide::config::{CHECKS, Config, Jump};
use crate::decide::record::MAX_LENGTH;
use crate::journal::picture;
use crate::kernel::{Kernel, Linux, Probe, command_line};

/// The formats that the kernels' handlers write, which the orchestrator does not list.
const HANDLERS: [&str; 2] = ["kho-v4", "memfd-v2"];

/// The newest handover format, for a kernel that does not tell its own.
const NEWEST: &str = "luo-v5";

/// The check that the checks themselves work, which cannot be ignored.
const BROKEN: &str = "checks";

/// All that the checks look at, gathered for the thread that runs them.
struct Subject {
    system: System,
    probe: Probe,
    target: Target,
    files: Vec<(String, Facts)>,
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
    let (probe, unknown) = match kernel.is_free().and_then(|()| kernel.probe()) {
        Ok(probe) => (probe, None),
        Err(why) => (none, Some(why)),
    };
    let root = &config.checks.root;
    let subject = Subject {
        system: System::at(root),
        probe,
        target: config.complete(target),
        files: Vec::new(),
    };
    let mut checks = subject.checks();
    if config.jump == Jump::Systemctl {
        checks.push(crate::manager::shutdown::check(root));
    }
    checks.extend(unknown.map(|why| Check {
        name: "running-device".to_owned(),
        status: CheckStatus::Unknown,
        found: why.to_string(),
        remedy: None,
    }));
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
        let target = self.config().complete(target);
        self.check(&target).await
    }

    pub(super) async fn check(&self, target: &Target) -> Report {
        let begun = Instant::now();
        let report = self.look(target).await;
        let failed = report.checks.iter();
        let failed = failed.filter(|check| check.status == CheckStatus::Failed);
        let text = format!("{} checks, {} failed", report.checks.len(), failed.count());
        self.note(
            TimelineKind::Checked,
            Line::text(text).took(begun.elapsed()),
        );
        report
    }

    /// Looks at the running kernel, the target and all files that were declared.
    async fn look(&self, target: &Target) -> Report {
        let subject = Subject {
            system: System::at(&self.config().checks.root),
            probe: self.probe.clone(),
            target: target.clone(),
            files: self.declared(),
        };
        // Images are large, so another thread reads them while this one serves peers.
        let looked = tokio::task::spawn_blocking(move || subject.checks()).await;
        let mut checks = looked.unwrap_or_else(|why| vec![broken(&why)]);
        if self.config().jump == Jump::Systemctl {
            checks.push(crate::manager::shutdown::check(&self.config().checks.root));
        }
        self.name_foreign(&mut checks).await;
        checks.extend(self.check_device().await);
        checks.extend(check_limit(getrlimit(Resource::Fsize).current));
        checks.extend(self.check_history().await);
        checks.extend(self.check_report().await);
        let obstacles = self.obstacles();
        let checks = checks
            .into_iter()
            .chain(obstacles.into_iter().map(obstacle));
        judge(&self.config(), checks.collect())
    }

    /// Names the sessions of the previous kernel that are not this agent's, where a check
    /// warns of them.
    async fn name_foreign(&self, checks: &mut [Check]) {
        let mut checks = checks.iter_mut();
        let check = checks
            .find(|check| check.name == "running-state" && check.status == CheckStatus::Warning);
        let Some(check) = check else {
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
        if let Err(why) = self.heed_hang("the kernel") {
            return Some(Check {
                name: "running-device".to_owned(),
                status: CheckStatus::Failed,
                found: why.to_string(),
                remedy: Some("`dmesg` may say what it waits for".to_owned()),
            });
        }
        let free = self.kernel.run(|kernel| kernel.is_free()).await;
        let why = free.err()?;
        let root = self.config().checks.root.clone();
        let holders = tokio::task::spawn_blocking(move || System::at(&root).holders()).await;
        let holders = holders.unwrap_or_default();
        let (who, remedy) = match holders.is_empty() {
            true => (
                String::new(),
                "`fuser /dev/liveupdate` says who has it; end that program",
            ),
            false => (
                format!("; it is open in {}", holders.join(", ")),
                "wait for that program, or end it",
            ),
        };
        Some(Check {
            name: "running-device".to_owned(),
            status: CheckStatus::Failed,
            found: format!("/dev/liveupdate cannot be had: {}{who}", why.errno()),
            remedy: Some(remedy.to_owned()),
        })
    }

    /// Whether the update could be written down when it is over.
    async fn check_history(&self) -> Option<Check> {
        let history = self.history.clone();
        let why = fails(move || history.is_writable()).await?;
        let config = self.config();
        let folder = config.state_directory.display();
        Some(Check {
            name: "history".to_owned(),
            status: CheckStatus::Warning,
            found: format!("what becomes of an update cannot be written to {folder}: {why}"),
            remedy: Some("make room there, or name another state_directory".to_owned()),
        })
    }

    /// Whether the picture of the update could be written that somebody wants.
    async fn check_report(&self) -> Option<Check> {
        let path = self.state.borrow().update.as_ref()?.report.clone()?;
        let wanted = PathBuf::from(&path);
        let why = fails(move || picture::check(&wanted)).await?;
        Some(Check {
            name: "report".to_owned(),
            status: CheckStatus::Failed,
            found: format!("the report cannot be written to {path}: {why}"),
            remedy: Some(
                "name a file in a folder that luod may write to: its unit allows /var/lib/luod, \
                 and what ReadWritePaths= names beside it"
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

    /// Looks at a file that is going to be preserved.
    pub(super) fn check_file(&self, session: &str, token: u64, fd: &OwnedFd) -> Report {
        let system = System::at(&self.config().checks.root);
        let checks = match file::look(fd) {
            Ok(facts) => file::checks(&name_of(session, token), &facts, &system.running().memory),
            Err(why) => vec![Check {
                name: "file-kind".to_owned(),
                status: CheckStatus::Failed,
                found: format!("{}: {why}", name_of(session, token)),
                remedy: Some("preserve a memfd".to_owned()),
            }],
        };
        judge(&self.config(), checks)
    }
}

/// Why something fails that may take long, if it does.
async fn fails(trial: impl FnOnce() -> io::Result<()> + Send + 'static) -> Option<String> {
    match tokio::task::spawn_blocking(trial).await {
        Ok(tried) => tried.err().map(|why| why.to_string()),
        Err(why) => Some(why.to_string()),
    }
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
        let abi = running.abi(&self.known());
        let Some(path) = self.target.image.as_deref().map(Path::new) else {
            let mut checks = luo_preflight::running::checks(&running);
            checks.push(no_target());
            return checks;
        };
        let (image, unpacked) = match image::unpack(path) {
            Ok(mut unpacked) => {
                let image = image::read_unpacked(&mut unpacked, &target::families(&abi));
                (image, Some(unpacked))
            }
            Err(why) => (Err(why), None),
        };
        let unpacked = unpacked.as_ref();
        let named = |path: &String| {
            let looked = initrd::look(Path::new(path));
            let length = looked.map(|(_, length)| length);
            length.map_err(|why| format!("{path}: {why}"))
        };
        let bytes = |file: io::Result<fs::Metadata>| {
            file.map(|file| file.len()).map_err(|why| why.to_string())
        };
        let own_initrd = unpacked.and_then(|unpacked| unpacked.initrd.as_ref());
        let initrd_bytes = match (&self.target.initrd, own_initrd) {
            (Some(path), _) => named(path),
            (None, Some(own)) => bytes(own.metadata()),
            (None, None) => Ok(0),
        };
        let own_line = unpacked.and_then(|unpacked| unpacked.command_line.as_deref());
        let line = command_line(&self.target, own_line).unwrap_or_default();
        update::checks(&Update {
            running: &running,
            abi: &abi,
            image: image.as_ref(),
            initrd_bytes: initrd_bytes
                .as_ref()
                .map(|bytes| *bytes)
                .map_err(String::as_str),
            command_line: &line,
            missing: &self.system.missing(&line),
            files: &self.files,
        })
    }

    /// The formats that the running kernel hands over.
    fn known(&self) -> Vec<&str> {
        let mut known = HANDLERS.to_vec();
        known.push(self.probe.handover_abi.as_deref().unwrap_or(NEWEST));
        if self.probe.orchestrator == Orchestrator::Contract {
            known.extend(self.probe.contract_abi.as_deref());
        }
        known
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

fn no_target() -> Check {
    Check {
        name: "target-image".to_owned(),
        status: CheckStatus::Failed,
        found: "no kernel is named".to_owned(),
        remedy: Some("name one with --kernel, or in [target] of the configuration".to_owned()),
    }
}

fn obstacle(text: String) -> Check {
    Check {
        name: "workloads".to_owned(),
        status: CheckStatus::Failed,
        found: text,
        remedy: Some("start what is missing, or drop what needs it".to_owned()),
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
    fn a_limit_that_would_end_luod_is_told() {
        assert_eq!(check_limit(None), None);
        assert_eq!(check_limit(Some(u64::MAX)), None);
        let failed = check_limit(Some(1024)).unwrap();
        assert_eq!(failed.status, CheckStatus::Failed);
        assert!(CHECKS.contains(&failed.name.as_str()));
    }
}
