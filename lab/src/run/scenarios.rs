// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scenarios.

mod bench;
mod devices;
mod guests;
mod systemd;
mod users;
mod vmm;

use std::time::Duration;

use anyhow::{Result, bail};

use crate::build::artifact::Artifact;
use crate::run::checked;
use crate::run::load::{ASKED, LOADS, OF_THE_GATE};
use crate::run::scenario::{Clock, Expect, Processors, Rules, Scenario, When};

pub use bench::bench;

/// How many kexecs in a row the scenario `chain` does.
pub const KEXECS: u32 = 24;

/// What the scenario `chain` costs with so many.
const COST_OF_KEXECS: u32 = 40;

/// As that, of the scenario `chain-long`.
pub const LONG_CHAIN: u32 = 1_000;

/// As that, of the scenario `chain-memfd`, in which a file of 256 MiB goes along.
const FILE_CHAIN: u32 = 200;

/// From this kexec of a chain on, its guest compares the memory that is in use.
const CHAIN_SETTLED: u32 = 10;

/// Software emulation on a busy machine is slow; a hang is slower.
const BASE_TIMEOUT: Duration = Duration::from_secs(240);
const PER_KEXEC: Duration = Duration::from_secs(15);

/// A scenario in the Rust kernel that never leaves it; the others are made
/// from it.
fn scenario(name: &str, guest: &'static str, proves: &'static str) -> Scenario {
    Scenario {
        name: name.to_owned(),
        proves,
        guest,
        needs: &[],
        first: "rust",
        next: Vec::new(),
        args: Vec::new(),
        memory: 2048,
        initrd: 0,
        timeout: BASE_TIMEOUT,
        processors: Processors::TWO,
        devices: &[],
        load: None,
        expect: Expect {
            cases: 1,
            named: &[],
            exactly: false,
            kexecs: Some(0),
        },
        cmdline: Vec::new(),
        console: Rules::default(),
        when: When::Always,
        cost: 0,
    }
}

impl Scenario {
    fn kexec(mut self, first: &'static str, next: &'static str) -> Self {
        self.first = first;
        self.next = vec![next];
        self.expect.kexecs = Some(1);
        self
    }

    fn cases(mut self, cases: usize) -> Self {
        self.expect.cases = cases;
        self
    }
}

/// How many behaviour tests there are. A test of `xtask`, which knows the suite, compares.
pub const CONFORMANCE: usize = 771;

/// The behaviour tests of `conformance/`, on one implementation.
fn conformance(on: &'static str, first: &'static str, next: &'static str, cost: u32) -> Scenario {
    let name = format!("conformance-{on}");
    Scenario {
        first,
        next: vec![next],
        needs: &[Artifact::Kvm, Artifact::Slot],
        args: vec![format!("on:{on}")],
        processors: Processors::TWO_THAT_BOOT,
        expect: Expect {
            cases: CONFORMANCE,
            named: &[],
            exactly: false,
            kexecs: None,
        },
        // Some fifty cases have kexecs of their own, and a machine may be busy.
        timeout: Duration::from_secs(1800),
        cost,
        ..scenario(
            &name,
            "conformance",
            "each behaviour is as the suite demands, or differs as declared",
        )
    }
}

/// Scenes in order, and over how many kexecs each goes.
type Scenes = &'static [(&'static str, u32)];

/// Scenes one after the other, between two kernels in turn.
fn played(
    name: &str,
    guest: &'static str,
    proves: &'static str,
    (first, next): (&'static str, &'static str),
    scenes: Scenes,
) -> Scenario {
    let names: Vec<_> = scenes.iter().map(|(name, _)| *name).collect();
    Scenario {
        first,
        next: vec![next, first],
        args: vec![format!("scenes:{}", names.join("+"))],
        expect: Expect {
            cases: scenes.len(),
            named: &[],
            exactly: false,
            kexecs: Some(scenes.iter().map(|(_, kexecs)| kexecs).sum()),
        },
        ..scenario(name, guest, proves)
    }
}

/// Those of `luo-scenes`: the agent and several workloads.
const SCENES: Scenes = &[
    ("update", 1),
    ("veto", 1),
    ("hung", 1),
    ("cancel", 1),
    ("late", 1),
    ("identity", 1),
    ("kill-luod-at-prepared", 1),
    ("kill-web-at-freeze", 1),
    ("kill-cache-at-claimed", 1),
];

/// Those of them in which the kernel decides what is seen: in the others it is the agent, and
/// that is the same on all kernels.
const SCENES_OF_KERNELS: Scenes = &[
    ("update", 1),
    ("veto", 1),
    ("late", 1),
    ("kill-luod-at-prepared", 1),
];

/// The scenes of `luo-scenes`.
fn scenes(
    name: &str,
    kernels: (&'static str, &'static str),
    scenes: Scenes,
    cost: u32,
) -> Scenario {
    Scenario {
        timeout: BASE_TIMEOUT * 4,
        cost,
        // Mainline's handler gives back sealed what must not be executed.
        cmdline: match kernels.0 {
            "c" => Vec::new(),
            _ => vec!["sysctl.vm.memfd_noexec=1"],
        },
        ..played(
            name,
            "scenes",
            "workloads go through updates by the agent: vetoes, hangs, kills; nothing is lost",
            kernels,
            scenes,
        )
    }
}

/// `kexecs` updates in a row, between two kernels in turn.
fn chain(name: &str, kexecs: u32) -> Scenario {
    Scenario {
        next: vec!["rust-next", "rust"],
        args: vec![format!("kexecs:{kexecs}")],
        processors: Processors::TWO_THAT_BOOT,
        timeout: BASE_TIMEOUT + PER_KEXEC * kexecs,
        cost: COST_OF_KEXECS * kexecs / KEXECS,
        expect: Expect {
            cases: 1,
            named: if kexecs > CHAIN_SETTLED {
                &["memory-in-use"]
            } else {
                &[]
            },
            exactly: false,
            kexecs: Some(kexecs),
        },
        ..scenario(
            name,
            "chain",
            "many updates in a row lose nothing and leak nothing",
        )
    }
}

/// Every scenario of the tests, and the demo.
#[must_use]
pub fn all(kexecs: u32) -> Vec<Scenario> {
    let mut all = plain(kexecs);
    all.extend(checked::scenarios(&plain(checked::KEXECS)));
    all.push(Scenario {
        memory: 2048,
        cmdline: vec![checked::SCRATCH],
        when: When::All,
        timeout: BASE_TIMEOUT * 12,
        cost: 33,
        ..scenario(
            "debug-failing",
            "failing",
            "each allocation of a call fails in turn, and nothing of the call is left",
        )
        .kexec("debug", "debug")
        .cases(19)
    });
    all.push(nodes());
    all
}

/// Those without a checker.
fn plain(kexecs: u32) -> Vec<Scenario> {
    vec![
        Scenario {
            needs: &[Artifact::Selftests],
            memory: 3072,
            timeout: BASE_TIMEOUT * 4,
            expect: Expect {
                // 15 of `liveupdate`, itself, ten of KUnit, that, four over a kexec, the one in
                // the kernel.
                cases: 32,
                named: &[
                    "liveupdate",
                    "kunit",
                    "luo_kexec_simple",
                    "luo_multi_session",
                    "luo_stress_files",
                    "luo_stress_sessions",
                    "flb",
                ],
                exactly: false,
                kexecs: Some(1),
            },
            console: Rules {
                must: &[
                    "liveupdate test: .*found flb data from the previous boot",
                    "finish was triggered",
                    "Registered 3 FLBs with file handler",
                ],
                must_not: &["liveupdate test: .*(ERROR|Failed|failed)"],
                allowed: &[],
            },
            cmdline: vec![
                // As much as KHO's own test takes by itself.
                "test_kho.max_mem=8388608",
                // KUnit's tests run at boot, those of ours.
                "kunit.enable=1",
                "kunit.autorun=1",
                "kunit.filter_glob=rust_liveupdate",
            ],
            cost: 6,
            ..scenario(
                "selftests",
                "selftests",
                "the kernel tree's own tests pass, its programs and its in-kernel test of shared \
                 (FLB) objects, and KUnit's of handlers in Rust",
            )
            .kexec("rust", "rust-next")
        },
        Scenario {
            expect: Expect {
                cases: 1,
                named: &["not-for-users"],
                exactly: false,
                kexecs: Some(1),
            },
            cost: 4,
            ..scenario(
                "handover-c-to-rust",
                "handover",
                "mainline's C kernel hands over to ours",
            )
            .kexec("c", "rust")
        },
        Scenario {
            expect: Expect {
                cases: 2,
                named: &[
                    "file-of-the-device",
                    "a-users-eventfd-loses-nobody-anything",
                ],
                exactly: false,
                kexecs: Some(1),
            },
            cost: 4,
            ..scenario(
                "handover-rust-to-c",
                "handover",
                "ours hands over to mainline's C kernel, files of the device too",
            )
            .kexec("rust", "c")
        },
        Scenario {
            first: "c",
            next: vec!["rust", "rust-next", "c", "rust"],
            args: vec!["kexecs:4".to_owned()],
            expect: Expect {
                cases: 4,
                named: &["boot-1", "boot-2", "boot-3", "boot-4"],
                exactly: true,
                kexecs: Some(4),
            },
            cost: 12,
            ..scenario(
                "handover-in-turn",
                "relay",
                "the same memfds go from mainline's kernel to ours, on to ours in runs, to mainline's \
                 and to ours, and are written to in each",
            )
        },
        conformance("rust", "rust", "rust-next", 185),
        conformance("c", "c", "c", 54),
        Scenario {
            cost: 5,
            ..scenario(
                "vetoes",
                "vetoes",
                "vetoes and missing dependencies undo all; a chain goes over a kexec in order",
            )
            .kexec("rust", "rust-next")
            .cases(9)
        },
        Scenario {
            next: vec!["rust-next", "rust"],
            expect: Expect {
                cases: 8,
                named: &[],
                exactly: false,
                kexecs: Some(3),
            },
            cost: 8,
            ..scenario(
                "unclaimed",
                "unclaimed",
                "a session that nobody claims survives two more kernels, whole",
            )
        },
        Scenario {
            needs: &[Artifact::Clients],
            cost: 5,
            ..scenario(
                "rfc-client-c",
                "rfc-client",
                "a client in C that knows only the proposal does the whole cycle",
            )
            .kexec("rust", "rust-next")
            .cases(24)
        },
        scenes("scenes-rust", ("rust", "rust-next"), SCENES, 79),
        scenes("scenes-c", ("c", "c"), SCENES_OF_KERNELS, 27),
        Scenario {
            when: When::All,
            ..scenes("scenes-c-whole", ("c", "c"), SCENES, 83)
        },
        Scenario {
            // Guests of QEMU go over updates in `guests-rust`, too.
            when: When::All,
            ..guests::demo()
        },
        guests::guests("guests-rust", guests::SCENES, ("rust", "rust-next"), 80),
        Scenario {
            when: When::All,
            ..guests::guests(
                "guests-kills-rust",
                guests::KILLS,
                ("rust", "rust-next"),
                190,
            )
        },
        Scenario {
            when: When::All,
            ..guests::in_kvm("guests-kvm-rust", guests::IN_KVM, ("rust", "rust-next"))
        },
        Scenario {
            when: When::All,
            ..guests::linux("guests-linux-rust", guests::LINUX, ("rust", "rust-next"))
        },
        Scenario {
            when: When::All,
            ..guests::counted("guests-gap-rust", guests::GAP, ("rust", "rust-next"))
        },
        Scenario {
            // Its times are the host's, which does something else, too, in each run of all tests.
            when: When::Asked,
            ..guests::in_kvm("guests-gap-timed-rust", guests::GAP, ("rust", "rust-next"))
        },
        Scenario {
            when: When::All,
            cost: 248,
            ..guests::in_kvm("guests-clocks-rust", guests::CLOCKS, ("rust", "rust-next"))
        },
        Scenario {
            when: When::All,
            cost: 113,
            ..guests::in_kvm(
                "guests-devices-rust",
                guests::DEVICES,
                ("rust", "rust-next"),
            )
        },
        Scenario {
            when: When::All,
            ..guests::guests("guests-huge-rust", guests::HUGE, ("rust", "rust-next"), 30)
        },
        Scenario {
            when: When::All,
            ..guests::guests("guests-c", guests::SCENES, ("c", "c"), 80)
        },
        Scenario {
            when: When::All,
            ..vmm::vmm("vmm-rust", vmm::SCENES, ("rust", "rust-next"), 60)
        },
        Scenario {
            when: When::All,
            ..vmm::vmm("vmm-machine-rust", vmm::MACHINE, ("rust", "rust-next"), 60)
        },
        Scenario {
            when: When::All,
            ..vmm::vmm("vmm-kills-rust", vmm::KILLS, ("rust", "rust-next"), 60)
        },
        Scenario {
            when: When::All,
            ..vmm::vmm("vmm-c", vmm::SCENES, ("c", "c"), 60)
        },
        Scenario {
            when: When::All,
            ..vmm::vmm("vmm-clocks-rust", vmm::CLOCKS, ("rust", "rust-next"), 150)
        },
        chain("chain", kexecs),
        Scenario {
            when: When::All,
            ..chain("chain-long", LONG_CHAIN)
        },
        Scenario {
            args: vec![format!("kexecs:{FILE_CHAIN}"), "large:256".to_owned()],
            memory: 1536,
            when: When::All,
            ..chain("chain-memfd", FILE_CHAIN)
        },
        Scenario {
            needs: &[Artifact::Kvm],
            next: vec!["rust"],
            args: vec!["kind:all".to_owned()],
            processors: Processors::ONE_THAT_BOOTS,
            // Less memory to fill when it looks whether anything was freed.
            memory: 512,
            timeout: Duration::from_secs(900),
            cost: 85,
            expect: Expect {
                // Each kind, that those which are refused veto a reboot, and a kernel that
                // takes nothing over.
                cases: 88,
                named: &[],
                exactly: false,
                kexecs: None,
            },
            ..scenario(
                "hostile",
                "hostile",
                "damaged handover data is refused with a message and no crash",
            )
        },
        users::hostile_client(),
        users::accounts(),
        memory(
            "memory-8g",
            8192,
            1024,
            61,
            "a file of 1 GiB above the first 4 GiB of a machine",
        ),
        gigantic(
            "gigantic",
            &[],
            "a memfd of a huge page of 1 GiB, and the pools of the kernels that have it",
        ),
        gigantic(
            "gigantic-spared",
            &["hugetlb_free_vmemmap=on"],
            "the same where pools save the descriptors of their pages",
        ),
        Scenario {
            args: vec!["without:1".to_owned()],
            expect: Expect {
                cases: 2,
                named: &[
                    "without-its-size-it-vetoes-the-next-update",
                    "lost-it-is-not-waited-for",
                ],
                exactly: true,
                kexecs: Some(2),
            },
            ..gigantic(
                "gigantic-without",
                &[],
                "the same through a kernel that has no pages of that size",
            )
        },
        memory(
            "memory-800m",
            800,
            192,
            23,
            "a file of a quarter of a small machine's memory",
        ),
        Scenario {
            initrd: 300,
            ..memory(
                "memory-initrd",
                1024,
                192,
                32,
                "a machine of 1 GiB with an initrd of 300 MiB",
            )
        },
        devices::edu(),
        systemd::packages(),
        systemd::many(),
        systemd::stores(),
        systemd::stores_c(),
        bench("rust", OF_THE_GATE, Clock::Instructions),
        bench("c", OF_THE_GATE, Clock::Instructions),
        Scenario {
            cost: 13,
            ..scenario(
                "demo",
                "demo",
                "a service keeps its memory across a kernel update",
            )
            .kexec("rust", "rust-next")
        },
    ]
}

/// A file of a huge page of 1 GiB goes over two kexecs, in kernels with these parameters beside.
fn gigantic(name: &str, parameters: &[&'static str], proves: &'static str) -> Scenario {
    let pool = ["hugepagesz=1G", "hugepages=1"];
    Scenario {
        memory: 6144,
        cost: 10,
        cmdline: [&pool[..], parameters].concat(),
        expect: Expect {
            cases: 2,
            named: &["its-page-is-not-asked-for-again", "comes-back"],
            exactly: true,
            kexecs: Some(2),
        },
        when: When::All,
        ..scenario(name, "gigantic", proves).kexec("rust", "rust-next")
    }
}

/// Files with memory of two NUMA nodes. Of the kernels `debug` alone knows of nodes.
fn nodes() -> Scenario {
    Scenario {
        memory: 4096,
        processors: Processors::TWO_WITH_A_NODE_EACH,
        cmdline: vec![checked::SCRATCH, "hugepages=0:8,1:8"],
        expect: Expect {
            cases: 5,
            named: &[
                "each-half-lies-on-its-node",
                "each-pool-has-lent-its-own",
                "each-pool-has-its-own",
                "small-pages-come-back",
                "huge-pages-come-back",
            ],
            exactly: true,
            kexecs: Some(1),
        },
        when: When::All,
        cost: 60,
        ..scenario(
            "debug-nodes",
            "nodes",
            "files with memory of two NUMA nodes come back on them",
        )
        .kexec("debug", "debug")
    }
}

/// A file of `file` MiB goes over a kexec of a machine that has `memory` MiB.
fn memory(name: &str, memory: u32, file: u32, cost: u32, proves: &'static str) -> Scenario {
    Scenario {
        memory,
        args: vec![format!("mib:{file}")],
        expect: Expect {
            cases: 3,
            named: &["little-is-taken-for-it", "comes-back"],
            exactly: false,
            kexecs: Some(1),
        },
        when: When::All,
        cost,
        ..scenario(name, "memory", proves).kexec("rust", "rust-next")
    }
}

/// Looks a scenario up, those of the bench included.
///
/// # Errors
/// There is none of that name; the message lists them.
pub fn find(name: &str, kexecs: u32) -> Result<Scenario> {
    let mut known = all(kexecs);
    // Loads are run in the kernels of the tests, too: a developer who has changed such a kernel
    // need not build one of the benchmarks.
    for variant in ["bench-c", "bench-rust", "c", "rust"] {
        for load in LOADS.iter().chain(ASKED) {
            known.push(bench(variant, load, Clock::Instructions));
            known.push(bench(variant, load, Clock::Host));
        }
    }
    let names: Vec<_> = known.iter().map(|scenario| scenario.name.clone()).collect();
    match known.into_iter().find(|scenario| scenario.name == name) {
        Some(scenario) => Ok(scenario),
        None => bail!(
            "there is no scenario `{name}`; there are:\n  {}",
            names.join("\n  ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::variant::Variant;

    #[test]
    fn every_scenario_can_be_run() {
        for scenario in all(KEXECS) {
            assert!(find(&scenario.name, KEXECS).is_ok());
            assert!(
                scenario.expect.cases > 0 || scenario.load.is_some(),
                "{} could pass without a case",
                scenario.name
            );
            assert!(scenario.cost > 0, "{} costs nothing", scenario.name);
            for variant in scenario.variants() {
                Variant::find(variant).unwrap();
            }
        }
    }

    #[test]
    fn the_chain_alternates() {
        let chain = chain("chain", 3);
        let ran: Vec<_> = (0..=3).map(|kexecs| chain.variant_at(kexecs)).collect();
        assert_eq!(ran, ["rust", "rust-next", "rust", "rust-next"]);
        assert_eq!(chain.variants(), ["rust", "rust-next"]);
        assert!(
            chain
                .kernel_cmdline()
                .contains("luo.next=rust-next,rust luo.args=kexecs:3")
        );
    }

    #[test]
    fn own_parameters_replace_the_common_ones() {
        let cmdline = find("systemd", KEXECS).unwrap().kernel_cmdline();
        assert!(
            cmdline.contains("kho_scratch=32M,160M,32M")
                && !cmdline.contains("kho_scratch=32M,64M"),
            "{cmdline}"
        );
        let cmdline = find("hostile", KEXECS).unwrap().kernel_cmdline();
        assert!(cmdline.contains("luo.scenario=hostile luo.next=rust luo.args=kind:all"));
    }
}
