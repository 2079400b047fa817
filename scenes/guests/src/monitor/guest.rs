// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guests of luo-vmm.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{archive, inner};
use crate::bare;

/// Where the machine has its kernels.
const KERNELS: &str = "/kernels";

/// The command line of a guest's kernel: as little as a machine without tables needs. How many loops
/// make a delay is said, because it would measure that for a while.
const LINE: &str = "console=ttyS0 quiet loglevel=4 panic=-1 reboot=k lpj=24000000 acpi=off pci=off \
                    8250.nr_uarts=1 no_timer_check -- inner";

/// A guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A program without an operating system.
    Bare,
    /// The same with two processors.
    Two,
    /// With two processors, and a doorbell: the machine itself goes over updates, and not RAM alone.
    Machine,
    /// Linux: a kernel of the machine's own.
    Linux,
}

/// What a guest has said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// How many lines, each as it has to be.
    pub ticks: usize,
    /// The longest time for which it stood still, in ticks of the processor's counter.
    pub gap: u64,
    /// The same by its own clock, in microseconds, if it has one.
    pub gap_us: Option<u64>,
}

impl Kind {
    /// Writes what it is started with into a folder.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(self, folder: &Path) -> Result<()> {
        match self {
            Self::Bare => bare::write(&folder.join("bare"), 1, None),
            Self::Two => bare::write(&folder.join("bare"), 2, None),
            Self::Machine => bare::write_ringing(&folder.join("bare")),
            Self::Linux => {
                let program = fs::read("/proc/self/exe")?;
                Ok(fs::write(folder.join("initrd"), archive::of(&program))?)
            }
        }
    }

    /// What luo-vmm is told of it.
    ///
    /// # Errors
    /// The machine has no kernels.
    pub fn arguments(self, folder: &Path) -> Result<Vec<OsString>> {
        Ok(match self {
            Self::Bare => vec!["--flat".into(), folder.join("bare").into()],
            Self::Two => {
                let program = folder.join("bare").into();
                vec!["--cpus".into(), "2".into(), "--flat".into(), program]
            }
            Self::Machine => {
                let mut all = Self::Two.arguments(folder)?;
                all.push("--preserve=machine".into());
                all
            }
            Self::Linux => vec![
                "--kernel".into(),
                kernel()?.into(),
                "--initrd".into(),
                folder.join("initrd").into(),
                "--append".into(),
                LINE.into(),
            ],
        })
    }

    /// Reads what it has said.
    ///
    /// # Errors
    /// Something of it is wrong.
    pub fn read(self, said: &str) -> Result<Said> {
        Ok(match self {
            Self::Bare | Self::Two | Self::Machine => {
                let lines = bare::read(said)?;
                Said {
                    ticks: lines.len(),
                    gap: lines.iter().map(|line| line.gap).max().unwrap_or_default(),
                    gap_us: None,
                }
            }
            Self::Linux => {
                let lines = inner::read(said)?;
                Said {
                    ticks: lines.len(),
                    gap: lines
                        .iter()
                        .map(|line| line.ticks)
                        .max()
                        .unwrap_or_default(),
                    gap_us: lines.iter().map(|line| line.gap).max(),
                }
            }
        })
    }
}

/// A kernel of the machine's: the first by name.
fn kernel() -> Result<PathBuf> {
    let entries = fs::read_dir(KERNELS).context(KERNELS)?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry?.path());
    }
    paths.into_iter().min().context("there is no kernel")
}
