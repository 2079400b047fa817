// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waiting for what must come about.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// How long something may take that must happen: far longer than it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Looks again and again whether something has come about.
///
/// # Errors
/// If it does not, or cannot be seen.
pub(crate) fn until(what: &str, mut seen: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !seen()? {
        ensure!(begun.elapsed() < PATIENCE, "{what} does not come about");
        std::thread::yield_now();
    }
    Ok(())
}
