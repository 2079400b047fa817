// SPDX-License-Identifier: MIT OR Apache-2.0
//! The whole suite on the simulator.

use std::io::Write as _;

use luo_conformance::{Report, Results, Verdict};
use luo_sim::{Program, Simulator};

/// Runs the suite, and prints each verdict.
#[track_caller]
fn run(title: &str, simulator: Simulator) -> Results {
    let outcome = simulator
        .each_boot(Program::new(env!("CARGO_BIN_EXE_luo-conformance")))
        .capture()
        .run()
        .unwrap();
    let output = outcome.output();
    let results = Results::of_output(&output);
    // Past the test harness, which shows only what a test that failed has printed; in
    // one piece, since another test may be writing.
    let mut text = String::new();
    for report in &results.reports {
        text += &format!("{title}: {report}\n");
    }
    text += &format!("{title}: {results}, in {} boots\n", outcome.boots.len());
    std::io::stdout().lock().write_all(text.as_bytes()).unwrap();
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
    results
}

#[test]
fn every_case_is_as_the_table_says() {
    let results = run("simulator", Simulator::new().test_driver());
    // One case is about a capability that an unprivileged user does not have, and one about a pipe
    // as large as only some privileges allow; others about huge pages, which few machines have to
    // spare, about faults, which some containers tell nobody of, about pipes of a kind that few
    // kernels have, about large folios, of which some machines make none, and about pages that a
    // driver for tests pins.
    let skipped = results.reasons_to_skip();
    let known = [
        "whoever runs this has no capability to lack",
        "whoever runs this may not have it",
        "this machine has no huge pages to spare",
        "control groups of huge pages are the machine's",
        "this machine tells nobody of such faults",
        "there are no such pipes here",
        "whether memory is joined is the machine's business here",
        "no driver pins pages here",
    ];
    let is_known = |why: &&str| known.iter().any(|known| why.starts_with(known));
    assert!(skipped.iter().all(is_known), "{skipped:?}");
    for one in &known[..2] {
        let times = skipped.iter().filter(|why| why.starts_with(one)).count();
        assert!(times <= 1, "{skipped:?}");
    }
}

/// As users run it. The cases that need the test driver are skipped; all others go
/// the way that calls go without it, which is a shorter one.
#[test]
fn without_the_test_driver_the_rest_is_the_same() {
    let results = run("simulator without test driver", Simulator::new());
    let skipped = results.reasons_to_skip();
    let known = [
        "there is no /dev/luo_",
        "whoever runs this",
        "this machine has no huge pages",
        "control groups of huge pages",
        "there are no such pipes here",
        "whether memory is joined",
        "no driver pins pages here",
    ];
    let is_known = |why: &&str| known.iter().any(|known| why.starts_with(known));
    assert!(skipped.iter().all(is_known), "{skipped:?}");
    let passed = |report: &&Report| report.verdict == Verdict::Passed;
    let passed = results.reports.iter().filter(passed).count();
    assert!(passed > skipped.len(), "{results}");
}
