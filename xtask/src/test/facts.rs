// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is written down of each run: which commit, when, and on which machine.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use luo_lab::page::Section;
use luo_lab::process;

pub(super) fn git(repo: &Path, arguments: &[&str]) -> Result<String> {
    process::output(Command::new("git").arg("-C").arg(repo).args(arguments))
}

/// The commit of a checkout, and whether it has been changed.
pub(super) fn commit(repo: &Path) -> Result<String> {
    let commit = git(repo, &["rev-parse", "--short=12", "HEAD"])?;
    let without_page = format!(":!{}", Section::GATE.document());
    let changed = git(repo, &["status", "--porcelain", "--", ".", &without_page])?;
    let commit = commit.trim().to_owned();
    Ok(match changed.trim() {
        "" => commit,
        _ => commit + " with changes",
    })
}

/// Today.
pub(super) fn date() -> Result<String> {
    let date = process::output(Command::new("date").args(["-u", "+%F"]))?;
    Ok(date.trim().to_owned())
}

/// What this machine is, as far as it matters for times.
pub(super) fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let value = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let model = value("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let memory = value("/proc/meminfo", "MemTotal")
        .and_then(|text| text.strip_suffix(" kB")?.parse::<u64>().ok())
        .map_or(0, |kibibytes| kibibytes.div_ceil(1 << 20));
    format!("{processors} processors ({model}), {memory} GiB")
}
