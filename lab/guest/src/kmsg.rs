// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's messages: to tests, and to the host.

use anyhow::{Context, Result};

pub(crate) use luo_conformance::kmsg::{Message, Reader};

/// Lets every message through to the console, which the host reads.
///
/// # Errors
/// If the kernel has no such switch.
pub(crate) fn console_shows_all() -> Result<()> {
    std::fs::write("/proc/sys/kernel/printk", "7").context("/proc/sys/kernel/printk")
}
