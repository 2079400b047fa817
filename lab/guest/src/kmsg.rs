// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's messages: to tests, and to the host.

use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub(crate) use luo_conformance::kmsg::{Message, Reader};

/// Lets every message through to the console, which the host reads.
///
/// # Errors
/// If the kernel has no such switch.
pub(crate) fn console_shows_all() -> Result<()> {
    std::fs::write("/proc/sys/kernel/printk", "7").context("/proc/sys/kernel/printk")
}

/// How long a mark may take until it is read, before it is written once more.
const AGAIN: Duration = Duration::from_millis(20);

/// Reads the log all the time, because whatever fills it pushes out what nobody has read.
pub(crate) struct Follower {
    mark: String,
    reads: JoinHandle<Result<Vec<Message>>>,
}

impl Follower {
    /// Starts with the next message. `mark` is a line that nobody else writes.
    ///
    /// # Errors
    /// If there is no `/dev/kmsg`.
    pub(crate) fn from_now(mark: &str) -> Result<Self> {
        let mark = mark.to_owned();
        let mut log = Reader::from_now()?;
        let last = mark.clone();
        let reads = std::thread::spawn(move || {
            let mut told = Vec::new();
            loop {
                log.wait()?;
                for message in log.read()? {
                    if message.text.contains(&last) {
                        return Ok(told);
                    }
                    told.push(message);
                }
            }
        });
        Ok(Self { mark, reads })
    }

    /// All messages up to now.
    ///
    /// # Errors
    /// If the log cannot be read, or written.
    pub(crate) fn end(self) -> Result<Vec<Message>> {
        // The mark itself may be pushed out before it is read: it is written until it is.
        while !self.reads.is_finished() {
            std::fs::write("/dev/kmsg", &self.mark).context("/dev/kmsg")?;
            std::thread::sleep(AGAIN);
        }
        match self.reads.join() {
            Ok(told) => told,
            Err(_) => bail!("the thread that reads the log has ended"),
        }
    }
}
