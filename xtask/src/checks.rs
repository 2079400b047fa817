// SPDX-License-Identifier: MIT OR Apache-2.0
//! The checks that need no virtual machine: format, lints, documentation, dependencies,
//! cargo's tests.
//!
//! Lints and documentation come one after the other: both take what `cargo check` makes of
//! the dependencies, which is compiled once. Tests and documentation tests share their
//! flags and their features, so that the second compiles nothing anew.

mod cargo;
mod cargo_tests;
mod dependencies;
mod takes;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use luo_lab_protocol::Outcome;
use walkdir::WalkDir;

pub(crate) use self::cargo::cargo;
use crate::show;
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
    /// `cargo doc`, warnings being errors.
    Documentation,
    /// `cargo deny check`.
    Dependencies,
    /// `cargo nextest run` where it is installed, else `cargo test`.
    Tests,
}

impl Check {
    /// All of them, cheapest first.
    pub(crate) const ALL: [Self; 6] = [
        Self::Format,
        Self::KernelFormat,
        Self::Dependencies,
        Self::Lints,
        Self::Documentation,
        Self::Tests,
    ];

    /// The name in commands and reports.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::KernelFormat => "kernel-format",
            Self::Lints => "clippy",
            Self::Documentation => "cargo-doc",
            Self::Dependencies => "cargo-deny",
            Self::Tests => "cargo-test",
        }
    }

    /// Runs it; with `all`, what it takes is compiled, however long that takes.
    ///
    /// # Errors
    /// A tool cannot be started, or a signal arrives. A check that fails is no
    /// error but a failure in the tally.
    pub(crate) fn run(self, cache: &Cache, repo: &Path, all: bool) -> Result<Tally> {
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
            Self::Documentation => {
                let mut command = cargo(repo, &["doc", "--workspace", "--no-deps"]);
                command.env("RUSTDOCFLAGS", "-D warnings");
                tally.add(self.one(cache, command, "repair what rustdoc complains of")?);
            }
            Self::Dependencies => match dependencies::command(cache, repo, all)? {
                Ok(command) => tally.add(self.one(cache, command, "see deny.toml")?),
                Err(why) => {
                    let case = Case {
                        name: self.name().to_owned(),
                        outcome: Outcome::Skipped,
                        detail: why,
                    };
                    show::case(&case);
                    tally.add(case);
                }
            },
            Self::Tests => return cargo_tests::run(cache, self.name(), repo, all),
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
}

/// The name of [`simulated_selftests`].
pub(crate) const SIMULATED_SELFTESTS: &str = "simulated-selftests";

/// Runs the kernel tree's selftests, which are programs in `folder`, under the
/// simulator.
///
/// # Errors
/// As [`Check::run`].
pub(crate) fn simulated_selftests(cache: &Cache, repo: &Path, folder: &Path) -> Result<Tally> {
    // The whole workspace, so that dependencies have the features that they have in the
    // other tests, and are not compiled again.
    let arguments = [
        "test",
        "--workspace",
        "--features=luo-sim/kernel-selftests",
        "--test=selftests",
    ];
    let mut command = cargo(repo, &arguments);
    command.env("LUO_SELFTESTS", folder);
    cargo_tests::count(cache, SIMULATED_SELFTESTS, command)
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let files = WalkDir::new(dir).sort_by_file_name().into_iter().flatten();
    files
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
        .collect()
}
