// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts how often it was started, over any number of kernels.
use std::{convert::Infallible, process::ExitCode, time::Duration};

use anyhow::Context;
use luo_client::agent::{Agent, Workload};
use luo_client::{SessionName, memory::Regions};

/// How long luod may take to be there again.
const WITHIN: Duration = Duration::from_secs(60);

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
        // What was taken back is here alone, so luod may be started again in each of these, and
        // the kernel may hang: then it is tried again, for as long as that takes.
        let claim = workload.surely(WITHIN, |workload| workload.claim(&name))?;
        regions = Regions::restore_from(&claim.session)?;
        workload.surely(WITHIN, Workload::restored)?;
        workload.surely(WITHIN, |workload| workload.finish_session(&name))?;
    } else {
        regions.create("starts", 8)?;
    }
    let starts = regions.get("starts").context("no region `starts`")?.map()?;
    starts.store(0, starts.load(0)? + 1)?;
    println!("start {}", starts.load(0)?);
    let session = workload.surely(WITHIN, |workload| workload.create_session(&name))?;
    regions.preserve_into(&session)?;
    // A program that serves others stops at a freeze and goes on at a cancel; `Err` vetoes.
    Err(workload.take_part(WITHIN, |_event| Ok(())).into())
}
