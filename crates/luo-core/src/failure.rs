// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Why a transition failed, in words and as an errno.

use core::fmt;

use luo_abi::errno::Errno;
use luo_abi::rfc::Event;

use crate::error::Error;
use crate::file_name::FileName;
use crate::text::{Compat, SessionName};
use crate::update::Count;

/// Why a transition failed. Whatever it had done is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A file's handler vetoed.
    Handler {
        /// The file.
        file: FileName,
        /// The handler.
        handler: Compat,
        /// The error that it returned.
        errno: Errno,
    },
    /// A subsystem vetoed.
    Subsystem {
        /// Its name.
        name: Compat,
        /// The error that it returned.
        errno: Errno,
    },
    /// A file needs another that is not preserved. ENOLINK.
    Dependency {
        /// The file.
        file: FileName,
        /// The file that it needs.
        on: FileName,
    },
    /// A call has the file in its hands and does not end. EBUSY.
    UnderWay {
        /// The file.
        file: FileName,
    },
    /// A session that nobody has claimed cannot be carried on to the next kernel.
    Carry {
        /// The session.
        session: SessionName,
        /// The file it is about, if it is about one.
        token: Option<u64>,
        /// Why.
        why: Error,
    },
    /// The image that is loaded takes nothing over. EOPNOTSUPP.
    Image {
        /// Files that would be lost.
        files: usize,
        /// Subsystems that have got ready for nothing.
        subsystems: usize,
    },
    /// The engine cannot.
    Engine(Error),
}

impl Failure {
    /// The error number user space gets.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            Self::Handler { errno, .. } | Self::Subsystem { errno, .. } => *errno,
            Self::Dependency { .. } => Errno::ENOLINK,
            Self::UnderWay { .. } => Errno::EBUSY,
            Self::Image { .. } => Errno::EOPNOTSUPP,
            Self::Carry { why, .. } | Self::Engine(why) => why.errno(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler {
                file,
                handler,
                errno,
            } => write!(f, "handler {handler} vetoes for {file}: {errno}"),
            Self::Subsystem { name, errno } => write!(f, "subsystem {name} vetoes: {errno}"),
            Self::Dependency { file, on } => {
                write!(f, "{file} needs {on}, which is not preserved")
            }
            Self::UnderWay { file } => {
                write!(f, "a call that does not end has {file} in its hands")
            }
            Self::Carry {
                session,
                token,
                why,
            } => {
                write!(f, "session \"{session}\" of the previous kernel, which nobody has claimed, cannot be carried on")?;
                if let Some(token) = token {
                    write!(f, " because of token {token:#x}")?;
                }
                write!(f, ": {why}")
            }
            Self::Image { files, subsystems } => write!(
                f,
                "the image was loaded by kexec_load and takes nothing over: \
                 {} and {} would be lost",
                Count(*files, "file"),
                Count(*subsystems, "subsystem")
            ),
            Self::Engine(why) => write!(f, "{why}"),
        }
    }
}

impl From<Error> for Failure {
    fn from(why: Error) -> Self {
        Self::Engine(why)
    }
}

/// The last transition that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastFailure {
    /// The event, `None` for a reboot that ran the events by itself.
    pub event: Option<Event>,
    /// Why.
    pub failure: Failure,
    /// Failures since boot, this one included.
    pub sequence: u64,
}
