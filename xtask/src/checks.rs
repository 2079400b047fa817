// SPDX-License-Identifier: MIT OR Apache-2.0
//! The checks that need no virtual machine: format, lints, cargo's tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use luo_lab_protocol::Outcome;
use walkdir::WalkDir;

use crate::tally::Tally;

use luo_lab::cache::Cache;
use luo_lab::judge::Case;
use luo_lab::process;
use luo_lab::progress::Step;

/// A check by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// `cargo fmt --check`.
    Format,
    /// `rustfmt --check` of the files that only the kernel compiles.
    KernelFormat,
    /// `cargo clippy`, warnings being errors.
    Lints,
    /// `cargo test`.
    Tests,
}

impl Check {
    /// All of them, cheapest first.
    pub(crate) const ALL: [Self; 4] = [Self::Format, Self::KernelFormat, Self::Lints, Self::Tests];

    /// The name in commands and reports.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::KernelFormat => "kernel-format",
            Self::Lints => "clippy",
            Self::Tests => "cargo-test",
        }
    }

    /// Runs it.
    ///
    /// # Errors
    /// A tool cannot be started, or a signal arrives. A check that fails is no
    /// error but a failure in the tally.
    pub(crate) fn run(self, cache: &Cache, repo: &Path) -> Result<Tally> {
        let mut tally = Tally::default();
        match self {
            Self::Format => {
                let command = cargo(repo, &["fmt", "--all", "--check", "--", "--color", "never"]);
                tally.add(self.one(cache, command, "run `cargo fmt --all`")?);
            }
            Self::KernelFormat => tally.add(self.kernel_format(cache, repo)?),
            Self::Lints => {
                let arguments = [
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--quiet",
                    "--",
                    "-D",
                    "warnings",
                ];
                tally.add(self.one(
                    cache,
                    cargo(repo, &arguments),
                    "repair what clippy complains of",
                )?);
            }
            Self::Tests => return self.tests(cache, repo),
        }
        Ok(tally)
    }

    fn kernel_format(self, cache: &Cache, repo: &Path) -> Result<Case> {
        let files = rust_files(&repo.join("kernel/overlay"));
        if files.is_empty() {
            let detail = "kernel/overlay has no Rust file".to_owned();
            return Ok(Case {
                name: self.name().to_owned(),
                outcome: Outcome::Skipped,
                detail,
            });
        }
        let mut command = Command::new("rustfmt");
        command
            .args(["--check", "--edition", "2021", "--color", "never"])
            .args(files)
            .current_dir(repo);
        self.one(
            cache,
            command,
            "run `rustfmt --edition 2021` on the files it names",
        )
    }

    fn one(self, cache: &Cache, mut command: Command, remedy: &str) -> Result<Case> {
        let mut step = Step::new(self.name());
        let (ok, tail) = process::to_log(&mut command, &cache.log(self.name()), |_| step.tick())?;
        step.done();
        let complaint = (!ok).then(|| format!("{remedy}:\n    {}", tail.join("\n    ")));
        Ok(Case::unless(self.name().to_owned(), complaint))
    }

    fn tests(self, cache: &Cache, repo: &Path) -> Result<Tally> {
        let command = cargo(repo, &["test", "--workspace", "--no-fail-fast"]);
        count(cache, self.name(), command)
    }
}

/// The name of [`simulated_selftests`].
pub(crate) const SIMULATED_SELFTESTS: &str = "simulated-selftests";

/// Runs the kernel tree's selftests, which are programs in `folder`, under the
/// simulator.
///
/// # Errors
/// As [`Check::run`].
pub(crate) fn simulated_selftests(cache: &Cache, repo: &Path, folder: &Path) -> Result<Tally> {
    let arguments = [
        "test",
        "--package=luo-sim",
        "--features=kernel-selftests",
        "--test=selftests",
    ];
    let mut command = cargo(repo, &arguments);
    command.env("LUO_SELFTESTS", folder);
    count(cache, SIMULATED_SELFTESTS, command)
}

/// Runs a `cargo test` and counts what it says.
fn count(cache: &Cache, name: &str, mut command: Command) -> Result<Tally> {
    let mut step = Step::new(name);
    let mut lines = Vec::new();
    let log = cache.log(name);
    let (ok, tail) = process::to_log(&mut command, &log, |line| {
        step.tick();
        lines.extend(line.map(str::to_owned));
    })?;
    let mut tally = count_tests(&lines);
    if !ok && tally.failures.is_empty() {
        let detail = format!(
            "it did not build or crashed; {} has it all:\n    {}",
            log.display(),
            tail.join("\n    ")
        );
        tally.failures.push(Case::failed(name, detail));
    }
    for failure in &mut tally.failures {
        if failure.detail.is_empty() {
            failure.detail = format!("see {}", log.display());
        }
    }
    step.done_with(&tally.summary());
    Ok(tally)
}

fn cargo(repo: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command
        .args(arguments)
        .current_dir(repo)
        .env("CARGO_TERM_COLOR", "never");
    command
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let files = WalkDir::new(dir).sort_by_file_name().into_iter().flatten();
    files
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
        .collect()
}

/// Adds up `test result:` lines and names what failed.
fn count_tests(lines: &[String]) -> Tally {
    let mut tally = Tally::default();
    let mut failed = 0;
    let mut running = String::new();
    for line in lines {
        let line = line.trim();
        if let Some(binary) = line
            .strip_prefix("Running ")
            .or_else(|| line.strip_prefix("Doc-tests "))
        {
            running = binary.split(" (").next().unwrap_or(binary).to_owned();
        } else if let Some(result) = line.strip_prefix("test result: ") {
            tally.passed += figure(result, "passed");
            tally.skipped += figure(result, "ignored");
            failed += figure(result, "failed");
        } else if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            tally
                .failures
                .push(Case::failed(format!("cargo-test::{running}::{name}"), ""));
        }
    }
    // A test that prints may break its own line; the sum tells.
    while (tally.failures.len() as u64) < failed {
        tally.failures.push(Case::failed("cargo-test::unnamed", ""));
    }
    tally
}

/// The number before `word` in `ok. 3 passed; 0 failed; …`.
fn figure(result: &str, word: &str) -> u64 {
    let parts = result
        .split([';', '.'])
        .filter_map(|part| part.trim().strip_suffix(word));
    parts
        .filter_map(|number| number.trim().parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_add_up_over_binaries() {
        let text = "     Running unittests src/lib.rs (target/debug/deps/x)\n\
                    test a::b ... ok\n\
                    test a::c ... FAILED\n\
                    test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
                    \n   Doc-tests luo_abi\n\
                    test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s\n";
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let tally = count_tests(&lines);
        assert_eq!(tally.summary(), "7 passed, 1 failed, 2 skipped");
        assert_eq!(
            tally.failures[0].name,
            "cargo-test::unittests src/lib.rs::a::c"
        );
        assert!(!tally.is_good());
    }
}
