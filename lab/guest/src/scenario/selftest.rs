// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel tree's own tests: programs, and a test in the kernel.
//!
//! One kexec serves all: each program has sessions of its own, and a process that it
//! leaves behind holds them.

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
    let mut seen = 0;
    for test in report.lines().filter_map(Test::parse) {
        seen += 1;
        let detail = match test.outcome {
            Outcome::Failed => context(&report, test.line),
            _ => test.remark.to_owned(),
        };
        port::case(
            format!("selftests::liveupdate::{}", test.name),
            test.outcome,
            detail,
        );
    }
    SUITE.case("liveupdate", || {
        ensure!(output.status.success(), "{}", output.status);
        ensure!(seen > 0, "the report has no test: {report}");
        Ok(())
    });
    Ok(())
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

/// The diagnostics (`# ...`) right above a line: the reason of a failure.
fn context(report: &str, line: &str) -> String {
    let above: Vec<&str> = report.lines().take_while(|&other| other != line).collect();
    let mut reasons: Vec<&str> = above
        .into_iter()
        .rev()
        .take_while(|line| line.starts_with('#'))
        .collect();
    reasons.reverse();
    reasons.join("\n")
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

    #[test]
    fn prose_is_no_result() {
        assert!(Test::parse("ok then").is_none());
        assert!(Test::parse("# ok 1 x").is_none());
    }
}
