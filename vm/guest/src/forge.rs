// SPDX-License-Identifier: MIT OR Apache-2.0
//! `/dev/luo_forge`, the test driver that forges handovers and fails on demand.
//! What it does is described in its source, `lib/tests/luo_forge.c`.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use luo_sys::Errno;

use crate::check::skip;

/// Bytes of a page of the handover.
pub(crate) const PAGE: usize = 4096;

const DEVICE: &str = "/dev/luo_forge";
const PARAMETERS: &str = "/sys/module/luo_forge/parameters";
const COMMIT: u64 = 1 << 20;
const MEMORY: u64 = 1 << 21;

/// An open forge.
pub(crate) struct Forge {
    file: File,
}

impl Forge {
    /// Opens the device.
    ///
    /// # Errors
    /// A skip if the kernel was built without it.
    pub(crate) fn open() -> Result<Self> {
        match OpenOptions::new().read(true).write(true).open(DEVICE) {
            Ok(file) => Ok(Self { file }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(skip(format!("this kernel has no {DEVICE}")))
            }
            Err(error) => Err(error).context(DEVICE),
        }
    }

    /// The open file, which the handler `forge-v1` preserves.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The physical address of page `index`, which exists from now on.
    ///
    /// # Errors
    /// If the driver has no such page.
    pub(crate) fn address(&self, index: usize) -> Result<u64> {
        let mut address = [0; 8];
        self.file
            .read_exact_at(&mut address, index as u64 * 8)
            .with_context(|| format!("page {index} of the forge"))?;
        Ok(u64::from_ne_bytes(address))
    }

    /// Fills page `index`.
    ///
    /// # Errors
    /// If the driver has no such page.
    pub(crate) fn fill(&self, index: usize, bytes: &[u8; PAGE]) -> Result<()> {
        self.file
            .write_all_at(bytes, (index * PAGE) as u64)
            .with_context(|| format!("page {index} of the forge"))
    }

    /// Hands page 0 over as the orchestrator's root, `size` bytes long.
    ///
    /// # Errors
    /// If something has been handed over already.
    pub(crate) fn commit(&self, size: u64) -> Result<()> {
        let mut order = *b"commit\0\0________";
        order[8..].copy_from_slice(&size.to_ne_bytes());
        self.file
            .write_all_at(&order, COMMIT)
            .context("committing the forged handover")
    }

    /// Reads a page of physical memory.
    ///
    /// # Errors
    /// If there is no memory at this address.
    pub(crate) fn memory(&self, address: u64) -> Result<[u8; PAGE]> {
        let mut page = [0; PAGE];
        self.file
            .read_exact_at(&mut page, MEMORY + address)
            .with_context(|| format!("physical address {address:#x}"))?;
        Ok(page)
    }
}

/// What the handler `forge-v1` can be told to fail at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// `preserve` returns this.
    Preserve(Errno),
    /// `freeze` returns this.
    Freeze(Errno),
    /// That many files freeze before `Freeze` strikes.
    FreezePasses(u32),
    /// `retrieve` returns this.
    Retrieve(Errno),
    /// `can_finish` says no that many times.
    FinishRefusals(u32),
}

impl Fault {
    fn parameter(self) -> (&'static str, i64) {
        match self {
            Self::Preserve(errno) => ("preserve_errno", errno.get().into()),
            Self::Freeze(errno) => ("freeze_errno", errno.get().into()),
            Self::FreezePasses(files) => ("freeze_passes", files.into()),
            Self::Retrieve(errno) => ("retrieve_errno", errno.get().into()),
            Self::FinishRefusals(times) => ("finish_refusals", times.into()),
        }
    }

    /// Injects the fault; it is taken back when the guard is dropped, so that
    /// a case that fails does not spoil the next one.
    ///
    /// # Errors
    /// If the driver has no such switch.
    pub(crate) fn inject(self) -> Result<Injected> {
        let (name, value) = self.parameter();
        set(name, value)?;
        Ok(Injected { name })
    }
}

/// A fault that is in force.
pub(crate) struct Injected {
    name: &'static str,
}

impl Drop for Injected {
    fn drop(&mut self) {
        // The parameter was just there; should it fail, the next case tells.
        let _ = set(self.name, 0);
    }
}

fn set(name: &str, value: i64) -> Result<()> {
    let path = format!("{PARAMETERS}/{name}");
    fs::write(&path, value.to_string()).context(path)
}

/// How many forge files the driver believes to be preserved, and frozen.
///
/// # Errors
/// If the driver does not count.
pub(crate) fn counts() -> Result<(i32, i32)> {
    let read = |name: &str| -> Result<i32> {
        let path = format!("{PARAMETERS}/{name}");
        Ok(fs::read_to_string(&path).context(path)?.trim().parse()?)
    };
    Ok((read("preserved")?, read("frozen")?))
}
