// SPDX-License-Identifier: MIT OR Apache-2.0
//! `/dev/luo_slot`, a driver in Rust that is a module, and whose files hold a number each. What it
//! does is described in its source, `lib/tests/luo_slot.rs` of the kernel's overlay.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::case::Context;
use crate::check::Absent;

/// The device node, which is there while the module is loaded.
pub const DEVICE: &str = "/dev/luo_slot";

/// The name of its file handler.
pub const HANDLER: &str = "luo-slot-v1";

/// The module's file.
const FILE: &str = "luo_slot.ko";

/// The module, loaded until this is dropped or the machine jumps.
#[must_use = "it is unloaded when this is dropped"]
pub struct Module(());

impl Module {
    /// Loads it. One that a case which went wrong has left behind will do.
    ///
    /// # Errors
    /// [`Absent`] where there is no such module; what the kernel answers.
    pub fn load(context: &Context<'_>) -> Result<Self> {
        let Some(path) = context.module(FILE) else {
            return Err(Absent("a handler in a module in Rust".to_owned()).into());
        };
        let what = || path.display().to_string();
        let module = File::open(&path).with_context(what)?;
        match rustix::system::finit_module(module, c"", 0) {
            Ok(()) | Err(Errno::EXIST) => Ok(Self(())),
            Err(error) => Err(error).with_context(what),
        }
    }

    /// Unloads it at once, or not at all.
    ///
    /// # Errors
    /// EAGAIN if something needs it; then it stays.
    pub fn unload(&self) -> io::Result<()> {
        let at_once = OFlags::NONBLOCK.bits() as i32;
        Ok(rustix::system::delete_module(c"luo_slot", at_once)?)
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // It may be gone, or needed by what a case that went wrong has left behind.
        let _ = self.unload();
    }
}

/// Opens a slot.
///
/// # Errors
/// The module is not loaded.
pub fn open() -> Result<File> {
    let opened = OpenOptions::new().read(true).write(true).open(DEVICE);
    opened.context(DEVICE)
}

/// Has a slot hold a number.
///
/// # Errors
/// What the driver answers.
pub fn set(slot: &File, number: u64) -> Result<()> {
    Ok(slot.write_all_at(number.to_string().as_bytes(), 0)?)
}

/// The number that a slot holds.
///
/// # Errors
/// What the driver answers.
pub fn number(slot: &File) -> Result<u64> {
    let mut text = [0; 32];
    let length = slot.read_at(&mut text, 0)?;
    let text = std::str::from_utf8(&text[..length])?;
    text.trim().parse().with_context(|| text.to_owned())
}

/// Has a slot need another open file.
///
/// # Errors
/// What the driver answers.
pub fn need(slot: &File, other: impl AsFd) -> Result<()> {
    let order = format!("needs {}", other.as_fd().as_raw_fd());
    Ok(slot.write_all_at(order.as_bytes(), 0)?)
}

/// Has what a slot leaves for the next kernel be damaged.
///
/// # Errors
/// What the driver answers.
pub fn spoil(slot: &File) -> Result<()> {
    Ok(slot.write_all_at(b"spoil", 0)?)
}
