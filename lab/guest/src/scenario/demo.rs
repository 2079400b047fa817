// SPDX-License-Identifier: MIT OR Apache-2.0
//! The demonstration in a real machine: a key-value store is a workload of the agent,
//! and `luoctl update` takes it into the next kernel. What the store does is in
//! `luo_demo`.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use luo_demo::workload::ARGUMENT;
use luo_lab_protocol::Outcome;
use luo_scenes::stage::Stage;
use luo_varlink::paths;

use crate::init::Guest;
use crate::{kmsg, port};

use super::scenes;

/// The agent's files, in memory.
const FOLDER: &str = "/tmp/demo";

/// Serves, updates, and serves on.
pub(crate) fn run(guest: &Guest) -> Result<()> {
    if guest.boot > 0 {
        port::mark("init_started");
    }
    let stage = scenes::stage_in(guest, Path::new(FOLDER))?;
    stage.start_agent("")?;
    let mut store = Command::new("/proc/self/exe")
        .arg(ARGUMENT)
        .env(paths::RUNTIME_VARIABLE, stage.runtime())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("the store")?;
    let mut lines = BufReader::new(store.stdout.take().context("its output")?).lines();
    if guest.boot == 0 {
        // It serves from here on.
        let line = lines.next().context("the store ended")??;
        tell(&line)?;
        let rest = std::thread::spawn(move || forward(lines.map_while(Result::ok)));
        kmsg::console_shows_all()?;
        return update(&stage, &mut store, rest);
    }
    forward(lines.map_while(Result::ok))?;
    ensure!(store.wait()?.success(), "the store has failed");
    history(&stage)?;
    port::case("demo::luoctl-history", Outcome::Passed, "");
    Ok(())
}

/// An update. It does not come back if all goes well.
fn update(
    stage: &Stage,
    store: &mut Child,
    told: std::thread::JoinHandle<Result<()>>,
) -> Result<()> {
    let why = luoctl_update(stage);
    store.kill()?;
    let _ = told.join();
    why
}

/// `luoctl update`, with what it says. It does not come back if all goes well.
pub(super) fn luoctl_update(stage: &Stage) -> Result<()> {
    port::progress("luoctl update");
    let mut luoctl = stage
        .luoctl_with_target("update")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("luoctl")?;
    let out = luoctl.stdout.take().context("its output")?;
    for line in BufReader::new(out).lines() {
        let line = line?;
        if line.trim_end().ends_with("  jumping") {
            port::mark("reboot_called");
        }
        port::progress(line);
    }
    let mut why = String::new();
    if let Some(mut errors) = luoctl.stderr.take() {
        errors.read_to_string(&mut why)?;
    }
    if luoctl.wait()?.success() {
        // The machine is on its way; what the store says is not of interest any more.
        luo_scenes::stage::until("the jump", || Ok(false))?;
    }
    bail!("luoctl update: {why}")
}

/// What `luoctl` tells of the update.
pub(super) fn history(stage: &Stage) -> Result<()> {
    luo_scenes::stage::until("the end of the update", || Ok(!stage.history()?.is_empty()))?;
    let output = stage.luoctl("history").arg("last").output()?;
    ensure!(output.status.success(), "luoctl history: {}", output.status);
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        port::progress(line.to_owned());
    }
    Ok(())
}

fn forward(lines: impl Iterator<Item = String>) -> Result<()> {
    for line in lines {
        tell(&line)?;
    }
    Ok(())
}

/// Tells the host what the store says.
fn tell(line: &str) -> Result<()> {
    if let Some(rest) = line.strip_prefix("mark ") {
        let (name, _) = rest.split_once(' ').context("a mark without a time")?;
        port::mark(name);
    } else if let Some(name) = line.strip_prefix("ok      ") {
        port::case(name, Outcome::Passed, "");
    } else if let Some(name) = line.strip_prefix("FAILED  ") {
        port::case(name, Outcome::Failed, "see what it said after this");
    } else {
        port::progress(line);
    }
    Ok(())
}
