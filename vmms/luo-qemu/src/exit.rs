// SPDX-License-Identifier: MIT OR Apache-2.0
//! How the program ends: the exit codes, and the errors that lead to them. From 64 to 78 they
//! are those of sysexits.h, as luoctl's are.

use std::io;

use luo_client::agent;
use luo_client::memory;

use crate::{about, given, qmp, state};

/// The guest was shut down, or QEMU was told to quit.
pub const DONE: u8 = 0;
/// The command line makes no sense.
pub const USAGE: u8 = 64;
/// What came over the jump cannot be resumed. It is kept.
pub const DAMAGED: u8 = 65;
/// The agent cannot be reached.
pub const UNAVAILABLE: u8 = 69;
/// QEMU ended by itself, or did not do what it was told.
pub const QEMU: u8 = 70;
/// The operating system refused.
pub const SYSTEM: u8 = 71;
/// The guest runs under another luo-qemu.
pub const BUSY: u8 = 75;
/// The agent does not allow it.
pub const PERMISSION: u8 = 77;
/// QEMU's command line has something in it that cannot survive an update.
pub const REFUSED: u8 = 78;
/// The guest has panicked.
pub const PANICKED: u8 = 80;

/// All of them.
pub const ALL: [u8; 10] = [
    DONE,
    USAGE,
    DAMAGED,
    UNAVAILABLE,
    QEMU,
    SYSTEM,
    BUSY,
    PERMISSION,
    REFUSED,
    PANICKED,
];

/// Why this program ends before its guest does.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// QEMU's command line is refused.
    #[error(transparent)]
    Refused(#[from] given::Refusal),
    /// The program is no QEMU that can do this.
    #[error("{0}")]
    Unfit(String),
    /// The agent.
    #[error(transparent)]
    Agent(#[from] agent::Error),
    /// Preserving or restoring memory.
    #[error(transparent)]
    Memory(#[from] memory::Error),
    /// The state that came over the jump.
    #[error("the guest's state cannot be used: {0}; its memory is kept")]
    State(#[from] state::Refusal),
    /// What came along about the guest.
    #[error("what came along about the guest cannot be used: {0}; its memory is kept")]
    About(#[from] about::Refusal),
    /// The jump came before the guest stood still.
    #[error(
        "the machine has jumped before the guest stood still: its memory is there, and not the \
         state of its devices. `luoctl release {0}` gives it up; then it can be started afresh"
    )]
    Unfrozen(String),
    /// QEMU did not do what it was told.
    #[error("QEMU: {0}")]
    Qmp(#[from] qmp::Error),
    /// QEMU ended.
    #[error("QEMU has ended: {0}")]
    Ended(String),
    /// QEMU did not take the state back.
    #[error("QEMU does not take the guest's state back: {0}; the guest's memory is kept")]
    NotResumed(String),
    /// Another one runs this guest.
    #[error("another luo-qemu runs this guest (process {0})")]
    Busy(String),
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
            Self::Refused(_) | Self::Unfit(_) => REFUSED,
            Self::Agent(agent::Error::Refused(agent::Refusal::Denied { .. })) => PERMISSION,
            Self::Agent(_) => UNAVAILABLE,
            Self::State(_) | Self::About(_) | Self::Unfrozen(_) | Self::NotResumed(_) => DAMAGED,
            Self::Memory(memory::Error::Refused(_) | memory::Error::NoManifest) => DAMAGED,
            Self::Memory(_) | Self::System { .. } => SYSTEM,
            Self::Qmp(_) | Self::Ended(_) => QEMU,
            Self::Busy(_) => BUSY,
        }
    }
}
