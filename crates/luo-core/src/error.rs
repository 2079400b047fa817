// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The errors of operations, and the errno that each crosses the ABI with.

use core::fmt;

use luo_abi::errno::Errno;
use luo_abi::rfc::{Event, State};

use crate::file_name::FileName;
use crate::handover::Refusal;
use crate::mem::OutOfMemory;
use crate::quota::Quota;
use crate::text::{Compat, SessionName, TextError};

/// Why an operation did not happen. Whatever it had begun is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Memory was refused. ENOMEM.
    NoMemory,
    /// The name is empty or not terminated. EINVAL.
    BadName(TextError),
    /// The name does not fit with the user in front of it. ENAMETOOLONG.
    NameTooLong,
    /// The user has as much as a user may have. EDQUOT.
    OverQuota(Quota),
    /// All users without privileges together have as much as they may. EDQUOT.
    UsersOverQuota(Quota),
    /// Somebody has the device open. EBUSY.
    DeviceBusy,
    /// Something is under way and does not end: a call on this session, or a transition.
    /// EBUSY.
    Busy(Option<SessionName>),
    /// An outgoing session has this name already. EEXIST.
    SessionExists,
    /// No incoming session has this name. ENOENT.
    NoSession,
    /// Somebody has retrieved the session already. EINVAL.
    AlreadyRetrieved,
    /// The operation is not for a session of this direction. EINVAL.
    WrongDirection,
    /// A file of the session has this token already. EEXIST.
    TokenExists,
    /// No file of the session has this token. ENOENT.
    NoToken,
    /// The object is preserved already, here or in another session. EBUSY.
    AlreadyPreserved,
    /// No handler knows how to preserve the file. ENOENT.
    NoHandler,
    /// A named limit of the handover format is reached. ENOSPC.
    Full,
    /// Everybody has agreed to the update: what is preserved is fixed until it is
    /// cancelled. EBUSY.
    Prepared,
    /// State is frozen: the machine is on its way into the next kernel. EBUSY.
    Frozen,
    /// The session is frozen before the others, and does not change. EBUSY.
    SessionFrozen,
    /// A handler refuses to freeze a file of the session; its error.
    Veto {
        /// The token of the file.
        token: u64,
        /// Its handler.
        handler: Compat,
        /// What it says.
        errno: Errno,
    },
    /// A file of the session is needed by another session's, which has to be frozen first. EBUSY.
    NeededFirst {
        /// The token of the file.
        token: u64,
        /// The file that needs it.
        by: FileName,
    },
    /// A file of the session needs one that is not there. ENOLINK.
    Misses {
        /// The token of the file.
        token: u64,
        /// The file that is needed.
        on: FileName,
    },
    /// The event is not legal in this state. EINVAL.
    Illegal {
        /// The event.
        event: Event,
        /// The state.
        state: State,
    },
    /// Files of the previous kernel are restored in the state UPDATED only. EBUSY.
    NotUpdated,
    /// Somebody has the file already. EINVAL.
    AlreadyRestored,
    /// The file that is to be needed is in a session of which the caller has neither the
    /// descriptor nor is the owner. EACCES.
    NoConsent,
    /// A file that this one needs is in another session, and who has that one has not
    /// taken it back yet. ENOTCONN.
    Awaits(FileName),
    /// A file has as many dependencies or dependents, or a session as many dependencies,
    /// as one may have. ENOSPC.
    TooManyDependencies,
    /// The file's handler is not here yet, or that of one that it needs: its module has to be
    /// loaded. EAGAIN.
    AwaitsHandler(Compat),
    /// The file waits for its handler, which alone can let go of it. EBUSY.
    Unhandled {
        /// The token of the file.
        token: u64,
        /// Its handler.
        handler: Compat,
    },
    /// The file's handler has not come to this kernel, and without it the file cannot go on.
    /// ENOENT.
    NeverHandled(Compat),
    /// There are more dependencies to go along than a call may: whether the file would need
    /// itself cannot be told, or it is to be restored with too many others. ENOSPC.
    TooDense,
    /// The file would need itself, by way of others. ELOOP.
    DependencyCycle,
    /// It is known already that the file needs the other. EEXIST.
    DependencyExists,
    /// It was not known that the file needs the other. ENOENT.
    NoDependency,
    /// A file of the session is needed by another that is not finished. EBUSY.
    Needed {
        /// The token of the file.
        token: u64,
        /// The file that needs it.
        by: FileName,
    },
    /// A file that this one needs cannot be restored; its error.
    DependencyFailed {
        /// The file that is needed.
        on: FileName,
        /// Its handler's error.
        errno: Errno,
    },
    /// The reboot could not hand the file over, because of this error.
    /// ENOTRECOVERABLE.
    Lost(Errno),
    /// A file that this one needs is not carried on. ENOLINK.
    NotCarried(FileName),
    /// The user whose file it is has it back: whoever carried it on would preserve what the
    /// user makes of it meanwhile, and wait for the user. EBUSY.
    UserHasIt,
    /// The entry that a list was to go on from is gone. ESTALE.
    Stale,
    /// A handler does not let go of a file yet. EBUSY.
    CannotFinish {
        /// The token of the file.
        token: u64,
        /// Its handler.
        handler: Compat,
    },
    /// A handler or an FLB with this name is registered already. EEXIST.
    NameTaken,
    /// The handler or FLB is not registered. EINVAL.
    NotRegistered,
    /// The owner of the callbacks is going away. ENODEV.
    OwnerGone,
    /// Nothing was handed over, or it is finished. ENODATA.
    NoData,
    /// No FLB of this name was handed over or is preserved. ENOENT.
    NoFlb,
    /// The previous kernel's handover is refused. EIO.
    Refused(Refusal),
    /// The operation is not possible at this moment of the machine's life, for
    /// example sessions before the host has given memory for the root. EIO.
    NotReady,
    /// The engine's own books disagree; a bug, reported instead of a panic. EIO.
    Inconsistent,
    /// A callback, or the host, reported this.
    Host(Errno),
}

impl Error {
    /// The error number user space gets: the one place that decides it.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            Self::NoMemory => Errno::ENOMEM,
            Self::BadName(_)
            | Self::AlreadyRetrieved
            | Self::AlreadyRestored
            | Self::WrongDirection
            | Self::Illegal { .. }
            | Self::NotRegistered => Errno::EINVAL,
            Self::NameTooLong => Errno::ENAMETOOLONG,
            Self::OverQuota(_) | Self::UsersOverQuota(_) => Errno::EDQUOT,
            Self::NoConsent => Errno::EACCES,
            Self::Awaits(_) => Errno::ENOTCONN,
            Self::AwaitsHandler(_) => Errno::EAGAIN,
            Self::SessionExists | Self::TokenExists | Self::NameTaken | Self::DependencyExists => {
                Errno::EEXIST
            }
            Self::NoSession
            | Self::NoToken
            | Self::NoHandler
            | Self::NoFlb
            | Self::NeverHandled(_)
            | Self::NoDependency => Errno::ENOENT,
            Self::DeviceBusy
            | Self::Busy(_)
            | Self::AlreadyPreserved
            | Self::Prepared
            | Self::Frozen
            | Self::SessionFrozen
            | Self::NeededFirst { .. }
            | Self::NotUpdated
            | Self::Needed { .. }
            | Self::UserHasIt
            | Self::Unhandled { .. }
            | Self::CannotFinish { .. } => Errno::EBUSY,
            Self::DependencyCycle => Errno::ELOOP,
            Self::DependencyFailed { errno, .. } | Self::Veto { errno, .. } => *errno,
            Self::NotCarried(_) | Self::Misses { .. } => Errno::ENOLINK,
            Self::Lost(_) => Errno::ENOTRECOVERABLE,
            Self::Stale => Errno::ESTALE,
            Self::Full | Self::TooManyDependencies | Self::TooDense => Errno::ENOSPC,
            Self::OwnerGone => Errno::ENODEV,
            Self::NoData => Errno::ENODATA,
            Self::Refused(_) | Self::NotReady | Self::Inconsistent => Errno::EIO,
            Self::Host(errno) => *errno,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemory => f.write_str("out of memory"),
            Self::BadName(why) => write!(f, "the name is {why}"),
            Self::NameTooLong => f.write_str("the name is too long with its user in front"),
            Self::OverQuota(quota) => write!(f, "the user has as many {quota} as a user may"),
            Self::UsersOverQuota(quota) => {
                write!(f, "users together have as many {quota} as they may")
            }
            Self::DeviceBusy => f.write_str("the device is open already"),
            Self::Busy(Some(session)) => {
                write!(
                    f,
                    "a call on session \"{session}\" is under way and does not end"
                )
            }
            Self::Busy(None) => f.write_str("another transition is under way and does not end"),
            Self::NoConsent => f.write_str("the other session is not the caller's"),
            Self::Awaits(on) => write!(f, "{on}, which is needed, is not taken back yet"),
            Self::AwaitsHandler(handler) => {
                write!(f, "handler \"{handler}\" is not here yet: load its module")
            }
            Self::Unhandled { token, handler } => write!(
                f,
                "handler \"{handler}\" of token {token:#x} is not here yet: load its module"
            ),
            Self::NeverHandled(handler) => {
                write!(
                    f,
                    "handler \"{handler}\" is not here: its module was not loaded"
                )
            }
            Self::SessionExists => f.write_str("a session of this name exists"),
            Self::NoSession => f.write_str("no session of this name"),
            Self::AlreadyRetrieved => f.write_str("the session is retrieved already"),
            Self::WrongDirection => f.write_str("not for a session of this direction"),
            Self::TokenExists => f.write_str("the token is in use"),
            Self::NoToken => f.write_str("no file with this token"),
            Self::AlreadyPreserved => f.write_str("the object is preserved already"),
            Self::NoHandler => f.write_str("no handler for this file"),
            Self::Full => f.write_str("the handover format has no more room"),
            Self::Prepared => f.write_str("prepared for the update"),
            Self::Frozen => f.write_str("frozen for the update"),
            Self::SessionFrozen => f.write_str("the session is frozen before the others"),
            Self::Veto {
                token,
                handler,
                errno,
            } => write!(
                f,
                "handler {handler} does not freeze token {token:#x}: {errno}"
            ),
            Self::NeededFirst { token, by } => write!(
                f,
                "token {token:#x} is needed by {by}, which is to be frozen first"
            ),
            Self::Misses { token, on } => {
                write!(f, "token {token:#x} needs {on}, which is not there")
            }
            Self::Illegal { event, state } => write!(f, "no {event} in state {state}"),
            Self::NotUpdated => f.write_str("nothing to restore in this state"),
            Self::AlreadyRestored => f.write_str("the file is restored already"),
            Self::TooManyDependencies => f.write_str("as many dependencies as there may be"),
            Self::TooDense => f.write_str("too many dependencies to go along in one call"),
            Self::DependencyCycle => f.write_str("the file would need itself"),
            Self::DependencyExists => f.write_str("the dependency is declared already"),
            Self::NoDependency => f.write_str("no such dependency"),
            Self::Needed { token, by } => {
                write!(
                    f,
                    "token {token:#x} is needed by {by}, which is not finished"
                )
            }
            Self::DependencyFailed { on, errno } => {
                write!(f, "{on}, which is needed, cannot be restored: {errno}")
            }
            Self::Lost(errno) => write!(f, "lost in the reboot: {errno}"),
            Self::NotCarried(on) => write!(f, "{on}, which is needed, is not carried on"),
            Self::UserHasIt => f.write_str("its user has it back, and closed its session"),
            Self::Stale => f.write_str("the entry to go on from is gone"),
            Self::CannotFinish { token, handler } => {
                write!(f, "handler {handler} does not let go of token {token:#x}")
            }
            Self::NameTaken => f.write_str("the name is registered already"),
            Self::NotRegistered => f.write_str("not registered"),
            Self::OwnerGone => f.write_str("the owner of the callbacks is going away"),
            Self::NoData => f.write_str("nothing was handed over"),
            Self::NoFlb => f.write_str("no FLB of this name"),
            Self::Refused(why) => write!(f, "handover refused: {why}"),
            Self::NotReady => f.write_str("not set up yet"),
            Self::Inconsistent => f.write_str("internal books disagree (a bug)"),
            Self::Host(errno) => write!(f, "{errno}"),
        }
    }
}

impl From<OutOfMemory> for Error {
    fn from(_: OutOfMemory) -> Self {
        Self::NoMemory
    }
}

impl From<TextError> for Error {
    fn from(why: TextError) -> Self {
        Self::BadName(why)
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::Host(errno)
    }
}

impl From<Refusal> for Error {
    fn from(why: Refusal) -> Self {
        Self::Refused(why)
    }
}
