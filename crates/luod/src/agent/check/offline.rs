// SPDX-License-Identifier: MIT OR Apache-2.0
//! The checks without an agent.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use luo_preflight::initrd::Stop;
use luo_preflight::system::System;
use luo_varlink::{Check, CheckStatus, Orchestrator, Report, Target};

use super::settled::{Settled, put_entry};
use super::subject::Subject;
use super::words::{broken, does_not_open, judge, late};
use crate::agent::OwnStrings;
use crate::decide::config::Config;
use crate::kernel::{HandedOn, Kernel, Linux, Probe, resolve};
use crate::manager;

/// The checks without an agent, by its configuration: they know no workloads and no files that
/// those have declared. A disk that hangs fails them when the time is over that the configuration
/// gives (`kernel_deadline`).
#[must_use]
pub fn offline(config: &Config, target: &Target) -> Report {
    let stop = Stop::default();
    let looking = {
        let (config, target, stop) = (config.clone(), target.clone(), stop.clone());
        move || look(&config, &target, stop)
    };
    let checks = within(config.kernel_deadline.0, looking);
    // Whoever reads a disk still is not waited for.
    stop.stop();
    judge(config, checks)
}

/// Has a thread look, and says so if that takes too long.
fn within(patience: Duration, look: impl FnOnce() -> Vec<Check> + Send + 'static) -> Vec<Check> {
    let (tell, told) = mpsc::channel();
    let thread = thread::Builder::new().name("checks".into());
    // If nobody waits any more, nobody wants what was found.
    let begun = thread.spawn(move || drop(tell.send(look())));
    let why = match begun {
        Ok(_) => match told.recv_timeout(patience) {
            Ok(checks) => return checks,
            Err(RecvTimeoutError::Timeout) => return vec![late(patience)],
            Err(RecvTimeoutError::Disconnected) => "their thread has ended".to_owned(),
        },
        Err(why) => why.to_string(),
    };
    vec![broken(&why)]
}

fn look(config: &Config, target: &Target, stop: Stop) -> Vec<Check> {
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
        clock: HandedOn::of(config),
        probe,
        participants,
        own: OwnStrings::default(),
        target: settled.target,
        files: Vec::new(),
        groups: Vec::new(),
        stop,
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
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_hangs_ends_the_checks_without_an_agent_too() {
        let (gate, closed) = mpsc::channel::<()>();
        let hangs = move || {
            let _ = closed.recv();
            Vec::new()
        };
        let checks = within(Duration::from_millis(50), hangs);
        drop(gate);
        let [late] = checks.as_slice() else {
            panic!("{checks:?}");
        };
        assert_eq!(late.status, CheckStatus::Failed);
        assert!(late.found.contains("within 0.05 s: a disk may hang"));
        assert!(within(Duration::MAX, Vec::new).is_empty());
        let fails = || -> Vec<Check> { panic!("a bug") };
        let checks = within(Duration::MAX, fails);
        assert!(checks[0].found.contains("have failed"), "{checks:?}");
    }
}
