// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine whose console is the terminal.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::build::variant::Variant;
use crate::judge::console::Rules;
use crate::lab::Lab;
use crate::run::qemu;
use crate::run::scenario::{Expect, Scenario};

/// Boots `variant` with a shell on the terminal and waits for its end. Every
/// kernel in `with` is there to be kexec'd into.
///
/// # Errors
/// Something cannot be built or QEMU fails.
pub fn run(lab: &Lab, variant: &'static Variant, with: &[&'static Variant]) -> Result<()> {
    let scenario = Scenario {
        name: "shell".to_owned(),
        proves: "",
        guest: "shell",
        first: variant.name,
        next: with.iter().map(|variant| variant.name).collect(),
        args: Vec::new(),
        memory: 2048,
        timeout: Duration::MAX,
        expect: Expect::default(),
        cmdline: &[],
        console: Rules::default(),
        in_tests: false,
    };
    let files = lab.boot_files(&scenario)?;
    eprintln!("Leave with `poweroff -f`, or Ctrl-A x. Kernels to kexec into are in /kernels.");
    let status = Command::new(qemu::PROGRAM)
        .args(qemu::arguments(
            &files.kernel,
            &files.initrd,
            &scenario.kernel_cmdline(),
            scenario.memory,
        ))
        .args(["-serial", "mon:stdio", "-serial", "null"])
        .status()
        .with_context(|| format!("cannot run {}", qemu::PROGRAM))?;
    if !status.success() {
        bail!("{} ended with {status}", qemu::PROGRAM);
    }
    Ok(())
}
