// SPDX-License-Identifier: MIT OR Apache-2.0
//! The parts of `cargo xtask test --all`, by their names in docs/verification.md.

use luo_lab::run::scenario::When;
use luo_lab::run::scenarios;

use super::long;
use super::sum::Parts;
use crate::checks::{self, Check};
use crate::fuzz;

/// All of them.
pub(super) fn all() -> Parts {
    let scenarios = scenarios::all(scenarios::KEXECS);
    let named = |when: When| {
        let those = scenarios
            .iter()
            .filter(move |scenario| scenario.when == when);
        those.map(|scenario| scenario.name.clone())
    };
    let checks = Check::ALL.into_iter().map(Check::name);
    let checks = checks.chain([checks::SIMULATED_SELFTESTS]);
    let long = long::names().into_iter().map(str::to_owned);
    Parts {
        of_the_gate: named(When::Always)
            .chain(checks.map(str::to_owned))
            .collect(),
        of_all: named(When::All).chain(fuzz::names()).chain(long).collect(),
    }
}
