// SPDX-License-Identifier: MIT OR Apache-2.0
//! The simulator as a library.

mod built;
mod faults;
mod programs;

use luo_sim::{Outcome, Program, Simulator};

/// The test program in a scenario.
fn guest(arguments: &[&str]) -> Program {
    Program::new(built::program("luo-sim-guest")).args(arguments)
}

/// A simulation with the same scenario at each boot, of which there are some.
fn scenario(arguments: &[&str], boots: usize) -> Simulator {
    Simulator::new()
        .each_boot(guest(arguments))
        .at_most(boots)
        .capture()
        .trace()
}

/// Runs it; all must go well.
#[track_caller]
fn succeed(simulator: Simulator) -> Outcome {
    let outcome = simulator.run().unwrap();
    let trace: Vec<String> = outcome.trace.iter().map(ToString::to_string).collect();
    let tail = &trace[trace.len().saturating_sub(40)..];
    assert!(
        outcome.success(),
        "{:?}: {}\n{}",
        outcome.ending,
        outcome.output(),
        tail.join("\n")
    );
    outcome
}
