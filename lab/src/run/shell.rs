// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine whose console is the terminal.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::build::artifact::Artifact;
use crate::build::variant::Variant;
use crate::run::qemu::{self, BootFiles};
use crate::run::scenario::{Expect, Processors, Rules, Scenario, When};

/// A boot of `variant` with a shell; every kernel in `with` is there to be kexec'd
/// into.
#[must_use]
pub fn scenario(variant: &'static Variant, with: &[&'static Variant]) -> Scenario {
    Scenario {
        name: "shell".to_owned(),
        proves: "",
        guest: "shell",
        needs: &[Artifact::Shell, Artifact::Slot],
        first: variant.name,
        next: with.iter().map(|variant| variant.name).collect(),
        args: Vec::new(),
        memory: 2048,
        initrd: 0,
        timeout: Duration::MAX,
        processors: Processors::TWO,
        devices: &[],
        load: None,
        expect: Expect::default(),
        cmdline: Vec::new(),
        console: Rules::default(),
        when: When::Asked,
        cost: 0,
    }
}

/// Boots it on the terminal and waits for its end.
///
/// # Errors
/// QEMU fails.
pub fn run(scenario: &Scenario, files: &BootFiles) -> Result<()> {
    eprintln!("Leave with `poweroff -f`, or Ctrl-A x. Kernels to kexec into are in /kernels.");
    let status = Command::new(qemu::PROGRAM)
        .args(qemu::arguments(
            files,
            &scenario.kernel_cmdline(),
            scenario.memory,
            scenario.processors,
        ))
        .args(["-serial", "mon:stdio", "-serial", "null"])
        .status()
        .with_context(|| format!("cannot run {}", qemu::PROGRAM))?;
    if !status.success() {
        bail!("{} ended with {status}", qemu::PROGRAM);
    }
    Ok(())
}
