// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pipes for the cases.

use std::fs::File;

use anyhow::Result;
use luo_sys::Token;
use rustix::pipe::{PipeFlags, pipe_with};

pub(in crate::topics) const READ: Token = Token(1);
pub(in crate::topics) const WRITE: Token = Token(2);

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
