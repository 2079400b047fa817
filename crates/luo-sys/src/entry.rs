// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the lists list, in types.

use luo_abi::contract::{self, DependencyInfo, FileInfo, ParticipantInfo, SessionInfo};
use luo_abi::errno::Errno;

use crate::name::{SessionName, Token};
use crate::text::{errno, session, text};

/// An enum of the ABI's numbers that keeps those it does not know.
macro_rules! numbers {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $number:path,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
            /// A number that this version does not know.
            Unknown(u32),
        }

        impl From<u32> for $name {
            fn from(number: u32) -> Self {
                match number {
                    $($number => Self::$variant,)*
                    other => Self::Unknown(other),
                }
            }
        }
    };
}
pub(crate) use numbers;

numbers! {
    /// How a file stands.
    FileStatus {
        /// A call on it is under way.
        Busy = contract::FILE_BUSY,
        /// Registered on the device; preserved at prepare.
        Registered = contract::FILE_REGISTERED,
        /// Preserved.
        Preserved = contract::FILE_PRESERVED,
        /// Frozen.
        Frozen = contract::FILE_FROZEN,
        /// Came from the previous kernel; nobody has asked for it.
        Incoming = contract::FILE_INCOMING,
        /// Restored.
        Retrieved = contract::FILE_RETRIEVED,
        /// Its handler could not restore it.
        Failed = contract::FILE_FAILED,
        /// Needed by another, and not there any more.
        Missing = contract::FILE_MISSING,
        /// The reboot could not hand it over.
        Lost = contract::FILE_LOST,
    }
}

numbers! {
    /// How a session stands.
    SessionState {
        /// Outgoing, held by a descriptor.
        Open = contract::SESSION_OPEN,
        /// Outgoing, closed; goes with a cancel, or over with the kexec.
        Closed = contract::SESSION_CLOSED,
        /// Incoming; nobody has asked for it.
        Unclaimed = contract::SESSION_UNCLAIMED,
        /// Incoming, held by a descriptor.
        Claimed = contract::SESSION_CLAIMED,
        /// Incoming, closed, and a file of it is not let go.
        Unfinished = contract::SESSION_UNFINISHED,
    }
}

numbers! {
    /// Which way a session goes.
    Direction {
        /// To the next kernel.
        Outgoing = contract::LIST_OUTGOING,
        /// From the previous one.
        Incoming = contract::LIST_INCOMING,
    }
}

numbers! {
    /// What takes part in a live update.
    ParticipantKind {
        /// Handles files of a type.
        FileHandler = contract::PARTICIPANT_FILE_HANDLER,
        /// State that files of a type share.
        Flb = contract::PARTICIPANT_FLB,
        /// A subsystem.
        Subsystem = contract::PARTICIPANT_SUBSYSTEM,
        /// A file handler that is not here, for which files of the previous kernel wait.
        Awaited = contract::PARTICIPANT_AWAITED,
    }
}

/// A file of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Its token.
    pub token: Token,
    /// Bytes of memory it keeps over the update; 0 if not known.
    pub bytes: u64,
    /// How it stands.
    pub status: FileStatus,
    /// Why it failed, if it did; of one that is [`FileStatus::Incoming`], why it waits: EAGAIN
    /// for its handler, ENOTCONN for a file of another session; of one that is
    /// [`FileStatus::Preserved`], its handler's veto because of which [`crate::Session::freeze`]
    /// has failed.
    pub error: Option<Errno>,
    /// Files it needs.
    pub dependencies: u32,
    /// Files that need it.
    pub dependents: u32,
    /// Its handler.
    pub handler: String,
}

impl From<FileInfo> for FileEntry {
    fn from(info: FileInfo) -> Self {
        Self {
            token: Token(info.token),
            bytes: info.bytes,
            status: info.status.into(),
            error: errno(info.error),
            dependencies: info.dependencies,
            dependents: info.dependents,
            handler: text(&info.handler),
        }
    }
}

/// A file that another needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DependencyEntry {
    /// Its token.
    pub token: Token,
    /// How it stands.
    pub status: FileStatus,
    /// Whether it was registered on a device.
    pub on_device: bool,
    /// The session it is in.
    pub session: Option<SessionName>,
}

impl From<DependencyInfo> for DependencyEntry {
    fn from(info: DependencyInfo) -> Self {
        Self {
            token: Token(info.token),
            status: info.status.into(),
            on_device: info.flags & contract::DEPENDENCY_ON_DEVICE != 0,
            session: session(&info.session),
        }
    }
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEntry {
    /// Its name.
    pub name: Option<SessionName>,
    /// Files in it.
    pub files: u64,
    /// Bytes of memory they keep over the update, as far as known.
    pub bytes: u64,
    /// Which way it goes.
    pub direction: Direction,
    /// How it stands.
    pub state: SessionState,
    /// Whether it holds the files of an open instance of the device.
    pub of_device: bool,
    /// Whether it is frozen before the others, by [`crate::Session::freeze`].
    pub frozen: bool,
}

impl From<SessionInfo> for SessionEntry {
    fn from(info: SessionInfo) -> Self {
        Self {
            name: session(&info.name),
            files: info.files,
            bytes: info.bytes,
            direction: info.direction.into(),
            state: info.state.into(),
            of_device: info.flags & contract::SESSION_OF_DEVICE != 0,
            frozen: info.flags & contract::SESSION_FROZEN != 0,
        }
    }
}

/// A participant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantEntry {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ParticipantKind,
    /// Files it has a part in.
    pub files: u64,
}

impl From<ParticipantInfo> for ParticipantEntry {
    fn from(info: ParticipantInfo) -> Self {
        Self {
            name: text(&info.name),
            kind: info.kind.into(),
            files: info.files,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    #[test]
    fn unknown_numbers_are_kept() {
        assert_eq!(FileStatus::from(3), FileStatus::Frozen);
        assert_eq!(FileStatus::from(99), FileStatus::Unknown(99));
        assert_eq!(SessionState::from(0), SessionState::Unknown(0));
    }

    #[test]
    fn an_entry_is_read_from_the_bytes_of_the_kernel() {
        let mut info = FileInfo::new_zeroed();
        info.token = 7;
        info.status = contract::FILE_FAILED;
        info.error = 27;
        info.handler[..8].copy_from_slice(b"forge-v1");
        let entry = FileEntry::from(info);
        assert_eq!(entry.error, Some(Errno::EFBIG));
        assert_eq!(entry.handler, "forge-v1");
    }
}
