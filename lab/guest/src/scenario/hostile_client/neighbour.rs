// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program that behaves, of a user who stands in the same line as another with very many
//! threads.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use luo_sys::Device;

use super::Before;
use super::cast::{NEIGHBOUR, PATIENCE};
use super::evil::TRIED;
use crate::check::name;
use crate::port;
use crate::program::{READY, go_of, stay, wait_to_go_as};

/// Its part.
pub(super) const CALLS: &str = "neighbour";

/// Calls that are timed.
const TIMES: usize = 50;

/// How long half of its calls may take at most: as long as a few of the other's, and the rests of
/// the worker. Behind all of the other's threads each would take seconds.
const HALF: Duration = Duration::from_millis(300);

/// Makes calls, and tells how many microseconds half of them took at most.
pub(super) fn main() -> Result<()> {
    let device = Device::open()?;
    let _session = device.create_session(&name("neighbour"))?;
    println!("{READY}");
    wait_to_go_as(CALLS);
    let mut took = Vec::new();
    for _ in 0..TIMES {
        let begun = Instant::now();
        device.info()?;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    let half = took.get(TIMES / 2).context("no call")?;
    println!("{TRIED}{}", half.as_micros());
    stay()
}

impl Before<'_> {
    /// While another's threads call: it waits for one step of theirs each time, and not for all.
    pub(super) fn neighbour(&self) -> Result<()> {
        let mut program = self.groups.start(NEIGHBOUR, CALLS, &[])?;
        program.says(READY, 1, PATIENCE)?;
        let go = go_of(CALLS);
        std::fs::write(&go, "")?;
        let said = program.says(TRIED, 1, PATIENCE);
        std::fs::remove_file(go)?;
        program.kill()?;
        let said = said?;
        let half = said.strip_prefix(TRIED).context("what it said")?;
        let half = Duration::from_micros(half.trim().parse()?);
        let bound = self.timed.slowed(HALF);
        port::progress(format!(
            "half of the calls of one in the same line take {half:?} at most"
        ));
        ensure!(half <= bound, "{half:?} of {bound:?}");
        Ok(())
    }
}
