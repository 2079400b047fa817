// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a simulation cannot be.

use std::io;

use luo_abi::errno::Errno;

/// Why a simulation did not take place, or broke off.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no command to run.
    #[error("there is nothing to run")]
    NoCommand,
    /// The command of a boot cannot be executed.
    #[error("cannot run '{command}': {why}")]
    Command {
        /// Its first word.
        command: String,
        /// Why.
        why: io::Error,
    },
    /// Something forbids or lacks what the simulator is built on.
    #[error("{call}: {errno}\n{hint}")]
    Forbidden {
        /// The system call.
        call: &'static str,
        /// What it said.
        errno: Errno,
        /// Which setting does that.
        hint: String,
    },
    /// The filter cannot be made.
    #[error("cannot make the filter of system calls: {0}")]
    Filter(String),
    /// The machine is of another kind.
    #[error("the architecture {0} is not supported")]
    Architecture(&'static str),
    /// A parameter of the first kernel has a word that it does not take.
    #[error("the parameter {word}: write {takes}")]
    Parameter {
        /// The parameter, with the word.
        word: String,
        /// What it takes.
        takes: String,
    },
    /// A subsystem's name is too long, empty, there twice, or has control characters.
    #[error("'{0}' cannot be a subsystem")]
    Subsystem(String),
    /// The engine could not be set up.
    #[error("the machine does not boot: {0}")]
    Engine(String),
    /// A file of the simulator's own.
    #[error("{what}: {why}")]
    Io {
        /// What it is for.
        what: &'static str,
        /// Why.
        why: io::Error,
    },
}

impl Error {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |why| Self::Io { what, why }
    }

    pub(crate) fn system(what: &'static str) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |why| Self::Io {
            what,
            why: why.into(),
        }
    }

    /// A system call that we cannot do without.
    pub(crate) fn forbidden(error: luo_sys::Error) -> Self {
        let (call, errno) = (error.call(), error.errno());
        Self::Forbidden {
            call,
            errno,
            hint: crate::hint::hint(call, errno),
        }
    }
}
