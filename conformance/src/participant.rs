// SPDX-License-Identifier: MIT OR Apache-2.0
//! `/dev/luo_participant`, the test subsystem in Rust: it is registered as long as
//! the device is open. What it does is described in its source,
//! `lib/tests/luo_participant.rs` of the kernel's overlay.

use std::fs::File;
use std::io::{ErrorKind, Read as _};

use anyhow::{Context, Result};

use crate::check::skip;

/// The device node.
pub const DEVICE: &str = "/dev/luo_participant";

/// The subsystem's name.
pub const NAME: &str = "forge-rust";

/// Opens the device, which registers the subsystem.
///
/// # Errors
/// A skip if the implementation is tested without it; else an
/// [`std::io::Error`], what the orchestrator answers.
pub fn open() -> Result<File> {
    match File::open(DEVICE) {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(skip(format!("there is no {DEVICE}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// What the subsystem left in the previous kernel, as `0xc1` or `none`.
///
/// # Errors
/// If it does not say.
pub fn data(mut device: &File) -> Result<String> {
    let mut text = [0; 32];
    let length = loop {
        match device.read(&mut text) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => break read.context("the subsystem's data")?,
        }
    };
    let text = String::from_utf8_lossy(&text[..length]);
    Ok(text.trim().to_owned())
}
