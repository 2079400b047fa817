// SPDX-License-Identifier: MIT OR Apache-2.0
//! The findings of luod itself in a report, and how a report is judged.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use luo_preflight::system::System;
use luo_sys::{Errno, ParticipantEntry, ParticipantKind};
use luo_varlink::{Check, CheckStatus, Report};

use crate::agent::Unusable;
use crate::agent::view::{CLOSING_REMEDY, not_closed};
use crate::decide::config::{CHECKS, Config};
use crate::decide::failed::Failed;
use crate::decide::plan::Obstacle;
use crate::decide::record::MAX_LENGTH;

/// The check that the checks themselves work, which cannot be ignored.
const BROKEN: &str = "checks";

/// A report, with what the configuration says to ignore.
pub(super) fn judge(config: &Config, mut checks: Vec<Check>) -> Report {
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

/// The file handlers among what takes part.
pub(super) fn handlers(all: &[ParticipantEntry]) -> Vec<String> {
    let handlers = all
        .iter()
        .filter(|entry| entry.kind == ParticipantKind::FileHandler);
    handlers.map(|entry| entry.name.clone()).collect()
}

/// Handlers for which files of the previous kernel wait, whoever's these are.
pub(super) fn check_awaited(all: &[ParticipantEntry]) -> impl Iterator<Item = Check> {
    let awaited = all.iter();
    let awaited = awaited.filter(|entry| entry.kind == ParticipantKind::Awaited);
    awaited.map(|entry| Check {
        name: "running-handlers".to_owned(),
        status: CheckStatus::Warning,
        found: format!(
            "files of the previous kernel wait for the handler {}, which is not here: {}; the \
             update loses them",
            entry.name, entry.files
        ),
        remedy: Some(
            "load the kernel module that has this handler, and update when they are taken back"
                .to_owned(),
        ),
    })
}

pub(super) fn name_of(session: &str, token: u64) -> String {
    format!("session '{session}', token {token:#x}")
}

/// Says of a device that is there why it is of no use.
pub(super) fn does_not_open(checks: &mut Vec<Check>, why: &Failed, root: &Path) {
    let is_there = matches!(why.errno(), Errno::EBUSY | Errno::EACCES | Errno::EPERM);
    let untold = checks.iter_mut().filter(|check| {
        is_there && check.name == "target-abi" && check.status == CheckStatus::Unknown
    });
    // Nothing is missing on the machine: whoever gets the device is told.
    for check in untold {
        check.remedy = Some("see to what keeps the device from being asked, first".to_owned());
        let what = check.found.split(": ").next().unwrap_or_default();
        check.found = format!("{what}: /dev/liveupdate could not be asked");
    }
    match why.errno() {
        Errno::EBUSY => checks.push(luo_preflight::running::holders::device(
            &why.errno().to_string(),
            &System::at(root).holders(),
        )),
        Errno::EACCES | Errno::EPERM => checks.push(Check {
            name: "running-device".to_owned(),
            status: CheckStatus::Unknown,
            found: format!("this user may not open it: {why}"),
            remedy: Some("run it as root".to_owned()),
        }),
        Errno::EIO => {
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
        // Of memory or descriptors that are missing just now no boot is a cure.
        _ => checks.push(Check {
            name: "running-device".to_owned(),
            status: CheckStatus::Unknown,
            found: format!("whether it is of use is not known: {why}"),
            remedy: Some("look once more when what is missing is there".to_owned()),
        }),
    }
}

/// The check that names the questions which mainline's orchestrator cannot answer before an
/// update.
pub(super) fn untold() -> Check {
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
pub(super) fn check_limit(limit: Option<u64>) -> Option<Check> {
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

/// The configuration or the policy cannot be used as it is by now.
pub(super) fn unusable(why: &Unusable) -> Check {
    Check {
        name: "running-configuration".to_owned(),
        status: CheckStatus::Failed,
        found: format!(
            "behind the jump luod cannot be started, and nobody gets anything back: {}",
            why.why
        ),
        remedy: Some(why.remedy.to_owned()),
    }
}

/// Descriptors that an update takes: of the record, the device, kernels and initrds, and some.
const NEEDED: u64 = 32;

/// Whether luod has room for the descriptors of an update.
pub(super) fn check_descriptors(open: u64, limit: Option<u64>) -> Option<Check> {
    let limit = limit.filter(|limit| open.saturating_add(NEEDED) > *limit)?;
    Some(Check {
        name: "descriptors".to_owned(),
        status: CheckStatus::Failed,
        found: format!(
            "luod may have {limit} descriptors and has {open}: an update takes {NEEDED} more"
        ),
        remedy: Some(
            "set LimitNOFILE=65536 in luod's unit (`ulimit -n 65536`), and restart it".to_owned(),
        ),
    })
}

pub(super) fn obstacle(obstacle: Obstacle) -> Check {
    Check {
        name: "workloads".to_owned(),
        status: CheckStatus::Failed,
        found: obstacle.found,
        remedy: Some(obstacle.remedy),
    }
}

pub(super) fn broken(why: &dyn Display) -> Check {
    Check {
        name: BROKEN.to_owned(),
        status: CheckStatus::Failed,
        found: format!("the checks themselves have failed: {why}"),
        remedy: Some("this is a bug of luod: please report it".to_owned()),
    }
}

/// That the checks have taken longer than they may.
pub(super) fn late(patience: Duration) -> Check {
    let seconds = patience.as_secs_f64();
    Check {
        name: BROKEN.to_owned(),
        status: CheckStatus::Failed,
        found: format!(
            "the checks have not come to an end within {seconds} s: a disk may hang, of the boot \
             entries, of the kernel or of an initrd"
        ),
        remedy: Some(
            "`dmesg` may say which; kernel_deadline in luod.toml gives a slow one more time"
                .to_owned(),
        ),
    }
}

/// Whether the kernel does not let go of what luod has let go of.
pub(super) fn check_closing() -> Option<Check> {
    Some(Check {
        name: "closing".to_owned(),
        status: CheckStatus::Warning,
        found: not_closed()?,
        remedy: Some(CLOSING_REMEDY.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_cannot_be_asked_has_nobody_mount_anything() {
        for errno in [Errno::EBUSY, Errno::EACCES, Errno::EPERM] {
            let mut checks = vec![Check {
                name: "target-abi".to_owned(),
                status: CheckStatus::Unknown,
                found: "which luo-v* is not known: /proc/version: No such file".to_owned(),
                remedy: Some("mount debugfs at /sys/kernel/debug".to_owned()),
            }];
            let root = tempfile::tempdir().unwrap();
            let why = Failed::new("open /dev/liveupdate", errno);
            does_not_open(&mut checks, &why, root.path());
            let [abi, device] = checks.as_slice() else {
                panic!("{checks:?}");
            };
            assert_eq!(device.name, "running-device");
            assert!(abi.found.ends_with("could not be asked"), "{abi:?}");
            assert!(
                !abi.remedy.as_deref().unwrap().contains("debugfs"),
                "{abi:?}"
            );
        }
    }

    #[test]
    fn only_a_handover_that_is_refused_asks_for_a_boot() {
        for (errno, boots) in [
            (Errno::EIO, true),
            (Errno::ENOMEM, false),
            (Errno::EMFILE, false),
        ] {
            let mut checks = Vec::new();
            let why = Failed::new("open /dev/liveupdate", errno);
            does_not_open(&mut checks, &why, Path::new("/nonexistent"));
            let [check] = checks.as_slice() else {
                panic!("{checks:?}");
            };
            let remedy = check.remedy.as_deref().unwrap();
            assert_eq!(remedy.contains("boot the machine"), boots, "{check:?}");
            assert_eq!(check.status == CheckStatus::Failed, boots, "{check:?}");
        }
    }

    #[test]
    fn a_handler_that_files_wait_for_is_told_with_its_remedy() {
        let entry = |kind, name: &str, files| ParticipantEntry {
            name: name.to_owned(),
            kind,
            files,
        };
        let all = [
            entry(ParticipantKind::FileHandler, "memfd-v2", 3),
            entry(ParticipantKind::Awaited, "kvm-v1", 2),
        ];
        let checks: Vec<_> = check_awaited(&all).collect();
        let [check] = checks.as_slice() else {
            panic!("{checks:?}");
        };
        assert_eq!(check.status, CheckStatus::Warning);
        assert!(CHECKS.contains(&check.name.as_str()));
        assert!(check.found.contains("kvm-v1") && check.found.contains(": 2;"));
        assert!(check.remedy.as_deref().unwrap().contains("module"));
        assert_eq!(handlers(&all), ["memfd-v2"]);
    }

    #[test]
    fn descriptors_that_an_update_lacks_are_told_before() {
        assert_eq!(check_descriptors(1 << 20, None), None);
        assert_eq!(check_descriptors(100, Some(132)), None);
        let failed = check_descriptors(100, Some(131)).unwrap();
        assert_eq!(failed.status, CheckStatus::Failed);
        assert!(CHECKS.contains(&failed.name.as_str()));
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
