// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is preserved beside a guest's RAM and state: how to start QEMU for it again. It is JSON,
//! the metadata of the memory regions, whose manifest has a digest over it.
//!
//! A guest goes on as what it is: with the arguments that it was started with, whatever the
//! command line says by now. Those count from its next start on.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::keep::Kept;

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// A guest, as QEMU was started for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// [`VERSION`].
    pub version: u32,
    /// QEMU's program.
    pub program: PathBuf,
    /// QEMU's own version.
    pub qemu: String,
    /// The machine type, no alias.
    pub machine: String,
    /// Bytes of RAM.
    pub memory: u64,
    /// Bytes of it that are in each NUMA node, if there are several.
    #[serde(default)]
    pub nodes: Vec<u64>,
    /// The folder in which QEMU was started.
    pub folder: PathBuf,
    /// The administrator's arguments.
    pub arguments: Vec<String>,
    /// Each boot puts disks in memory where they are.
    #[serde(default)]
    pub disks_in_memory: bool,
    /// This QEMU, kept.
    #[serde(default)]
    pub kept: Option<Kept>,
    /// The frequency of the guest's TSC where KVM runs it, in kHz.
    #[serde(default)]
    pub tsc_khz: Option<u64>,
}

/// Why the text cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is of a version that this program cannot read.
    #[error("its version is {found}, and this luo-qemu reads version {VERSION} only")]
    Version {
        /// Its version.
        found: u32,
    },
    /// It is not the text that was written.
    #[error(transparent)]
    Form(#[from] serde_json::Error),
    /// A part of what is preserved is not there.
    #[error("there is no memory region '{0}'")]
    Region(&'static str),
}

#[derive(Deserialize)]
struct Numbered {
    version: u32,
}

impl About {
    /// What a workload says of itself, at least.
    #[must_use]
    pub fn words(&self) -> String {
        format!("{} MiB of RAM, QEMU {}", self.memory >> 20, self.qemu)
    }

    /// As text.
    #[must_use]
    pub fn encode(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// Reads the text.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn parse(text: &[u8]) -> Result<Self, Refusal> {
        // Another version may have other fields.
        let Numbered { version } = serde_json::from_slice(text)?;
        if version != VERSION {
            return Err(Refusal::Version { found: version });
        }
        Ok(serde_json::from_slice(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_another_version_is_refused() {
        let mut about = About {
            version: VERSION,
            program: "/usr/bin/qemu-system-x86_64".into(),
            qemu: "10.0.2".into(),
            machine: "pc-q35-10.0".into(),
            memory: 1 << 28,
            nodes: vec![1 << 27, 1 << 27],
            folder: "/".into(),
            arguments: vec!["-nographic".into()],
            disks_in_memory: true,
            kept: None,
            tsc_khz: Some(2_400_000),
        };
        assert_eq!(About::parse(about.encode().as_bytes()).unwrap(), about);
        about.version = 2;
        let refused = About::parse(about.encode().as_bytes());
        assert!(matches!(refused, Err(Refusal::Version { found: 2 })));
        assert!(About::parse(b"{\"version\": 1}").is_err());
        assert!(About::parse(b"").is_err());
    }
}
