// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel tree's own tests: programs, and tests in the kernel. Those of KUnit have run when
//! this begins.
//!
//! One kexec serves all: each program has sessions of its own, and a process that it
//! leaves behind holds them.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use luo_lab_protocol::{Outcome, SELFTEST_DIR};

use super::flb;
use crate::check::Suite;
use crate::init::Guest;
use crate::{kexec, kmsg, port};

const SUITE: Suite = Suite::new("selftests");

/// Those that span a kexec, in two stages.
const PROGRAMS: &[&str] = &[
    "luo_kexec_simple",
    "luo_multi_session",
    "luo_stress_files",
    "luo_stress_sessions",
];

/// What has come of KUnit's tests of handlers in Rust.
const KUNIT: &str = "/sys/kernel/debug/kunit/rust_liveupdate/results";

/// Runs what stays in one kernel, then the others over a kexec.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    kmsg::console_shows_all()?;
    if guest.boot > 0 {
        for name in PROGRAMS {
            SUITE.case(name, || stage(name, "2"));
        }
        SUITE.case("flb", flb::retrieve);
        return Ok(());
    }
    SUITE.case("kunit", kunit);
    liveupdate()?;
    let _session = flb::preserve()?;
    for name in PROGRAMS {
        stage(name, "1")?;
    }
    kexec::go(guest, |_, _| ())
}

fn stage(name: &str, stage: &str) -> Result<()> {
    let output = program(name, &["-s", stage])?;
    let report = String::from_utf8_lossy(&output.stdout);
    let status = output.status;
    ensure!(
        status.success(),
        "{name}, stage {stage}: {status}: {report}"
    );
    Ok(())
}

/// Runs `liveupdate`, whose report (TAP) becomes one case a test.
fn liveupdate() -> Result<()> {
    let output = program("liveupdate", &[])?;
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    let seen = tell(
        "liveupdate",
        report.lines().filter_map(Test::parse),
        &report,
    );
    SUITE.case("liveupdate", || {
        ensure!(output.status.success(), "{}", output.status);
        ensure!(seen > 0, "the report has no test: {report}");
        Ok(())
    });
    Ok(())
}

/// Each test of KUnit's suite is a case, and that all of it has passed.
fn kunit() -> Result<()> {
    let report = fs::read_to_string(KUNIT).context(KUNIT)?;
    // The tests are indented, the suite is not.
    let (tests, suite): (Vec<&str>, Vec<&str>) =
        report.lines().partition(|line| line.starts_with(' '));
    let tests = tests.into_iter().map(str::trim_start);
    let seen = tell("kunit", tests.filter_map(Test::parse), &report);
    ensure!(seen > 0, "the report has no test: {report}");
    let mut suite = suite.into_iter().filter_map(Test::parse);
    let passed = suite.all(|test| test.outcome == Outcome::Passed);
    ensure!(passed, "the suite has not passed: {report}");
    Ok(())
}

/// Reports tests as cases, and says how many they are.
fn tell<'a>(of: &str, tests: impl Iterator<Item = Test<'a>>, report: &str) -> usize {
    let told = tests.map(|test| {
        let detail = match test.outcome {
            Outcome::Failed => context(report, test.line),
            _ => test.remark.to_owned(),
        };
        let name = format!("selftests::{of}::{}", test.name);
        port::case(name, test.outcome, detail);
    });
    told.count()
}

fn program(name: &str, args: &[&str]) -> Result<Output> {
    if name.contains('/') {
        bail!("'{name}' is no program of {SELFTEST_DIR}");
    }
    let path = PathBuf::from(SELFTEST_DIR).join(name);
    let output = Command::new(&path).args(args).output();
    let output = output.with_context(|| format!("{}", path.display()))?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        println!("{name}: {line}");
    }
    Ok(output)
}

/// One result line of TAP: `ok 3 name` or `not ok 3 name # SKIP why`.
struct Test<'a> {
    line: &'a str,
    name: &'a str,
    outcome: Outcome,
    remark: &'a str,
}

impl<'a> Test<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (passed, rest) = match line.strip_prefix("not ok ") {
            Some(rest) => (false, rest),
            None => (true, line.strip_prefix("ok ")?),
        };
        let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        number.parse::<u32>().ok()?;
        let (name, remark) = rest.split_once('#').unwrap_or((rest, ""));
        let name = name.trim().trim_start_matches("- ");
        let remark = remark.trim();
        let outcome = match passed {
            _ if remark
                .get(..4)
                .is_some_and(|word| word.eq_ignore_ascii_case("skip")) =>
            {
                Outcome::Skipped
            }
            true => Outcome::Passed,
            false => Outcome::Failed,
        };
        let name = if name.is_empty() { number } else { name };
        Some(Self {
            line,
            name,
            outcome,
            remark,
        })
    }
}

/// What a report says between the result above a line and that line: the reason of a failure.
fn context(report: &str, line: &str) -> String {
    let lines = report.lines().map(str::trim_start);
    let above: Vec<&str> = lines.take_while(|&other| other != line).collect();
    let said = above.rsplit(|line| Test::parse(line).is_some()).next();
    said.unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "TAP version 13\n1..3\n# Starting 3 tests\n\
        #  RUN           global.basic\n#            OK  global.basic\nok 1 global.basic\n\
        # liveupdate.c:30:bad:Expected 1 == 2\nnot ok 2 global.bad\n\
        ok 3 - global.other # SKIP no hugetlb\n# Totals: pass:1\n";

    #[test]
    fn results_are_told_apart() {
        let tests: Vec<Test<'_>> = REPORT.lines().filter_map(Test::parse).collect();
        let seen: Vec<_> = tests.iter().map(|test| (test.name, test.outcome)).collect();
        assert_eq!(
            seen,
            [
                ("global.basic", Outcome::Passed),
                ("global.bad", Outcome::Failed),
                ("global.other", Outcome::Skipped),
            ]
        );
        assert_eq!(tests[2].remark, "SKIP no hugetlb");
        assert!(context(REPORT, tests[1].line).contains("Expected 1 == 2"));
    }

    /// What KUnit writes.
    const SUITE_REPORT: &str = "KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: a\n\
        \x20   1..2\n    ok 1 good\n    # bad: ASSERTION FAILED at a.rs:3\n\
        \x20   Expected 1 == 2 to be true, but is false\n    not ok 2 bad\n# a: pass:1 fail:1\n\
        not ok 1 a\n";

    #[test]
    fn results_of_a_suite_are_told_with_their_reasons() {
        let lines = SUITE_REPORT.lines().map(str::trim_start);
        let tests: Vec<Test<'_>> = lines.filter_map(Test::parse).collect();
        let names: Vec<_> = tests.iter().map(|test| test.name).collect();
        assert_eq!(names, ["good", "bad", "a"]);
        assert_eq!(tests[1].outcome, Outcome::Failed);
        let reason = context(SUITE_REPORT, tests[1].line);
        assert_eq!(reason.lines().count(), 2, "{reason}");
        assert!(reason.contains("Expected 1 == 2"));
    }

    #[test]
    fn prose_is_no_result() {
        assert!(Test::parse("ok then").is_none());
        assert!(Test::parse("# ok 1 x").is_none());
    }
}
