// SPDX-License-Identifier: MIT OR Apache-2.0
//! How the program ends: the exit codes, and the errors that lead to them.

use std::io;

use luo_client::{agent, memory};

use crate::state;

pub use luo_monitor::exit::{DAMAGED, DONE, Ended, GUEST, NO_GUEST, SYSTEM, USAGE};

/// Why this program ends before its guest does.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line.
    #[error("{0}")]
    Usage(String),
    /// The program cannot be started.
    #[error("{program} cannot be started: {source}")]
    NoProgram {
        /// Which.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// What any monitor meets.
    #[error(transparent)]
    Monitor(#[from] luo_monitor::exit::Error),
    /// The state that came over the jump.
    #[error("the guest's state cannot be used: {0}; its memory is kept")]
    State(#[from] state::Refusal),
    /// The session is somebody else's.
    #[error("what came over the jump is no guest of luo-ch's: {0}; it is kept")]
    Foreign(&'static str),
    /// Cloud-hypervisor does not take the state.
    #[error("cloud-hypervisor does not take the guest: {0}; the guest's memory is kept")]
    NotResumed(String),
    /// Cloud-hypervisor does not do as it should.
    #[error("cloud-hypervisor: {0}")]
    Guest(String),
}

impl Error {
    /// A failed system call, and what it was for.
    pub fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let to = luo_monitor::exit::Error::system(what);
        move |source| Self::Monitor(to(source))
    }

    /// What failed while a guest was to be given to cloud-hypervisor.
    #[must_use]
    pub fn not_resumed(self) -> Self {
        match self {
            Self::Guest(why) => Self::NotResumed(why),
            other => other,
        }
    }

    /// The exit code that says the same.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::NoProgram { .. } => NO_GUEST,
            Self::Monitor(why) => why.code(),
            Self::State(_) | Self::Foreign(_) | Self::NotResumed(_) => DAMAGED,
            Self::Guest(_) => GUEST,
        }
    }
}

impl From<agent::Error> for Error {
    fn from(why: agent::Error) -> Self {
        Self::Monitor(why.into())
    }
}

impl From<memory::Error> for Error {
    fn from(why: memory::Error) -> Self {
        Self::Monitor(why.into())
    }
}
