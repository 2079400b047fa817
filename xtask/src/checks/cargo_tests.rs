// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cargo's tests, by nextest where it is installed, and what came of them.
//!
//! Nextest runs each test in a process of its own, the tests of all programs side by side,
//! those that take long first (`.config/nextest.toml`). It runs no documentation tests;
//! they follow.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result};
use luo_lab::cache::Cache;
use luo_lab::fetch::program::{self, Unpacked};
use luo_lab::fetch::{prereq, qemu, varlinkctl};
use luo_lab::judge::Case;
use luo_lab::process;
use luo_lab::progress::Step;

use super::cargo::cargo;
use super::takes::{self, Test};
use crate::tally::Tally;

/// Runs all of them, those that take minutes only if `all` are wanted.
///
/// # Errors
/// As `Check::run`.
pub(super) fn run(cache: &Cache, name: &str, repo: &Path, all: bool) -> Result<Tally> {
    prereq::ensure_python(cache)?;
    if let Err(why) = prereq::ensure_go(cache) {
        eprintln!("{why:#}");
    }
    let qemu = qemu::find(cache)
        .inspect_err(|why| eprintln!("{name}: no QEMU for guests: {why:#}"))
        .ok();
    let unpacked = |what: Unpacked| {
        what.path(cache)
            .inspect_err(|why| eprintln!("{name}: no {}: {why:#}", what.program))
            .ok()
    };
    let etcd = unpacked(program::ETCD);
    // A hundred megabytes and more, for a test each.
    let promtool = all.then(|| unpacked(program::PROMTOOL)).flatten();
    if all && let Err(why) = prereq::ensure_browser(cache) {
        eprintln!("{why:#}");
    }
    let varlinkctl = varlinkctl::path(cache)
        .inspect_err(|why| eprintln!("{name}: no varlinkctl: {why:#}"))
        .ok();
    let paths = etcd.iter().chain(&varlinkctl).chain(&promtool);
    let paths = env::join_paths(paths.flat_map(env::split_paths))?;
    let with_all = |mut command: Command| {
        command.envs(qemu.iter().map(|program| ("LUO_QEMU", program)));
        if !paths.is_empty() {
            command.env("PATH", &paths);
        }
        command
    };
    let left_out = left_out(|what| match what {
        takes::QEMU => qemu.is_some(),
        takes::QEMU_AND_HUGE_PAGES => qemu.is_some() && takes::has_huge_pages(),
        takes::QEMU_AND_ROOT => qemu.is_some() && takes::is_there("root"),
        takes::ETCD => etcd.is_some(),
        takes::VARLINKCTL => varlinkctl.is_some(),
        takes::ETCD_AND_ALL => etcd.is_some() && all,
        takes::PROMTOOL => promtool.is_some() || takes::is_there(takes::PROMTOOL),
        other => takes::is_there(other),
    });
    for test in &left_out {
        eprintln!("{name}: skipped: {} takes {}", test.name, test.what);
    }
    if !has_nextest(repo) {
        let mut command = cargo(repo, &["test", "--workspace", "--no-fail-fast"]);
        command.args(["--", "--include-ignored"]);
        for test in &left_out {
            command.args(["--skip", test.name]);
        }
        return count(cache, name, with_all(command));
    }
    let arguments = ["nextest", "run", "--workspace", "--profile", "gate"];
    let mut command = cargo(repo, &arguments);
    command.args(["--run-ignored", "all", "--filterset", &all_but(&left_out)]);
    // Every third test mostly waits: for an agent, a deadline, a jump.
    let processors = thread::available_parallelism().map_or(1, usize::from);
    command.args(["--test-threads", &(2 * processors).to_string()]);
    let mut tally = count(cache, name, with_all(command))?;
    let arguments = ["test", "--workspace", "--doc", "--no-fail-fast"];
    let name = format!("{name}-doc");
    tally.merge(count(cache, &name, cargo(repo, &arguments))?);
    Ok(tally)
}

/// The tests that this machine lacks something for.
fn left_out(is_there: impl Fn(&str) -> bool) -> Vec<&'static Test> {
    let all = takes::TESTS.iter();
    all.filter(|test| !is_there(test.what)).collect()
}

/// All tests but these, in nextest's words. It counts those that are left out as skipped.
fn all_but(left_out: &[&Test]) -> String {
    let those = left_out
        .iter()
        .map(|test| format!(" - test({})", test.name));
    format!("all(){}", those.collect::<String>())
}

fn has_nextest(repo: &Path) -> bool {
    let mut command = cargo(repo, &["nextest", "--version"]);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Runs a command that runs tests, and counts what it says.
///
/// # Errors
/// As `Check::run`.
pub(super) fn count(cache: &Cache, name: &str, mut command: Command) -> Result<Tally> {
    let mut step = Step::new(name);
    let mut counter = Counter::default();
    let log = cache.log(name);
    let (ok, tail) = process::to_log(&mut command, &log, |line| {
        step.tick();
        if let Some(line) = line {
            counter.read(line);
        }
    })?;
    let mut tally = counter.tally();
    let trouble = if !ok && tally.failures.is_empty() {
        Some("it did not build or crashed")
    } else if ok && tally.passed + tally.skipped == 0 && tally.failures.is_empty() {
        Some("it ran no test, or its words are not understood")
    } else {
        None
    };
    if let Some(trouble) = trouble {
        let detail = format!(
            "{trouble}; {} has it all:\n    {}",
            log.display(),
            tail.join("\n    ")
        );
        tally.failures.push(Case::failed(name, detail));
    }
    if !tally.failures.is_empty() {
        // The next run writes over the log.
        let kept = cache.log(&format!("{name}-failed"));
        std::fs::copy(&log, &kept).with_context(|| format!("keeping {}", log.display()))?;
        for failure in &mut tally.failures {
            if failure.detail.is_empty() {
                failure.detail = format!("see {}", kept.display());
            }
        }
    }
    step.done_with(&tally.summary());
    Ok(tally)
}

/// Counts what `cargo test` and `cargo nextest run` say.
#[derive(Default)]
struct Counter {
    passed: u64,
    skipped: u64,
    failed: u64,
    /// The names of those that failed, each once.
    names: Vec<String>,
    /// The program that `cargo test` runs.
    running: String,
    /// Whether nextest speaks. It shows what a failed test printed, which has a result
    /// line of its own in it that must not count again.
    nextest: bool,
}

impl Counter {
    fn read(&mut self, line: &str) {
        let line = line.trim();
        self.nextest |= line.starts_with("Starting ") && line.contains(" tests across ");
        if self.nextest {
            self.read_of_nextest(line);
        } else if let Some(program) = line
            .strip_prefix("Running ")
            .or_else(|| line.strip_prefix("Doc-tests "))
        {
            program
                .split(" (")
                .next()
                .unwrap_or(program)
                .clone_into(&mut self.running);
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.passed += figure(result, "passed");
            self.skipped += figure(result, "ignored") + figure(result, "filtered out");
            self.failed += figure(result, "failed");
        } else if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.name(format!("{}::{name}", self.running));
        } else {
            self.read_of_nextest(line);
        }
    }

    fn read_of_nextest(&mut self, line: &str) {
        if let Some((_, result)) = summary(line) {
            self.passed += figure(result, "passed");
            self.skipped += figure(result, "skipped");
            self.failed += BAD_ENDS
                .map(|word| figure(result, word))
                .iter()
                .sum::<u64>();
        } else if let Some(name) = bad_end(line) {
            self.name(name.replacen(' ', "::", 1));
        }
    }

    fn name(&mut self, name: String) {
        if !self.names.contains(&name) {
            self.names.push(name);
        }
    }

    fn tally(self) -> Tally {
        let named = self.names.into_iter();
        let mut failures: Vec<_> = named
            .map(|name| Case::failed(format!("cargo-test::{name}"), ""))
            .collect();
        // A test that prints may break its own line; the sum tells.
        while (failures.len() as u64) < self.failed {
            failures.push(Case::failed("cargo-test::unnamed", ""));
        }
        Tally {
            passed: self.passed,
            skipped: self.skipped,
            failures,
        }
    }
}

/// How nextest says in its last line that tests did not pass. One that was not begun
/// because of another one's failure is not among them.
const BAD_ENDS: [&str; 3] = ["failed", "exec failed", "timed out"];

/// The words of nextest's last line, `Summary [   0.1s] 3 tests run: 2 passed, …`, before
/// and after the colon.
fn summary(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("Summary [")?.split_once(" run: ")
}

/// The test that nextest says did not pass: `FAIL [   0.1s] (1/2) package::program test`,
/// with another word if it ended by a signal or took too long.
fn bad_end(line: &str) -> Option<&str> {
    let (word, rest) = line.split_once(" [")?;
    // Of one that leaves a process behind besides it says `FAIL + LEAK`.
    let word = word.split(" + ").next().unwrap_or(word);
    let bad = ["FAIL", "TIMEOUT", "LEAK-FAIL", "XFAIL", "ABORT"].contains(&word);
    if !bad && !word.starts_with("SIG") {
        return None;
    }
    let (_, name) = rest.split_once("s] ")?;
    Some(
        match name
            .strip_prefix('(')
            .and_then(|name| name.split_once(") "))
        {
            Some((_, name)) => name,
            None => name,
        },
    )
}

/// The number before `word` in `ok. 3 passed; 0 failed; …` or `3 passed (1 slow), 1 failed`.
fn figure(result: &str, word: &str) -> u64 {
    let parts = result.split([';', '.', ',', '(']);
    let counts = parts.filter_map(|part| part.trim().strip_suffix(word));
    counts
        .filter_map(|number| number.trim().parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(text: &str) -> Tally {
        let mut counter = Counter::default();
        text.lines().for_each(|line| counter.read(line));
        counter.tally()
    }

    fn failures(tally: &Tally) -> Vec<&str> {
        let failures = tally.failures.iter();
        failures.map(|case| case.name.as_str()).collect()
    }

    #[test]
    fn results_add_up_over_binaries() {
        let tally = tally(
            "     Running unittests src/lib.rs (target/debug/deps/x)\n\
             test a::b ... ok\n\
             test a::c ... FAILED\n\
             test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
             \n   Doc-tests luo_abi\n\
             test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s\n",
        );
        assert_eq!(tally.summary(), "7 passed, 1 failed, 2 skipped");
        let expected = ["cargo-test::unittests src/lib.rs::a::c"];
        assert_eq!(failures(&tally), expected);
        assert!(!tally.is_good());
    }

    #[test]
    fn what_this_machine_lacks_is_left_out_and_counted() {
        let left_out = left_out(|what| what != "promtool");
        assert_eq!(
            all_but(&left_out),
            "all() - test(promtool_agrees_with_the_alerts)"
        );
        assert_eq!(all_but(&[]), "all()");
        let tally = tally(
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.01s\n",
        );
        assert_eq!(tally.summary(), "2 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn results_of_nextest_are_read_once() {
        let tally = tally(
            "    Starting 7 tests across 2 binaries (2 tests skipped)\n\
             \x20       PASS [   0.003s] (1/7) a tests::b\n\
             \x20       FAIL [   1.009s] (2/7) a::bin/a tests::c\n\
             \x20 stdout ───\n\
             \x20   test tests::c ... FAILED\n\
             \x20   test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 6 filtered out; finished in 1.28s\n\
             \x20    SIGABRT [   0.100s] (3/7) a d::e\n\
             \x20    TIMEOUT [  60.009s] (4/7) a f\n\
             \x20 FAIL + LEAK [   2.009s] (5/7) a g\n\
             ────────────\n\
             \x20    Summary [ 849.543s] 7 tests run: 3 passed (1 slow), 3 failed (1 due to being leaky), 1 timed out, 2 skipped\n\
             \x20       FAIL [   1.009s] (2/7) a::bin/a tests::c\n\
             \x20    SIGABRT [   0.100s] (3/7) a d::e\n\
             \x20    TIMEOUT [  60.009s] (4/7) a f\n\
             error: test run failed\n",
        );
        assert_eq!(tally.summary(), "3 passed, 4 failed, 2 skipped");
        let expected = [
            "cargo-test::a::bin/a::tests::c",
            "cargo-test::a::d::e",
            "cargo-test::a::f",
            "cargo-test::a::g",
        ];
        assert_eq!(failures(&tally), expected);
    }

    #[test]
    fn what_all_pass_is_good() {
        let text = " Summary [   0.043s] 1 test run: 1 passed, 0 skipped\n";
        assert!(tally(text).is_good());
        assert!(!tally("nothing is said\n").is_good());
    }

    #[test]
    fn a_failure_without_a_name_counts() {
        let tally = tally(" Summary [   0.043s] 2/3 tests run: 1 passed, 1 failed, 0 skipped\n");
        assert_eq!(failures(&tally), ["cargo-test::unnamed"]);
    }
}
