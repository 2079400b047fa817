// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counts how often it was started, over any number of kernels.
use std::time::Duration;

use luo_client::agent::{self, Agent, Error, EventKind, Refusal, Workload};
use luo_client::{SessionName, memory::Regions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
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
    let starts = regions.get("starts").ok_or("no such region")?.map()?;
    starts.store(0, starts.load(0)? + 1)?;
    println!("start {}", starts.load(0)?);
    let session = workload.create_session(&name)?;
    regions.preserve_into(&session)?;
    loop {
        match turn(&mut workload) {
            // An answer that came late; a cancel is the next event.
            Ok(()) | Err(Error::Refused(Refusal::NotExpected { .. })) => {}
            // The agent is lost. The session is still there, and the agent starts again.
            Err(_) => drop(workload.reconnect(Duration::from_secs(60))?),
        }
    }
}

/// The next event, and the answer to it.
fn turn(workload: &mut Workload) -> agent::Result<()> {
    let event = workload.next_event()?;
    match event.kind {
        EventKind::Cancel => Ok(()),
        // Before an answer to `Freeze`, a program that serves others stops doing so.
        EventKind::Prepare | EventKind::Freeze => workload.ready(&event),
    }
}
