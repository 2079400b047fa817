// SPDX-License-Identifier: MIT OR Apache-2.0
//! The checks without an agent.

use luo_preflight::initrd::Stop;
use luo_preflight::system::System;
use luo_varlink::{Check, CheckStatus, Orchestrator, Report, Target};

use super::settled::{Settled, put_entry};
use super::subject::Subject;
use super::words::{does_not_open, judge};
use crate::agent::OwnStrings;
use crate::decide::config::Config;
use crate::kernel::{Kernel, Linux, Probe, resolve};
use crate::manager;

/// The checks without an agent, by its configuration: they know no workloads and no files that
/// those have declared.
#[must_use]
pub fn offline(config: &Config, target: &Target) -> Report {
    let kernel = Linux::default();
    let none = Probe {
        orchestrator: Orchestrator::None,
        state: None,
        handover_abi: None,
        supplement_abi: None,
    };
    let (probe, refused) = match kernel.is_free().and_then(|()| kernel.probe()) {
        Ok(probe) => (probe, None),
        Err(why) => (none, Some(why)),
    };
    let root = &config.checks.root;
    let settled = Settled::of(config.complete(target), root, resolve);
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
    checks.extend(manager::check(config.jump, root));
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
