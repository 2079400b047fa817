// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a monitor ends: exit codes, and the errors that lead to them. From 64 to 78 they are
//! those of sysexits.h, and mean what luo-qemu's mean.

use std::io;

use luo_client::agent;
use luo_client::memory;

use crate::head;

/// The guest was shut down, or the monitor was told to end.
pub const DONE: u8 = 0;
/// The command line makes no sense.
pub const USAGE: u8 = 64;
/// What came over the jump cannot be resumed. It is kept.
pub const DAMAGED: u8 = 65;
/// The guest's program cannot be read, or is none.
pub const NO_GUEST: u8 = 66;
/// The agent cannot be reached.
pub const UNAVAILABLE: u8 = 69;
/// The guest did what the monitor cannot do for it, or its process failed.
pub const GUEST: u8 = 70;
/// The operating system refused.
pub const SYSTEM: u8 = 71;
/// The agent does not allow it.
pub const PERMISSION: u8 = 77;

/// How a guest has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The exit code that says the same.
    pub code: u8,
    /// What it was, in words.
    pub reason: String,
}

/// Why a monitor ends before its guest does.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The agent.
    #[error(transparent)]
    Agent(#[from] agent::Error),
    /// Preserving or restoring memory.
    #[error(transparent)]
    Memory(#[from] memory::Error),
    /// The state that came over the jump.
    #[error("the guest's state cannot be used: {0}; its memory is kept")]
    State(#[from] head::Refusal),
    /// The jump came before the guest stood still.
    #[error(
        "the machine has jumped before the guest stood still: its memory is there, and not the \
         state of its processor. `luoctl release {0}` gives it up; then it can be started afresh"
    )]
    Unfrozen(String),
    /// A system call failed.
    #[error("{what}: {source}")]
    System {
        /// What for.
        what: String,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// A failed system call, and what it was for.
    pub fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }

    /// The exit code that says the same.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Agent(agent::Error::Refused(agent::Refusal::Denied { .. })) => PERMISSION,
            Self::Agent(_) => UNAVAILABLE,
            Self::State(_) | Self::Unfrozen(_) => DAMAGED,
            Self::Memory(memory::Error::Refused(_) | memory::Error::NoManifest) => DAMAGED,
            Self::Memory(_) | Self::System { .. } => SYSTEM,
        }
    }
}
