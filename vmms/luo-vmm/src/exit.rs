// SPDX-License-Identifier: MIT OR Apache-2.0
//! How the program ends: the exit codes, and the errors that lead to them. From 64 to 78 they
//! are those of sysexits.h, and mean what luo-qemu's mean.

use std::io;

use luo_client::{agent, memory};

use crate::{boot, state};

pub use luo_monitor::exit::{
    DAMAGED, DONE, Ended, GUEST, NO_GUEST, PERMISSION, SYSTEM, UNAVAILABLE, USAGE,
};

/// Why this program ends before its guest does.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line.
    #[error("{0}")]
    Usage(String),
    /// The guest cannot be loaded.
    #[error(transparent)]
    Boot(#[from] boot::Refusal),
    /// What any monitor meets.
    #[error(transparent)]
    Monitor(#[from] luo_monitor::exit::Error),
    /// The state that came over the jump.
    #[error("the guest's state cannot be used: {0}; its memory is kept")]
    State(#[from] state::Refusal),
    /// The session is somebody else's.
    #[error("what came over the jump is no guest of luo-vmm's: {0}; it is kept")]
    Foreign(&'static str),
    /// KVM does not take the state.
    #[error("KVM does not take the guest's state: {0}; the guest's memory is kept")]
    NotResumed(String),
    /// The guest stopped in a way that it should not.
    #[error("the guest: {0}")]
    Guest(String),
    /// A call of KVM failed.
    #[error("KVM: {what}: {source}")]
    Kvm {
        /// Which.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// A failed system call, and what it was for.
    pub fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let to = luo_monitor::exit::Error::system(what);
        move |source| Self::Monitor(to(source))
    }

    /// A failed call of KVM.
    pub fn kvm(what: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> Self {
        move |why| Self::Kvm {
            what,
            source: io::Error::from_raw_os_error(why.errno()),
        }
    }

    /// As [`Error::kvm`], of a call that this project makes itself.
    pub fn call(what: &'static str) -> impl FnOnce(luo_sys::Error) -> Self {
        move |why| Self::Kvm {
            what,
            source: why.into(),
        }
    }

    /// A call of KVM that failed over what came over the jump: it does not take the state.
    #[must_use]
    pub fn not_resumed(self) -> Self {
        match self {
            Self::Kvm { what, source } => Self::NotResumed(format!("{what}: {source}")),
            other => other,
        }
    }

    /// The exit code that says the same.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Boot(_) => NO_GUEST,
            Self::Monitor(why) => why.code(),
            Self::State(_) | Self::Foreign(_) | Self::NotResumed(_) => DAMAGED,
            Self::Kvm { .. } => SYSTEM,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kvm_does_not_take_of_a_state_is_no_fault_of_the_system() {
        let refused = || Error::kvm("KVM_SET_PIT2")(kvm_ioctls::Error::new(22));
        assert_eq!(refused().code(), SYSTEM);
        let why = refused().not_resumed();
        assert_eq!(why.code(), DAMAGED);
        let text = why.to_string();
        assert!(text.contains("KVM_SET_PIT2: Invalid argument"), "{text}");
        assert!(text.contains("memory is kept"), "{text}");
        let other = Error::Guest("x".into()).not_resumed();
        assert_eq!(other.code(), GUEST);
    }
}
