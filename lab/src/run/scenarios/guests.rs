// SPDX-License-Identifier: MIT OR Apache-2.0
//! Those with a guest of the machine's own: QEMU in QEMU.

use super::{BASE_TIMEOUT, Scenes, played, scenario};
use crate::build::artifact::Artifact;
use crate::run::scenario::{Expect, Processors, Scenario};

/// The initramfs, with QEMU in it, has to fit into it, too.
const SCRATCH: &str = "kho_scratch=32M,192M,32M";

/// Those of each run of the tests.
pub(super) const SCENES: Scenes = &[("update", 2), ("veto", 1), ("damaged", 1)];

/// Those with a guest in KVM: nested virtualization (SVM) in software emulation.
pub(super) const IN_KVM: Scenes = &[("five", 5), ("two", 2), ("veto", 1), ("qemu-killed", 1)];

/// Those with devices: disks that are written, two guests that talk to each other, NUMA nodes.
pub(super) const DEVICES: Scenes = &[("disks", 2), ("pair", 2), ("nodes", 2)];

/// The one with a distribution's Linux in two guests, and a TCP connection between them.
pub(super) const LINUX: Scenes = &[("linux", 2)];

/// That in which a guest looks at its clock over twenty updates in a row.
pub(super) const CLOCKS: Scenes = &[("twenty", 20)];

/// The one that measures how long a guest stands still.
pub(super) const GAP: Scenes = &[("gap", 3)];

/// The one with RAM of huge pages.
pub(super) const HUGE: Scenes = &[("huge", 2)];

/// Those in which something hangs, ends or is killed at each step. The tests of `luo-qemu`
/// do the same over jumps of the simulator each time; over real ones they take minutes.
pub(super) const KILLS: Scenes = &[
    ("hung", 1),
    ("qemu-killed", 1),
    ("ends", 1),
    ("kills-before", 1),
    ("kills-after", 3),
];

/// The demonstration with guests.
pub(super) fn demo() -> Scenario {
    Scenario {
        needs: &[Artifact::Qemu, Artifact::Kvm, Artifact::CloudLinux],
        timeout: BASE_TIMEOUT * 4,
        processors: Processors::ONE,
        cmdline: vec![SCRATCH],
        expect: Expect {
            cases: 4,
            named: &["the guests went on"],
            exactly: false,
            kexecs: Some(1),
        },
        cost: 45,
        ..scenario(
            "demo-vm",
            "demo-vm",
            "two Linux guests of an unmodified QEMU keep memory and connection across an update of their host",
        )
        .kexec("rust", "rust-next")
    }
}

/// `scenes` of `luo-scenes-guests`: an unmodified QEMU as a workload of the agent.
pub(super) fn guests(
    name: &str,
    scenes: Scenes,
    kernels: (&'static str, &'static str),
    cost: u32,
) -> Scenario {
    Scenario {
        needs: &[Artifact::Qemu],
        timeout: BASE_TIMEOUT * 6,
        cmdline: vec![SCRATCH],
        cost,
        ..played(
            name,
            "guests",
            "a guest of an unmodified QEMU goes on under the next kernel; vetoes, hangs, kills",
            kernels,
            scenes,
        )
    }
}

/// The same with the guest's processor in KVM.
pub(super) fn in_kvm(
    name: &str,
    scenes: Scenes,
    kernels: (&'static str, &'static str),
) -> Scenario {
    let mut scenario = guests(name, scenes, kernels, 147);
    scenario.needs = &[Artifact::Qemu, Artifact::Kvm];
    scenario.args.push("kvm:yes".to_owned());
    scenario
}

/// The same with guests that run a distribution's Linux.
pub(super) fn linux(name: &str, scenes: Scenes, kernels: (&'static str, &'static str)) -> Scenario {
    let mut scenario = in_kvm(name, scenes, kernels);
    scenario.needs = &[Artifact::Qemu, Artifact::Kvm, Artifact::CloudLinux];
    // With two, a guest was now and then seen to be reset or to stand still, before any update, too.
    scenario.processors = Processors::ONE;
    scenario.cost = 77;
    scenario
}

/// The same on a machine whose time goes by instructions: how long a guest stands still does not depend
/// on what else the host does.
pub(super) fn counted(
    name: &str,
    scenes: Scenes,
    kernels: (&'static str, &'static str),
) -> Scenario {
    let mut scenario = in_kvm(name, scenes, kernels);
    scenario.processors = Processors::COUNTED;
    scenario.args.push("counted:yes".to_owned());
    scenario.cost = 118;
    scenario
}
