// SPDX-License-Identifier: MIT OR Apache-2.0
//! The simulated kernel's log, as `/dev/kmsg` shows it.

use core::fmt;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::time::Instant;

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};

use crate::lock::lock;

/// Levels of the kernel's log.
pub(crate) const ERROR: u8 = 3;
pub(crate) const WARNING: u8 = 4;
pub(crate) const INFO: u8 = 6;

/// Messages that are kept for those who begin to read.
const KEPT: usize = 256;

struct State {
    booted: Instant,
    number: u64,
    records: std::collections::VecDeque<String>,
    readers: Vec<OwnedFd>,
}

/// The log of one boot.
pub(crate) struct Log(Mutex<State>);

impl Default for Log {
    fn default() -> Self {
        Self(Mutex::new(State {
            booted: Instant::now(),
            number: 0,
            records: std::collections::VecDeque::new(),
            readers: Vec::new(),
        }))
    }
}

impl Log {
    /// Adds a message of a part of the kernel: a record `level,number,time,flags;text`.
    pub(crate) fn print(&self, level: u8, who: &str, text: impl fmt::Display) {
        let mut state = lock(&self.0);
        let micros = state.booted.elapsed().as_micros();
        let record = format!("{level},{},{micros},-;{who}: {text}\n", state.number);
        state.number += 1;
        // A reader that has closed it, or does not keep up, gets no more.
        state.readers.retain(|reader| send(reader, &record));
        if state.records.len() == KEPT {
            state.records.pop_front();
        }
        state.records.push_back(record);
    }

    /// A descriptor from which the messages are read, one at a time, the first
    /// since boot first.
    pub(crate) fn reader(&self, flags: SocketFlags) -> rustix::io::Result<OwnedFd> {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | flags,
            None,
        )?;
        let mut state = lock(&self.0);
        state.records.iter().all(|record| send(&ours, record));
        state.readers.push(ours);
        Ok(theirs)
    }
}

fn send(reader: &OwnedFd, record: &str) -> bool {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    rustix::net::send(reader, record.as_bytes(), flags).is_ok()
}
