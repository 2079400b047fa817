// SPDX-License-Identifier: MIT OR Apache-2.0
//! Those with a guest in KVM: nested virtualization (SVM) in software emulation.

use super::guests::Scenes;
use super::{BASE_TIMEOUT, scenario};
use crate::build::artifact::Artifact;
use crate::run::scenario::{Expect, Scenario};

/// Those of each run of the tests.
pub(super) const SCENES: Scenes = &[
    ("vmm-update", 2),
    ("vmm-linux", 1),
    ("vmm-veto", 1),
    ("vmm-damaged", 1),
    ("vmm-ends", 0),
];

/// That in which luo-vmm is killed at each step.
pub(super) const KILLS: Scenes = &[("vmm-kills", 2)];

/// `monitor` of `luo-scenes-guests`: a guest of `luo-vmm` as a workload of the agent.
pub(super) fn vmm(
    name: &str,
    scenes: Scenes,
    first: &'static str,
    next: &'static str,
    cost: u32,
) -> Scenario {
    let names: Vec<_> = scenes.iter().map(|(name, _)| *name).collect();
    Scenario {
        needs: &[Artifact::Kvm],
        first,
        next: vec![next, first],
        args: vec![format!("scenes:{}", names.join("+"))],
        timeout: BASE_TIMEOUT * 3,
        expect: Expect {
            cases: scenes.len(),
            named: &[],
            exactly: false,
            kexecs: Some(scenes.iter().map(|(_, kexecs)| kexecs).sum()),
        },
        cost,
        ..scenario(
            name,
            "vmm",
            "a guest in KVM goes on under the next kernel; vetoes, kills, damage",
        )
    }
}
