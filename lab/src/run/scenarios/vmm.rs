// SPDX-License-Identifier: MIT OR Apache-2.0
//! Those with a guest in KVM: nested virtualization (SVM) in software emulation.

use super::{BASE_TIMEOUT, Scenes, played};
use crate::build::artifact::Artifact;
use crate::run::scenario::Scenario;

/// What a guest goes through.
pub(super) const SCENES: Scenes = &[
    ("vmm-update", 2),
    ("vmm-two", 2),
    ("vmm-linux", 1),
    ("vmm-veto", 1),
    ("vmm-damaged", 1),
    ("vmm-ends", 0),
];

/// That in which the machine itself goes along: its VM, memory of its own, and eventfds.
pub(super) const MACHINE: Scenes = &[("vmm-machine", 3)];

/// That in which a guest looks at its clocks over twenty updates in a row.
pub(super) const CLOCKS: Scenes = &[("vmm-twenty", 20)];

/// That in which luo-vmm is killed at each step.
pub(super) const KILLS: Scenes = &[("vmm-kills", 2)];

/// `monitor` of `luo-scenes-guests`: a guest of `luo-vmm` as a workload of the agent.
pub(super) fn vmm(
    name: &str,
    scenes: Scenes,
    kernels: (&'static str, &'static str),
    cost: u32,
) -> Scenario {
    Scenario {
        needs: &[Artifact::Kvm],
        timeout: BASE_TIMEOUT * 3,
        cost,
        ..played(
            name,
            "vmm",
            "a guest in KVM goes on under the next kernel; vetoes, kills, damage",
            kernels,
            scenes,
        )
    }
}
