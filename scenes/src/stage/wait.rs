// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waiting for what must come about, patiently but not for ever.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// How long something may take that must happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Looks again and again whether something has come about.
///
/// # Errors
/// If it does not, or cannot be seen.
pub fn until(what: &str, seen: impl FnMut() -> Result<bool>) -> Result<()> {
    within(PATIENCE, what, seen)
}

/// As [`until`], with a patience of its own for what takes long on a busy machine.
///
/// # Errors
/// As [`until`].
pub fn within(
    patience: Duration,
    what: &str,
    mut seen: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let begun = Instant::now();
    while !seen()? {
        ensure!(begun.elapsed() < patience, "{what} does not come about");
        // The sleep waits for nothing: it leaves the processor to what is waited for.
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
