// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scenarios of the tests once more, in kernels whose checkers look on, and those that
//! are written down beside them.

use crate::run::scenario::{Processors, Scenario, When};

/// A kernel with a checker.
#[derive(Clone, Copy, Debug)]
pub struct Checked {
    /// Its variant.
    pub kernel: &'static str,
    /// MiB that the checker takes for itself.
    memory: u32,
    /// The scratch area in which it can boot.
    scratch: &'static str,
    /// What its command line has besides.
    more: &'static [&'static str],
}

/// The kernels with checkers. They are big, and the next one has to fit into the scratch area;
/// so has the shadow that kasan keeps of all memory, an eighth of it.
pub const CHECKED: &[Checked] = &[
    Checked {
        kernel: "debug",
        memory: 1024,
        scratch: SCRATCH,
        more: &[],
    },
    Checked {
        kernel: "kasan",
        memory: 2560,
        scratch: "kho_scratch=64M,1G,64M",
        // While the kernel reads what the processor can do, it does not know of a fifth level for
        // a moment; to kasan the addresses of an interrupt that comes then are wild.
        more: &["no5lvl"],
    },
];

/// What runs in each.
const UNDER_CHECKERS: &[&str] = &[
    "conformance-rust",
    "hostile",
    "chain",
    "selftests",
    "scenes-rust",
    "hostile-client",
    "accounts",
];

/// How many kexecs in a row the chain does there: enough for a comparison of the memory
/// in use.
pub const KEXECS: u32 = 20;

/// By how much the checkers slow a machine down, at most.
const SLOWER: u32 = 6;

/// The scratch area of the kernel `debug`.
pub(super) const SCRATCH: &str = "kho_scratch=64M,256M,64M";

/// Scenarios without a checker whose last run is written down by name as well, beside
/// those in machines of other sizes.
const BESIDE: &[&str] = &[
    "chain-memfd",
    "gigantic",
    "gigantic-spared",
    "guests-kills-rust",
    "hostile-client",
    "systemd-many",
    "systemd-stores",
    "systemd-stores-c",
];

/// Whether a scenario's last run is written down by its name.
#[must_use]
pub fn is_one(scenario: &Scenario) -> bool {
    let of_size = scenario.name.starts_with("memory-");
    let is_beside = BESIDE.contains(&scenario.name.as_str());
    let is_checked = CHECKED.iter().any(|known| known.kernel == scenario.first);
    of_size || is_beside || is_checked
}

/// Those of `plain` that run under checkers, in each of their kernels.
#[must_use]
pub fn scenarios(plain: &[Scenario]) -> Vec<Scenario> {
    let wanted = |scenario: &&Scenario| UNDER_CHECKERS.contains(&scenario.name.as_str());
    let chosen: Vec<_> = plain.iter().filter(wanted).collect();
    let under = |checked: &Checked| {
        let run = chosen.iter().map(|scenario| run(scenario, checked));
        run.collect::<Vec<_>>()
    };
    CHECKED.iter().flat_map(under).collect()
}

/// A scenario in such a kernel.
fn run(scenario: &Scenario, checked: &Checked) -> Scenario {
    let kernel = checked.kernel;
    let timeout = scenario.timeout * SLOWER;
    let mut args = scenario.args.clone();
    args.push(format!("timeout:{}", timeout.as_secs()));
    args.push(format!("slower:{SLOWER}"));
    let mut cmdline = scenario.cmdline.clone();
    cmdline.push(checked.scratch);
    cmdline.extend(checked.more);
    Scenario {
        name: format!("{kernel}-{}", scenario.name),
        first: kernel,
        // The same again: another one would take as long to compile.
        next: scenario.next.first().map(|_| kernel).into_iter().collect(),
        args,
        memory: scenario.memory + checked.memory,
        // Their kernels are large programs, too.
        processors: Processors {
            code: Processors::TWO.code,
            ..scenario.processors
        },
        timeout,
        cmdline,
        when: When::All,
        cost: scenario.cost * SLOWER,
        ..scenario.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::scenarios;

    #[test]
    fn what_is_beside_the_checkers_is_there() {
        let all = scenarios::all(scenarios::KEXECS);
        for name in BESIDE {
            let scenario = all.iter().find(|scenario| scenario.name == *name);
            let scenario = scenario.unwrap_or_else(|| panic!("{name}"));
            assert_ne!(scenario.when, When::Asked);
            assert!(is_one(scenario));
        }
    }

    #[test]
    fn each_is_there_under_each_checker() {
        let all = scenarios::all(scenarios::KEXECS);
        for Checked {
            kernel, scratch, ..
        } in CHECKED
        {
            for name in UNDER_CHECKERS {
                let name = format!("{kernel}-{name}");
                let scenario = all.iter().find(|scenario| scenario.name == name);
                let scenario = scenario.unwrap_or_else(|| panic!("{name}"));
                assert_eq!(scenario.when, When::All);
                assert_eq!(scenario.variants(), [*kernel]);
                assert!(scenario.kernel_cmdline().contains(scratch));
            }
        }
    }
}
