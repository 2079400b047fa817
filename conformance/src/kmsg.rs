// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's messages, as a test sees them.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::retry_on_intr;

/// The longest record of `/dev/kmsg`, in bytes.
const RECORD: usize = 8192;

/// The numerically greatest level that is a warning.
const WARNING: u32 = 4;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    level: u32,
    /// The text, without the level and the time.
    pub text: String,
}

impl Message {
    /// Whether it is a warning or worse.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        self.level <= WARNING
    }

    /// Whether the orchestrator, in whatever language, wrote it.
    #[must_use]
    pub fn is_luo(&self) -> bool {
        self.text.starts_with("luo:")
    }

    /// Reads a record: `level,number,time,flags;text`, then lines of context.
    fn parse(record: &str) -> Option<Self> {
        let (prefix, rest) = record.split_once(';')?;
        let facility_and_level: u32 = prefix.split(',').next()?.parse().ok()?;
        Some(Self {
            level: facility_and_level & 7,
            text: rest.lines().next().unwrap_or_default().to_owned(),
        })
    }
}

/// A place in the log from which messages are read.
pub struct Reader {
    file: File,
}

impl Reader {
    /// Starts with the first message since boot.
    ///
    /// # Errors
    /// If there is no `/dev/kmsg`.
    pub fn from_boot() -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open("/dev/kmsg")
            .context("/dev/kmsg")?;
        Ok(Self { file })
    }

    /// Starts with the next message.
    ///
    /// # Errors
    /// As [`Reader::from_boot`].
    pub fn from_now() -> Result<Self> {
        let mut reader = Self::from_boot()?;
        reader.read()?;
        Ok(reader)
    }

    /// Waits until there is a message.
    ///
    /// # Errors
    /// If the log cannot be waited for.
    pub fn wait(&self) -> Result<()> {
        let mut log = [PollFd::new(&self.file, PollFlags::IN)];
        retry_on_intr(|| poll(&mut log, None)).context("/dev/kmsg")?;
        Ok(())
    }

    /// All messages up to now.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn read(&mut self) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        let mut buffer = vec![0; RECORD];
        loop {
            match self.file.read(&mut buffer) {
                Ok(length) => {
                    let record = String::from_utf8_lossy(&buffer[..length]);
                    messages.extend(Message::parse(&record));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(messages),
                // The ring has overtaken us; the next read is behind the gap.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(error) => return Err(error).context("/dev/kmsg"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_taken_apart() {
        let message = Message::parse("4,339,5140900,-;luo: handover refused\n SUBSYSTEM=x\n");
        let message = message.unwrap();
        assert_eq!(message.text, "luo: handover refused");
        assert!(message.is_warning() && message.is_luo());
        let info = Message::parse("14,1,2,-;luo_forge: hello").unwrap();
        assert!(!info.is_warning() && !info.is_luo());
        assert_eq!(Message::parse("noise"), None);
    }
}
