// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scenarios of the tests once more, in kernels whose checkers look on, and those that
//! are written down beside them.

use crate::run::scenario::{Scenario, When};

/// The kernels with checkers.
pub const CHECKED: &[&str] = &["debug", "kasan"];

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

/// MiB that they take for themselves.
const MEMORY: u32 = 1024;

/// Their kernels are big, and the next one has to fit into the scratch area.
pub(super) const SCRATCH: &str = "kho_scratch=64M,256M,64M";

/// Scenarios without a checker whose last run is written down by name as well, beside
/// those in machines of other sizes.
const BESIDE: &[&str] = &["hostile-client", "systemd-stores", "systemd-stores-c"];

/// Whether a scenario's last run is written down by its name.
#[must_use]
pub fn is_one(scenario: &Scenario) -> bool {
    let of_size = scenario.name.starts_with("memory-");
    let is_beside = BESIDE.contains(&scenario.name.as_str());
    of_size || is_beside || CHECKED.contains(&scenario.first)
}

/// Those of `plain` that run under checkers, in each of their kernels.
#[must_use]
pub fn scenarios(plain: &[Scenario]) -> Vec<Scenario> {
    let wanted = |scenario: &&Scenario| UNDER_CHECKERS.contains(&scenario.name.as_str());
    let chosen: Vec<_> = plain.iter().filter(wanted).collect();
    let under = |kernel: &&'static str| {
        let run = chosen.iter().map(|scenario| run(scenario, kernel));
        run.collect::<Vec<_>>()
    };
    CHECKED.iter().flat_map(under).collect()
}

/// A scenario in such a kernel.
fn run(scenario: &Scenario, kernel: &'static str) -> Scenario {
    let timeout = scenario.timeout * SLOWER;
    let mut args = scenario.args.clone();
    args.push(format!("timeout:{}", timeout.as_secs()));
    args.push(format!("slower:{SLOWER}"));
    let mut cmdline = scenario.cmdline.clone();
    cmdline.push(SCRATCH);
    Scenario {
        name: format!("{kernel}-{}", scenario.name),
        first: kernel,
        // The same again: another one would take as long to compile.
        next: scenario.next.first().map(|_| kernel).into_iter().collect(),
        args,
        memory: scenario.memory + MEMORY,
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
    fn each_is_there_under_each_checker() {
        let all = scenarios::all(scenarios::KEXECS);
        for kernel in CHECKED {
            for name in UNDER_CHECKERS {
                let name = format!("{kernel}-{name}");
                let scenario = all.iter().find(|scenario| scenario.name == name);
                let scenario = scenario.unwrap_or_else(|| panic!("{name}"));
                assert_eq!(scenario.when, When::All);
                assert_eq!(scenario.variants(), [*kernel]);
                assert!(scenario.kernel_cmdline().contains(SCRATCH));
            }
        }
    }
}
