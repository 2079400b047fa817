// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts how often it was started, over any number of kernels.
use std::{convert::Infallible, process::ExitCode, time::Duration};

use anyhow::Context;
use luo_client::{SessionName, agent::Agent, memory::Regions};

fn main() -> ExitCode {
    let Err(why) = count();
    eprintln!("Error: {why:#}");
    ExitCode::FAILURE
}

fn count() -> anyhow::Result<Infallible> {
    let name = SessionName::new("counter")?;
    let mut workload = Agent::connect()?.register("counter", &[])?;
    let mut regions = Regions::new();
    if workload.registered().claimable.contains(&name.to_string()) {
        regions = Regions::restore_from(&workload.claim(&name)?.session)?;
        workload.restored()?;
        workload.finish_session(&name)?;
    } else {
        regions.create("starts", 8)?;
    }
    let starts = regions.get("starts").context("no region `starts`")?.map()?;
    starts.store(0, starts.load(0)? + 1)?;
    println!("start {}", starts.load(0)?);
    regions.preserve_into(&workload.create_session(&name)?)?;
    // A program that serves others stops at a freeze and goes on at a cancel; `Err` vetoes.
    Err(workload
        .take_part(Duration::from_secs(60), |_event| Ok(()))
        .into())
}
