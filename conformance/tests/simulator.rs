// SPDX-License-Identifier: MIT OR Apache-2.0
//! The whole suite on the simulator.

use std::io::Write as _;

use luo_conformance::{Report, Results};
use luo_sim::{Program, Simulator};

#[test]
fn every_case_is_as_the_table_says() {
    let outcome = Simulator::new()
        .test_driver()
        .each_boot(Program::new(env!("CARGO_BIN_EXE_luo-conformance")))
        .capture()
        .run()
        .unwrap();
    let output = outcome.output();
    let results = Results::of_output(&output);
    // Past the test harness, which shows only what a test that failed has printed.
    let mut to = std::io::stdout().lock();
    for report in &results.reports {
        writeln!(to, "{report}").unwrap();
    }
    writeln!(to, "simulator: {results}, in {} boots", outcome.boots.len()).unwrap();
    let complaints = results.complaints();
    let noise = output
        .lines()
        .filter(|line| line.parse::<Report>().is_err());
    assert!(
        complaints.is_empty() && outcome.success(),
        "{:?}\n{}\n{}",
        outcome.ending,
        complaints.join("\n"),
        noise.collect::<Vec<_>>().join("\n")
    );
}
