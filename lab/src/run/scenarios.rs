// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scenarios.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::build::artifact::Artifact;
use crate::build::variant::{Setup, Variant};
use crate::fetch::debian::Release;
use crate::run::checked;
use crate::run::load::{LOADS, Load, OF_THE_GATE};
use crate::run::scenario::{Clock, Expect, Rules, Scenario, When};

/// How many kexecs in a row the scenario `chain` does.
pub const KEXECS: u32 = 50;

/// What the scenario `chain` costs with so many.
const COST_OF_KEXECS: u32 = 159;

/// As that, of the scenario `chain-long`.
pub const LONG_CHAIN: u32 = 1_000;

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
        clock: Clock::Host,
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

/// The behaviour tests of `conformance/`, on one implementation.
fn conformance(on: &'static str, first: &'static str, next: &'static str, cost: u32) -> Scenario {
    let name = format!("conformance-{on}");
    Scenario {
        first,
        next: vec![next],
        args: vec![format!("on:{on}")],
        expect: Expect {
            cases: 473,
            named: &[],
            exactly: false,
            kexecs: None,
        },
        // Two dozen cases have kexecs of their own.
        timeout: Duration::from_secs(900),
        cost,
        ..scenario(
            &name,
            "conformance",
            "each behaviour is as the suite demands, or differs as declared",
        )
    }
}

/// The scenes of `luo-scenes`: the agent and several workloads.
fn scenes(on: &'static str, first: &'static str, next: &'static str, cost: u32) -> Scenario {
    /// Scenes, each over a kexec of its own.
    const SCENES: u32 = 8;
    Scenario {
        first,
        next: vec![next, first],
        timeout: BASE_TIMEOUT * 4,
        expect: Expect {
            cases: SCENES as usize,
            named: &[],
            exactly: false,
            kexecs: Some(SCENES),
        },
        cost,
        ..scenario(
            &format!("scenes-{on}"),
            "scenes",
            "workloads go through updates by the agent: vetoes, hangs, kills; nothing is lost",
        )
    }
}

/// A guest that runs systemd, with our packages' files in it.
fn systemd(name: &str, proves: &'static str) -> Scenario {
    Scenario {
        needs: &[Artifact::SystemdRoot(Release::Stable)],
        next: vec!["rust-next", "rust"],
        cost: 240,
        timeout: BASE_TIMEOUT * 4,
        expect: Expect {
            cases: 30,
            named: &["completed-after-systemctl", "completed-after-direct"],
            exactly: false,
            kexecs: Some(2),
        },
        cmdline: vec![
            // The initramfs has to fit into it, too.
            "kho_scratch=32M,160M,32M",
            // All that systemd says is to be seen, from its first word to its last.
            "systemd.log_target=kmsg",
            "systemd.log_color=0",
            "systemd.show_status=0",
            "printk.devkmsg=on",
        ],
        console: Rules {
            must: &["systemd-shutdown.*Rebooting with kexec"],
            must_not: &[
                "(service|sysusers.d|tmpfiles.d)/?luod[^ ]*:[0-9]+:",
                "luod.service: .*([Uu]nknown|[Ii]gnor|WITHOUT|not support|Failed to)",
            ],
            allowed: &[],
        },
        ..scenario(name, "systemd", proves)
    }
}

/// One boot of it, with more sessions than systemd could give the names of.
fn systemd_many() -> Scenario {
    Scenario {
        args: vec!["part:many".to_owned()],
        expect: Expect {
            cases: 1,
            named: &["many-sessions"],
            exactly: false,
            kexecs: Some(0),
        },
        console: Rules::default(),
        // What labels are long at most is seen in a unit test, too.
        when: When::All,
        ..systemd(
            "systemd-many",
            "2,240 sessions with long names come back out of systemd's descriptor store",
        )
    }
}

/// All that the scenario of the hostile client reports.
const HOSTILE_CLIENT: &[&str] = &[
    "each-attack-is-tried",
    "calls-that-never-end-are-among-them",
    "update-goes-on-under-attack",
    "nothing-is-let-through",
    "what-is-shared-is-preserved-once",
    "nothing-is-left-when-it-is-killed",
    "many-numbers-have-no-more-than-users-together",
    "who-holds-an-administrators-session-delays-for-a-bounded-time",
    "nobody-else-is-charged",
    // In the next kernel.
    "the-reboot-ends-in-time",
    "each-attack-is-tried-after",
    "closed-ones-of-others-are-let-alone",
    "a-full-group-takes-nothing-of-others",
    "memory-is-there",
    "memory-of-the-other-user-is-there",
    "the-log-is-not-flooded",
    "update-ends",
    "nothing-is-let-through-after",
];

/// All that the scenario of memory cgroups reports.
const ACCOUNTS: &[&str] = &[
    "what-a-user-holds-is-charged-to-its-group",
    "a-full-group-is-told-and-nobody-is-killed",
    // Two kernels later.
    "a-full-group-loses-nothing-that-it-carries-on",
    "who-takes-back-is-charged",
];

/// All that the scenario with descriptor stores reports, kernel by kernel.
const STORES: &[&str] = &[
    // In the first kernel.
    "systemd-keeps-stores",
    "device-is-delegated",
    "keeper-is-ready",
    "store-is-ready",
    "tenant-is-ready",
    "workloads-run",
    // In the second kernel.
    "completed-after-1-systemctl",
    "cache-after-1-systemctl",
    "leaver-after-1-systemctl",
    "web-after-1-systemctl",
    "keeper-after-1-systemctl",
    "store-after-1-systemctl",
    "tenant-after-1-systemctl",
    "incoming-after-1-systemctl",
    "system-after-1-systemctl",
    // In the third.
    "completed-after-2-direct",
    "cache-after-2-direct",
    "leaver-after-2-direct",
    "web-after-2-direct",
    "keeper-after-2-direct",
    "store-after-2-direct",
    "tenant-after-2-direct",
    "incoming-after-2-direct",
    "system-after-2-direct",
    // In the fourth.
    "completed-after-3-systemctl",
    "cache-after-3-systemctl",
    "leaver-after-3-systemctl",
    "web-after-3-systemctl",
    "keeper-after-3-systemctl",
    "store-after-3-systemctl",
    "tenant-after-3-systemctl",
    "incoming-after-3-systemctl",
    "system-after-3-systemctl",
];

/// As that, with one update less.
const STORES_TWO_HOPS: &[&str] = STORES.split_at(STORES.len() - 9).0;

/// Updates under a systemd that keeps descriptor stores over a kexec, into our kernels.
fn systemd_stores() -> Scenario {
    /// Jumps by systemd, by the agent, and by systemd again.
    const HOPS: u32 = 3;
    Scenario {
        needs: &[Artifact::SystemdRoot(Release::KeepsStores)],
        args: vec!["part:stores".to_owned(), format!("hops:{HOPS}")],
        expect: Expect {
            cases: STORES.len(),
            named: STORES,
            exactly: true,
            kexecs: Some(HOPS),
        },
        cost: 75,
        ..systemd(
            "systemd-stores",
            "a systemd that keeps descriptor stores, its sessions for services and one of an \
             ordinary user go through updates with those of the agent",
        )
    }
}

/// As that, from mainline's kernel to ours and back.
fn systemd_stores_c() -> Scenario {
    const HOPS: u32 = 2;
    let ours = systemd_stores();
    Scenario {
        name: "systemd-stores-c".to_owned(),
        args: vec!["part:stores".to_owned(), format!("hops:{HOPS}")],
        first: "c",
        next: vec!["rust", "c"],
        expect: Expect {
            cases: STORES_TWO_HOPS.len(),
            named: STORES_TWO_HOPS,
            kexecs: Some(HOPS),
            ..ours.expect.clone()
        },
        when: When::All,
        ..ours
    }
}

/// `kexecs` updates in a row, between two kernels in turn.
fn chain(name: &str, kexecs: u32) -> Scenario {
    Scenario {
        next: vec!["rust-next", "rust"],
        args: vec![format!("kexecs:{kexecs}")],
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
        first: "debug",
        when: When::All,
        timeout: BASE_TIMEOUT * 6,
        console: Rules {
            // Mainline's handler of memfds lets vmalloc() tell of its failure, with a trace
            // and the registers of the call. A fault of ours begins with other words.
            must: &["vmalloc error: .*vm_struct allocation failed"],
            must_not: &[],
            allowed: &["Call Trace:$", "RIP: 0033:"],
        },
        ..scenario(
            "debug-failing",
            "failing",
            "each allocation of a call fails in turn, and nothing of the call is left",
        )
        .cases(7)
    });
    all.extend(checked::CHECKED.iter().map(|kernel| accounts(kernel)));
    all
}

/// Who is charged for memory. Kernels with checkers have memory cgroups.
fn accounts(kernel: &'static str) -> Scenario {
    let scenario = Scenario {
        expect: Expect {
            cases: ACCOUNTS.len(),
            named: ACCOUNTS,
            exactly: true,
            kexecs: Some(2),
        },
        memory: 1024,
        cost: 60,
        ..scenario(
            "accounts",
            "accounts",
            "who holds it is charged for it, a full memory cgroup hurts itself alone, and what is \
             carried on is charged to nobody",
        )
        .kexec(kernel, kernel)
    };
    checked::run(&scenario, kernel)
}

/// Those without a checker.
fn plain(kexecs: u32) -> Vec<Scenario> {
    vec![
        Scenario {
            needs: &[Artifact::Selftests],
            memory: 3072,
            timeout: BASE_TIMEOUT * 4,
            expect: Expect {
                // 15 of `liveupdate`, itself, four over a kexec, the one in the kernel.
                cases: 21,
                named: &[
                    "liveupdate",
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
            ..scenario(
                "selftests",
                "selftests",
                "the kernel tree's own tests pass, its programs and its in-kernel test of shared \
                 (FLB) objects",
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
            ..scenario(
                "handover-c-to-rust",
                "handover",
                "mainline's C kernel hands over to ours",
            )
            .kexec("c", "rust")
        },
        Scenario {
            expect: Expect {
                cases: 1,
                named: &["file-of-the-device"],
                exactly: false,
                kexecs: Some(1),
            },
            ..scenario(
                "handover-rust-to-c",
                "handover",
                "ours hands over to mainline's C kernel, files of the device too",
            )
            .kexec("rust", "c")
        },
        conformance("rust", "rust", "rust-next", 187),
        conformance("c", "c", "c", 66),
        scenario(
            "contract",
            "contract",
            "vetoes and missing dependencies undo all; a chain goes over a kexec in order",
        )
        .kexec("rust", "rust-next")
        .cases(9),
        Scenario {
            next: vec!["rust-next", "rust"],
            expect: Expect {
                cases: 8,
                named: &[],
                exactly: false,
                kexecs: Some(3),
            },
            ..scenario(
                "unclaimed",
                "unclaimed",
                "a session that nobody claims survives two more kernels, whole",
            )
        },
        Scenario {
            needs: &[Artifact::Clients],
            ..scenario(
                "rfc-client-c",
                "rfc-client",
                "a client in C that knows only the proposal does the whole cycle",
            )
            .kexec("rust", "rust-next")
            .cases(24)
        },
        scenes("rust", "rust", "rust-next", 84),
        scenes("c", "c", "c", 77),
        chain("chain", kexecs),
        Scenario {
            when: When::All,
            ..chain("chain-long", LONG_CHAIN)
        },
        Scenario {
            next: vec!["rust"],
            args: vec!["kind:all".to_owned()],
            cmdline: vec!["liveupdate=off"],
            // Less memory to fill when it looks whether anything was freed.
            memory: 512,
            timeout: Duration::from_secs(900),
            cost: 291,
            expect: Expect {
                // Each kind, and that those which are refused veto a reboot.
                cases: 81,
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
        Scenario {
            expect: Expect {
                cases: HOSTILE_CLIENT.len(),
                named: HOSTILE_CLIENT,
                exactly: true,
                kexecs: Some(1),
            },
            memory: 3072,
            // A call of the user's never ends: the reboot waits that long for it.
            cmdline: vec!["liveupdate_patience=10"],
            timeout: BASE_TIMEOUT * 3,
            when: When::All,
            ..scenario(
                "hostile-client",
                "hostile-client",
                "a user's program tries all at once; a guest's session goes through an update \
                 undisturbed",
            )
            .kexec("rust", "rust-next")
        },
        memory(
            "memory-8g",
            8192,
            1024,
            "a file of 1 GiB above the first 4 GiB of a machine",
        ),
        memory(
            "memory-800m",
            800,
            192,
            "a file of a quarter of a small machine's memory",
        ),
        Scenario {
            initrd: 300,
            ..memory(
                "memory-initrd",
                1024,
                192,
                "a machine of 1 GiB with an initrd of 300 MiB",
            )
        },
        systemd(
            "systemd",
            "the files of dist/ under a real systemd: nothing is lost, whatever ends the agent",
        ),
        systemd_many(),
        systemd_stores(),
        systemd_stores_c(),
        bench("rust", OF_THE_GATE, Clock::Instructions),
        bench("c", OF_THE_GATE, Clock::Instructions),
        Scenario {
            ..scenario(
                "demo",
                "demo",
                "a service keeps its memory across a kernel update",
            )
            .kexec("rust", "rust-next")
        },
    ]
}

/// A file of `file` MiB goes over a kexec of a machine that has `memory` MiB.
fn memory(name: &str, memory: u32, file: u32, proves: &'static str) -> Scenario {
    Scenario {
        memory,
        args: vec![format!("mib:{file}")],
        expect: Expect {
            cases: 2,
            named: &["comes-back"],
            exactly: false,
            kexecs: Some(1),
        },
        when: When::All,
        ..scenario(name, "memory", proves).kexec("rust", "rust-next")
    }
}

/// A measurement of a kernel under a load: of instructions, or of time.
#[must_use]
pub fn bench(variant: &'static str, load: &'static Load, clock: Clock) -> Scenario {
    let (kind, when, mut args) = match clock {
        // The gate has kernels of tests only.
        Clock::Instructions if is_of_the_gate(variant, load) => ("count", When::Always, vec![]),
        Clock::Instructions => ("count", When::Asked, vec![]),
        Clock::Host => ("time", When::Asked, vec![format!("warm:{WARM}")]),
    };
    args.extend(load.args.iter().map(|&arg| arg.to_owned()));
    Scenario {
        args,
        // A line on an emulated serial port costs much; what is measured is the
        // orchestrator. The timer of the local interrupt controller does not pass the
        // kernel's test here, which takes most of the machine's time.
        cmdline: vec!["loglevel=4", "norandmaps", "nolapic_timer"],
        memory: 2048,
        timeout: Duration::from_secs(600),
        clock,
        load: Some(load),
        expect: Expect {
            cases: 0,
            named: &[],
            exactly: false,
            kexecs: Some(1),
        },
        when,
        ..scenario(
            &format!("{kind}-{variant}-{}", load.name),
            load.guest,
            "calls cost no more than they did",
        )
        .kexec(variant, variant)
    }
}

/// Sessions that go before those that are measured in real time.
const WARM: u64 = 64;

fn is_of_the_gate(variant: &str, load: &Load) -> bool {
    let setup = Variant::find(variant).map(|variant| variant.setup);
    load == OF_THE_GATE && matches!(setup, Ok(Setup::Test))
}

/// Looks a scenario up, those of the bench included.
///
/// # Errors
/// There is none of that name; the message lists them.
pub fn find(name: &str, kexecs: u32) -> Result<Scenario> {
    let mut known = all(kexecs);
    for variant in ["bench-c", "bench-rust"] {
        for load in LOADS {
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

    #[test]
    fn every_scenario_can_be_run() {
        for scenario in all(KEXECS) {
            assert!(find(&scenario.name, KEXECS).is_ok());
            assert!(
                scenario.expect.cases > 0 || scenario.load.is_some(),
                "{} could pass without a case",
                scenario.name
            );
            for variant in scenario.variants() {
                Variant::find(variant).unwrap();
            }
        }
    }

    #[test]
    fn machines_that_count_have_one_processor() {
        let counted = bench("bench-c", OF_THE_GATE, Clock::Instructions);
        assert_eq!(
            (counted.name.as_str(), counted.when),
            ("count-bench-c-100x1", When::Asked)
        );
        let of_the_gate = find("count-rust-100x1", KEXECS).unwrap();
        assert_eq!(of_the_gate.clock, Clock::Instructions);
        assert_eq!(of_the_gate.when, When::Always);
        assert!(
            of_the_gate
                .kernel_cmdline()
                .contains("luo.args=sessions:100")
        );
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
        let cmdline = find("hostile", KEXECS).unwrap().kernel_cmdline();
        assert!(
            cmdline.contains("liveupdate=off") && !cmdline.contains("liveupdate=on"),
            "{cmdline}"
        );
        assert!(cmdline.contains("luo.scenario=hostile luo.next=rust luo.args=kind:all"));
    }
}
