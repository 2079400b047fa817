// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the administrator wants, as the command line or a guest's file says it.

use std::path::PathBuf;

use luo_client::SessionName;

/// What the administrator wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The name of the workload and of its session.
    pub name: SessionName,
    /// Bytes of RAM in each NUMA node.
    pub memory: Vec<u64>,
    /// Bytes of the huge pages that RAM is made of, if it is.
    pub huge: Option<u64>,
    /// Bytes for the devices' state, where that is not left to what they are.
    pub state: Option<u64>,
    /// QEMU's program.
    pub program: PathBuf,
    /// QEMU's arguments.
    pub arguments: Vec<String>,
    /// The machine type among them.
    pub machine: Option<String>,
    /// Each boot puts disks in memory where they are.
    pub disks_in_memory: bool,
}

impl Wanted {
    /// Bytes of RAM in all.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let nodes = self.memory.iter().copied();
        nodes.fold(0, u64::saturating_add)
    }

    /// RAM in nodes, of which one is none.
    #[must_use]
    pub fn nodes(&self) -> Vec<u64> {
        match self.memory.as_slice() {
            [_] => Vec::new(),
            nodes => nodes.to_vec(),
        }
    }
}
