// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzz targets: builds them, runs them, and says what was found.
//!
//! `fuzz/` has the targets and their seeds. What a run finds lies in the cache, under
//! `fuzz/corpus`, where the next one goes on; inputs that break something under
//! `fuzz/artifacts`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use luo_lab::cache::{Cache, Key};
use luo_lab::fetch::{prereq, toolchain};
use luo_lab::process;
use luo_lab::progress::{Step, Unit};

/// All targets, each a module of `fuzz/src`.
pub(crate) const TARGETS: [&str; 5] = [
    "ioctl_arguments",
    "handover_blocks",
    "notes",
    "call_traces",
    "guest_states",
];

const CARGO_FUZZ: &str = "0.13.2";

/// Seconds that one input may take.
const TIMEOUT: u32 = 10;
/// Megabytes that a target may have, those of the address sanitizer included.
const MEMORY: u32 = 2048;
/// Bytes of the longest input.
const LENGTH: u32 = 4096;
/// Inputs in a corpus before those go that add nothing.
const CORPUS: usize = 5000;

/// The targets of a checkout as programs.
#[derive(Debug)]
pub(crate) struct Fuzzer<'a> {
    cache: &'a Cache,
    repo: &'a Path,
    programs: PathBuf,
}

/// What a run has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Inputs that were run.
    pub(crate) runs: u64,
    /// Of those, in a second.
    pub(crate) per_second: u64,
    /// Places of the program that were reached.
    pub(crate) coverage: u64,
    /// Those, with how often and from where.
    pub(crate) features: u64,
    /// Inputs that are kept.
    pub(crate) corpus: u64,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            runs,
            per_second,
            coverage,
            features,
            corpus,
        } = self;
        write!(
            f,
            "{runs} runs, {per_second} a second, {coverage} places, {features} features, \
             {corpus} inputs"
        )
    }
}

/// An input that breaks something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What was said of it.
    pub(crate) what: String,
    /// The file with it, if one was written.
    pub(crate) input: Option<PathBuf>,
    /// Whether all of that has been read.
    complete: bool,
}

impl<'a> Fuzzer<'a> {
    /// Builds what is missing.
    ///
    /// # Errors
    /// A tool cannot be installed, or a target does not compile.
    pub(crate) fn build(cache: &'a Cache, repo: &'a Path) -> Result<Self> {
        prereq::ensure_fuzzing(cache)?;
        let tools = toolchain::cargo_tool(cache, "cargo-fuzz", "cargo-fuzz", CARGO_FUZZ)?;
        let rustc = process::output(Command::new("rustc").arg("--version"))?;
        // Cargo knows what is to be done anew; but only within one checkout.
        let key = Key::default().add("checkout", repo.as_os_str().as_encoded_bytes());
        let key = key.add("rustc", &rustc).short();
        let target = cache.path(format!("fuzz/target-{key}"));
        let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let mut command = Command::new(tools.join("cargo-fuzz"));
        command
            .args(["fuzz", "build", "--features", "libfuzzer"])
            .args(["--sanitizer", sanitizer(&triple)?])
            .args(["--target", &triple])
            .arg("--target-dir")
            .arg(&target)
            .arg("--fuzz-dir")
            .arg(repo.join("fuzz"))
            .current_dir(repo)
            .env("CARGO_TERM_COLOR", "never")
            // A stable compiler has the sanitizers, too, but does not say so.
            .env("RUSTC_BOOTSTRAP", "1");
        let mut step = Step::counting("build the fuzz targets", Unit::Things("crates"), None);
        process::cargo(&mut command, &cache.log("fuzz-build"), &mut step)?;
        step.done();
        Ok(Self {
            cache,
            repo,
            programs: target.join(triple).join("release"),
        })
    }

    fn command(&self, target: &str) -> Result<Command> {
        let artifacts = self.artifacts(target);
        fs::create_dir_all(&artifacts)?;
        let mut command = Command::new(self.programs.join(target));
        command
            .arg(format!("-timeout={TIMEOUT}"))
            .arg(format!("-rss_limit_mb={MEMORY}"))
            // A folder: the slash at its end says so.
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .env("ASAN_OPTIONS", "detect_odr_violation=0")
            .env("RUST_BACKTRACE", "1");
        Ok(command)
    }

    fn artifacts(&self, target: &str) -> PathBuf {
        self.cache.path(format!("fuzz/artifacts/{target}"))
    }

    /// The inputs of the repository.
    fn seeds(&self, target: &str) -> PathBuf {
        self.repo.join("fuzz/seeds").join(target)
    }

    /// Runs one input.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(crate) fn replay(&self, target: &str, input: &Path) -> Result<Result<(), Finding>> {
        fs::metadata(input).with_context(|| input.display().to_string())?;
        let mut command = self.command(target)?;
        command.arg(input).env("LUO_FUZZ_SHOW", "1");
        let title = format!("{target}: replay {}", input.display());
        let ran = self.watch(&mut command, target, &title)?;
        Ok(ran.map(drop))
    }

    /// Runs the seeds, then looks for more that long.
    ///
    /// # Errors
    /// The program cannot be started, or the cache not be written.
    pub(crate) fn run(&self, target: &str, seconds: u32) -> Result<Result<Figures, Finding>> {
        let corpus = self.cache.path(format!("fuzz/corpus/{target}"));
        fs::create_dir_all(&corpus)?;
        let mut replay = self.command(target)?;
        replay.arg("-runs=0").arg(self.seeds(target));
        let title = format!("fuzz-{target}: seeds");
        if let Err(finding) = self.watch(&mut replay, target, &title)? {
            return Ok(Err(finding));
        }
        self.tidy(target, &corpus)?;
        let mut command = self.command(target)?;
        command
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={LENGTH}"))
            .arg("-reload=0")
            // What is found goes into the first.
            .arg(&corpus)
            .arg(self.seeds(target));
        self.watch(&mut command, target, &format!("fuzz-{target}: {seconds} s"))
    }

    /// Leaves of a corpus that has become large what reaches something of its own.
    fn tidy(&self, target: &str, corpus: &Path) -> Result<()> {
        if fs::read_dir(corpus)?.count() <= CORPUS {
            return Ok(());
        }
        let parent = corpus.parent().unwrap_or(corpus);
        let small = tempfile::tempdir_in(parent)?;
        let mut merge = self.command(target)?;
        merge.arg("-merge=1").arg(small.path()).arg(corpus);
        // What breaks something is left out, and found again.
        let title = format!("fuzz-{target}: tidy up the corpus");
        if self.watch(&mut merge, target, &title)?.is_ok() {
            fs::remove_dir_all(corpus)?;
            fs::rename(small.keep(), corpus)?;
        }
        Ok(())
    }

    fn watch(
        &self,
        command: &mut Command,
        target: &str,
        title: &str,
    ) -> Result<Result<Figures, Finding>> {
        let mut step = Step::counting(title, Unit::Things("runs"), None);
        let mut figures = Figures::default();
        let mut finding = Finding::default();
        let log = self.cache.log(&format!("fuzz-{target}"));
        let (ok, tail) = process::to_log(command, &log, |line| match line {
            None => step.tick(),
            Some(line) => {
                if let Some(now) = parse(line) {
                    figures = now;
                    step.set(now.runs);
                }
                finding.look(line);
            }
        })?;
        if ok {
            step.done_with(&figures.to_string());
            return Ok(Ok(figures));
        }
        if finding.what.is_empty() {
            finding.what = tail.join("\n    ");
        }
        finding.what += &format!("\n    the whole output is in {}", log.display());
        Ok(Err(finding))
    }
}

impl Finding {
    /// Notes what a line says of it: the file, and the first complaint, to its end.
    fn look(&mut self, line: &str) {
        const MOST_LINES: usize = 8;
        if let Some((_, path)) = line.split_once("Test unit written to ") {
            self.input = Some(PathBuf::from(path.trim()));
        }
        let begins = self.what.is_empty()
            && ["panicked at", "ERROR: "]
                .iter()
                .any(|word| line.contains(word));
        let ends = line.starts_with("stack backtrace") || line.trim().is_empty();
        self.complete |= ends || self.what.lines().count() == MOST_LINES;
        if begins || !(self.what.is_empty() || self.complete) {
            let margin = if begins { "" } else { "\n    " };
            self.complete = false;
            self.what += margin;
            self.what += line.trim();
        }
    }

    /// What it is, and how to see it again.
    #[must_use]
    pub(crate) fn explain(&self, target: &str) -> String {
        match &self.input {
            Some(input) => format!(
                "{}\n    the input is {}\n    to see it again: \
                 cargo xtask fuzz {target} --replay {}",
                self.what,
                input.display(),
                input.display()
            ),
            None => self.what.clone(),
        }
    }
}

/// The address sanitizer if the compiler has it: rustup's do, some distributions' do
/// not.
fn sanitizer(triple: &str) -> Result<&'static str> {
    let sysroot = process::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let libraries = Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(triple)
        .join("lib");
    let files = fs::read_dir(libraries).into_iter().flatten().flatten();
    let mut names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    if names.any(|name| name.ends_with("_rt.asan.a")) {
        return Ok("address");
    }
    eprintln!("note: this compiler has no address sanitizer; the targets are built without");
    Ok("none")
}

/// The figures of a line such as
/// `#4096  pulse  cov: 70 ft: 90 corp: 3/12b lim: 29 exec/s: 16 rss: 30Mb`.
fn parse(line: &str) -> Option<Figures> {
    let runs = line.strip_prefix('#')?.split_whitespace().next()?;
    let after = |word: &str| {
        let (_, rest) = line.split_once(word)?;
        let number = rest.trim_start().split([' ', '/']).next()?;
        number.parse().ok()
    };
    Some(Figures {
        runs: runs.parse().ok()?,
        per_second: after("exec/s:").unwrap_or(0),
        coverage: after("cov:")?,
        features: after("ft:").unwrap_or(0),
        corpus: after("corp:").unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_libfuzzer_are_read() {
        let line =
            "#49201\tDONE   cov: 4364 ft: 12916 corp: 617/8848b lim: 29 exec/s: 1587 rss: 439Mb";
        let figures = Figures {
            runs: 49201,
            per_second: 1587,
            coverage: 4364,
            features: 12916,
            corpus: 617,
        };
        assert_eq!(parse(line), Some(figures));
        assert_eq!(parse("INFO: seed corpus: files: 3"), None);
        assert_eq!(parse("###### Recommended dictionary. ######"), None);
    }

    #[test]
    fn a_finding_names_its_input_and_how_to_see_it_again() {
        let mut finding = Finding::default();
        let lines = [
            "#100\tNEW    cov: 1 ft: 2 corp: 3/4b exec/s: 0 rss: 3Mb",
            "thread '<unnamed>' (7) panicked at fuzz/src/x.rs:1:2:",
            "assertion failed: a file is lost",
            "  left: 1",
            "stack backtrace:",
            "==7== ERROR: libFuzzer: deadly signal",
            "artifact_prefix='/c/a/'; Test unit written to /c/a/crash-1",
        ];
        for line in lines {
            finding.look(line);
        }
        let said = finding.explain("call_traces");
        assert!(said.contains("a file is lost\n    left: 1\n    the input is"));
        assert!(said.ends_with("cargo xtask fuzz call_traces --replay /c/a/crash-1"));
    }
}
