// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernels, and what runs on them, are compiled beside the checks of cargo, by a process of
//! their own: they take longest on a fresh machine, and linking, testing and fuzzing leave
//! gaps that another can fill.

use std::env;
use std::process::Command;

use anyhow::Result;
use luo_lab::lab::Lab;
use luo_lab::process::Background;
use luo_lab::progress::Step;
use luo_lab::run::scenario::Scenario;

use crate::show;

/// The process.
pub(super) struct Beside(Option<Background>);

impl Beside {
    /// Starts it if a machine is to be booted, or programs of the kernel's tree are to
    /// run. If it cannot, whoever needs them tells why.
    pub(super) fn start(lab: &Lab, scenarios: &[Scenario], selftests: bool) -> Self {
        let process = try_start(lab, scenarios, selftests);
        if let Err(error) = &process {
            show::line(&format!("no kernel is built beside the checks: {error:#}"));
        }
        Self(process.ok().flatten())
    }

    /// Waits for its end. If it failed, whoever needs a kernel next tries again, and
    /// tells why.
    ///
    /// # Errors
    /// A signal arrives.
    pub(super) fn wait(self) -> Result<()> {
        let Some(process) = self.0 else {
            return Ok(());
        };
        let mut step = Step::new("wait for kernels and programs");
        match process.wait(&mut step)? {
            true => step.done(),
            false => step.done_with("not all could be built"),
        }
        Ok(())
    }
}

fn try_start(lab: &Lab, scenarios: &[Scenario], selftests: bool) -> Result<Option<Background>> {
    let mut variants: Vec<&str> = scenarios.iter().flat_map(Scenario::variants).collect();
    variants.sort_unstable();
    variants.dedup();
    if variants.is_empty() && !selftests {
        return Ok(None);
    }
    // It may ask for a password, and who reads a log would not see that.
    lab.prerequisites()?;
    let mut command = Command::new(env::current_exe()?);
    command.args(["kernel", "prepare"]).args(variants);
    if selftests {
        command.arg("--selftests");
    }
    if !scenarios.is_empty() {
        command.arg("--programs");
    }
    let log = lab.cache.log("kernels-beside");
    let process = Background::start(&command, &log)?;
    show::line(&format!(
        "kernels are being built beside the checks, see {}",
        log.display()
    ));
    Ok(Some(process))
}
