// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs over updates that luo-sim simulates.

use std::path::Path;

use luo_sim::{Program, Simulator};

/// What a program says that each of so many kernels starts.
pub(crate) fn simulate(program: Program, boots: usize) -> String {
    let outcome = Simulator::new()
        .each_boot(program)
        .at_most(boots)
        .capture()
        .run()
        .unwrap();
    let output = outcome.output();
    assert!(outcome.success(), "{:?}: {output}", outcome.ending);
    assert_eq!(outcome.boots.len(), boots);
    output
}

/// Takes the counting workload through two updates, with an agent.
#[track_caller]
pub(crate) fn counts(program: &Path) {
    assert!(program.exists(), "{} is not built", program.display());
    let guest = crate::guest();
    let program = program.to_str().unwrap();
    let output = simulate(Program::new(guest).args(["agent", "3", program]), 3);
    // Between the end of the agent and its own the simulator leaves a workload a moment
    // in which it may complain; a kernel does not.
    let starts: Vec<_> = output
        .lines()
        .filter(|line| line.starts_with("start"))
        .collect();
    assert_eq!(starts, ["start 1", "start 2", "start 3"], "{output}");
}
