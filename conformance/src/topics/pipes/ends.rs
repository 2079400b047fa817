// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pipes for the cases.

use std::fs::File;
use std::io::Read as _;

use anyhow::Result;
use luo_sys::Token;
use rustix::pipe::{PipeFlags, pipe_with};

pub(in crate::topics) const READ: Token = Token(1);
pub(in crate::topics) const WRITE: Token = Token(2);

/// The text that most cases leave in one.
pub(super) const TEXT: &[u8] = b"what the pipe holds";

/// Both ends of one.
pub(in crate::topics) struct Ends {
    pub(in crate::topics) reads: File,
    pub(in crate::topics) writes: File,
}

/// A pipe whose ends do not wait.
pub(in crate::topics) fn pipe() -> Result<Ends> {
    let (reads, writes) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let (reads, writes) = (reads.into(), writes.into());
    Ok(Ends { reads, writes })
}

/// All that a pipe holds, packet by packet.
pub(super) fn drain(reads: &mut File) -> Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    let mut bytes = vec![0; 1 << 16];
    loop {
        match reads.read(&mut bytes) {
            Ok(0) => return Ok(all),
            Ok(count) => all.push(bytes[..count].to_vec()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(all),
            Err(error) => return Err(error.into()),
        }
    }
}
