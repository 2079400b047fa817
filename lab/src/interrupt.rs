// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ctrl-C and SIGTERM: remembered here, acted upon by whoever owns a child.
//!
//! A build step or a virtual machine must not outlive the command that
//! started it, so every loop that waits for a child asks [`check`].

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static INSTALLED: OnceLock<()> = OnceLock::new();

/// Starts to listen for signals; to be called once, first of all.
pub fn install() {
    INSTALLED.get_or_init(|| {
        let handler = || {
            // A second signal means that nobody asked in time.
            if INTERRUPTED.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
        };
        if let Err(error) = ctrlc::set_handler(handler) {
            eprintln!("warning: Ctrl-C will not stop child processes: {error}");
        }
    });
}

/// Whether a signal has arrived.
#[must_use]
pub fn requested() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Turns a signal into an error.
///
/// # Errors
/// A signal has arrived.
pub fn check() -> Result<()> {
    if requested() {
        bail!("interrupted");
    }
    Ok(())
}
