// SPDX-License-Identifier: MIT OR Apache-2.0
//! Modules of the running kernel: where they are, and KVM, which the kernels of the tests have as
//! such.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use luo_lab_protocol::MODULE_DIR;
use luo_scenes::stage::within;

use crate::command_line::CommandLine;

/// In the order in which they need each other.
const MODULES: [&str; 3] = ["irqbypass.ko", "kvm.ko", "kvm-amd.ko"];

/// It is there once they are.
const DEVICE: &str = "/dev/kvm";

/// What the kernel measures time by.
const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

/// The parameter that says how fast the processor's counter runs, in place of measuring it.
pub(crate) const EARLY: &str = "tsc_early_khz";

/// Measuring takes a second, and a busy host is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// Loads KVM at once, if the modules of this kernel are there: for who does not care what it takes
/// for the frequency of the processor's counter.
///
/// # Errors
/// The kernel does not take one that is there.
pub(crate) fn load_kvm_at_once() -> Result<()> {
    match has_kvm()? {
        true => load(),
        false => Ok(()),
    }
}

/// Whether the modules of this kernel are there.
///
/// # Errors
/// It cannot be told which kernel this is.
pub(crate) fn has_kvm() -> Result<bool> {
    Ok(path("kvm.ko")?.try_exists()?)
}

/// Loads KVM, unless it is there. What it takes for the frequency of the processor's counter is
/// what the kernel says at that moment: so the kernel was told, or has measured to the end.
///
/// # Errors
/// A module is not there, or the kernel does not take it.
pub(crate) fn load_kvm(line: &CommandLine) -> Result<()> {
    if Path::new(DEVICE).exists() {
        return Ok(());
    }
    if line.get(EARLY).is_none() {
        within(PATIENCE, "that the kernel knows its counter", || {
            Ok(fs::read_to_string(CLOCK)?.trim() == "tsc")
        })?;
    }
    load()
}

fn load() -> Result<()> {
    for name in MODULES {
        let path = path(name)?;
        let what = || path.display().to_string();
        let module = File::open(&path).with_context(what)?;
        rustix::system::finit_module(module, c"", 0).with_context(what)?;
    }
    Ok(())
}

/// Where a module of the running kernel is, if it is there.
///
/// # Errors
/// The kernel is not one of the laboratory's.
pub(crate) fn path(file: &str) -> Result<PathBuf> {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let (_, variant) = release.split_once("-luo-").context("the kernel's name")?;
    Ok(Path::new(MODULE_DIR).join(variant).join(file))
}
