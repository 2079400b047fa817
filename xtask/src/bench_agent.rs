// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask bench-agent`: what the agent takes for a crowd of workloads, under the
//! simulator, and whether that is what is promised.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use luo_lab::bench::agent::{CLIENTS, Runs};
use luo_lab::lab::Lab;
use luo_lab::page::Section;
use luo_lab_protocol::Event;

use crate::{programs, show};

/// The programs it takes.
const PACKAGES: [&str; 3] = ["luo-sim", "luo-scenes", "luod"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often it is measured; the median is shown, and each run has to keep what is
    /// promised
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    repeats: u32,
    /// How many workloads take part, with a connection and a session each
    #[arg(long, default_value_t = CLIENTS)]
    clients: u64,
    /// Replace the table in docs/benchmarks.md
    #[arg(long)]
    write: bool,
}

pub(crate) fn run(lab: &Lab, args: &Args) -> Result<bool> {
    let programs = programs::build(&PACKAGES)?;
    let mut runs = Runs::default();
    for run in 1..=args.repeats {
        let (clients, repeats) = (args.clients, args.repeats);
        show::line(&format!("{clients} clients, run {run} of {repeats}"));
        for sample in once(&programs, clients)? {
            runs.add(&sample);
        }
    }
    let table = runs.table();
    show::line(&format!("\n{table}"));
    if args.write {
        Section::AGENT.write(&lab.repo, &section(args, &table))?;
        show::line("docs/benchmarks.md has the new table");
    }
    if args.clients > CLIENTS {
        show::line(&format!("what is promised is for {CLIENTS} clients"));
        return Ok(true);
    }
    let broken = runs.broken();
    for promise in &broken {
        show::line(&format!("BROKEN  {promise}"));
    }
    Ok(broken.is_empty())
}

fn section(args: &Args, table: &str) -> String {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "Made by `cargo xtask bench-agent --repeats {} --clients {} --write` on {} with\n\
         {processors} processors: medians of {} runs.\n\n{table}",
        args.repeats,
        args.clients,
        std::env::consts::ARCH,
        args.repeats
    )
}

/// A crowd, and an agent that is started for it.
fn once(programs: &Path, clients: u64) -> Result<Vec<Event>> {
    let folder = tempfile::tempdir()?;
    let (system, stage) = (folder.path().join("system"), folder.path().join("stage"));
    let simulator = programs.join("luo-sim");
    let made = Command::new(&simulator).arg("system").arg(&system).status();
    ensure!(
        made.context("luo-sim")?.success(),
        "luo-sim system has failed"
    );
    let mut child = Command::new(&simulator)
        .args(["run", "--"])
        .arg(programs.join("luo-scenes"))
        .arg("crowd")
        .arg(format!("--clients={clients}"))
        .arg("--luod")
        .arg(programs.join("luod"))
        .arg(&stage)
        .arg(&system)
        .stdout(Stdio::piped())
        .spawn()
        .context("luo-sim")?;
    let output = child.stdout.take().context("no output of luo-sim")?;
    let mut samples = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        match Event::from_line(&line) {
            Ok(sample) => samples.push(sample),
            Err(_) => show::line(&line),
        }
    }
    let status = child.wait()?;
    if !status.success() {
        let log = std::fs::read_to_string(stage.join("luod.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let end = lines.get(lines.len().saturating_sub(10)..);
        let end = end.unwrap_or_default().join("\n");
        bail!("the crowd has failed ({status}); the end of luod's log:\n{end}");
    }
    Ok(samples)
}
