// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Calls that neither mainline nor the RFC has: numbers 0x80 and up.
//!
//! `_IO` commands of type 0xBA; each argument begins with its size and grows by
//! the rules of [`crate::extend`]. For C: `include/uapi/linux/liveupdate_contract.h`.
//!
//! | call | on | number | structure |
//! |---|---|---|---|
//! | [`UNPRESERVE_FD`] | session | 0x80 | [`UnpreserveFd`] |
//! | [`ADD_DEPENDENCY`] | session, device | 0x81 | [`Dependency`] |
//! | [`DROP_DEPENDENCY`] | session, device | 0x82 | [`Dependency`] |
//! | [`LIST_FILES`] | session, device | 0x83 | [`List`] of [`FileInfo`] |
//! | [`LIST_DEPENDENCIES`] | session, device | 0x84 | [`List`] of [`DependencyInfo`] |
//! | [`LIST_SESSIONS`] | device | 0x85 | [`List`] of [`SessionInfo`] |
//! | [`GET_INFO`] | device | 0x86 | [`Info`] |
//! | [`LIST_PARTICIPANTS`] | device | 0x87 | [`List`] of [`ParticipantInfo`] |
//! | [`GET_FAILURE`] | device | 0x88 | [`Failure`] |
//! | [`SESSION_FREEZE`] | session | 0x89 | [`SessionFreeze`] |
//!
//! On the device, the calls on files mean those of the open instance: what was
//! registered through [`crate::rfc::FD_PRESERVE`] on this very descriptor. With
//! [`LIST_INCOMING`], [`LIST_FILES`] there lists what was registered on the device in
//! the previous kernel.

use core::mem::size_of;
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::handover::COMPAT_LENGTH;
use crate::uapi::{Argument, IOCTL_TYPE, SESSION_NAME_LENGTH};

const fn io(number: u32) -> u32 {
    (IOCTL_TYPE << 8) | number
}

/// Takes one file back out of an outgoing session; argument [`UnpreserveFd`].
pub const UNPRESERVE_FD: u32 = io(0x80);
/// Declares that a file needs another; argument [`Dependency`].
pub const ADD_DEPENDENCY: u32 = io(0x81);
/// Takes that back; argument [`Dependency`].
pub const DROP_DEPENDENCY: u32 = io(0x82);
/// Lists the files of a session; argument [`List`].
pub const LIST_FILES: u32 = io(0x83);
/// Lists what one file needs; argument [`List`].
pub const LIST_DEPENDENCIES: u32 = io(0x84);
/// Lists all sessions; argument [`List`].
pub const LIST_SESSIONS: u32 = io(0x85);
/// Says what this orchestrator is and how it stands; argument [`Info`].
pub const GET_INFO: u32 = io(0x86);
/// Lists file handlers, FLBs and subsystems; argument [`List`].
pub const LIST_PARTICIPANTS: u32 = io(0x87);
/// Says why the last transition failed; argument [`Failure`].
pub const GET_FAILURE: u32 = io(0x88);

/// Freezes an outgoing session before all others are; argument [`SessionFreeze`]. Name, argument
/// and meaning are those of `LIVEUPDATE_SESSION_FREEZE` as it was proposed for mainline in October
/// 2026. Its number there is not settled, so this one is the project's own.
pub const SESSION_FREEZE: u32 = io(0x89);

/// Argument of [`UNPRESERVE_FD`]: 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct UnpreserveFd {
    /// In: bytes of this structure as the program knows it.
    pub size: u32,
    /// In: must be zero.
    pub reserved: u32,
    /// In: the token.
    pub token: u64,
}

/// Argument of [`SESSION_FREEZE`]: 8 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SessionFreeze {
    /// In: bytes of this structure as the program knows it.
    pub size: u32,
    /// In: must be zero.
    pub reserved: u32,
}

/// [`Dependency::flags`], [`DependencyInfo::flags`]: the file that is needed was
/// registered on the device, and `on_token` alone names it.
pub const DEPENDENCY_ON_DEVICE: u32 = 1;

/// [`Dependency::flags`]: the file that is needed is in the outgoing session of which
/// `session_fd` is a descriptor. To show it is the way to have a file need one of a session
/// that is not the caller's own.
pub const DEPENDENCY_BY_DESCRIPTOR: u32 = 2;

/// Argument of [`ADD_DEPENDENCY`] and [`DROP_DEPENDENCY`]: 96 bytes, the first form 88.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Dependency {
    /// In: bytes of this structure as the program knows it.
    pub size: u32,
    /// In: 0, [`DEPENDENCY_ON_DEVICE`] or [`DEPENDENCY_BY_DESCRIPTOR`].
    pub flags: u32,
    /// In: the file that needs the other; of this descriptor's session.
    pub token: u64,
    /// In: the file that is needed.
    pub on_token: u64,
    /// In: the outgoing session it is in, as the caller calls it; all zero for this
    /// descriptor's own, and with a flag.
    pub on_session: [u8; SESSION_NAME_LENGTH],
    /// In: a descriptor of the session it is in, with [`DEPENDENCY_BY_DESCRIPTOR`]; else
    /// zero.
    pub session_fd: i32,
    /// In: must be zero.
    pub reserved: u32,
}

/// [`List::flags`] of [`LIST_SESSIONS`]: those for the next kernel.
pub const LIST_OUTGOING: u32 = 1;
/// [`List::flags`] of [`LIST_SESSIONS`], and of [`LIST_FILES`] on the device: those
/// of the previous kernel.
pub const LIST_INCOMING: u32 = 2;

/// Argument of all calls that list: 56 bytes.
///
/// Call again with the cursor of the answer until it is 0. ESTALE says that the
/// entry at the cursor is gone: begin anew.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct List {
    /// In: bytes of this structure as the program knows it.
    pub size: u32,
    /// In: what to list, where the call says so; else zero.
    pub flags: u32,
    /// In: 0 to begin, then what the last answer said. Out: 0 at the end.
    pub cursor: u64,
    /// In: address of an array of entries.
    pub entries: u64,
    /// In: bytes of one entry as the program knows it, at least its first form.
    /// More than the kernel knows are filled with zeros.
    pub entry_size: u32,
    /// In: entries the array has room for.
    pub capacity: u32,
    /// Out: entries written.
    pub count: u32,
    /// In: must be zero.
    pub reserved: u32,
    /// Out: entries there are altogether, as of this call.
    pub total: u64,
    /// In: the file, for [`LIST_DEPENDENCIES`]; else zero.
    pub token: u64,
}

/// [`FileInfo::status`]: a call on it is under way.
pub const FILE_BUSY: u32 = 0;
/// Registered on the device; preserved at prepare.
pub const FILE_REGISTERED: u32 = 1;
/// Preserved.
pub const FILE_PRESERVED: u32 = 2;
/// Frozen.
pub const FILE_FROZEN: u32 = 3;
/// Came from the previous kernel; nobody has asked for it.
pub const FILE_INCOMING: u32 = 4;
/// Restored.
pub const FILE_RETRIEVED: u32 = 5;
/// Its handler could not restore it; [`FileInfo::error`] says why.
pub const FILE_FAILED: u32 = 6;
/// [`DependencyInfo::status`] only: it is not there any more.
pub const FILE_MISSING: u32 = 7;
/// A reboot could not hand it over; [`FileInfo::error`] says why.
pub const FILE_LOST: u32 = 8;

/// One file: 80 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FileInfo {
    /// Its token.
    pub token: u64,
    /// Bytes of memory it keeps over the update; 0 if not known.
    pub bytes: u64,
    /// One of `FILE_*`.
    pub status: u32,
    /// An error number, positive, or 0. Of a file that is [`FILE_INCOMING`]: EAGAIN, it waits
    /// for its handler, which is not here yet; ENOTCONN, it was asked for and needs one of another
    /// session that is not restored; [`LIST_DEPENDENCIES`] shows which. Of one that is
    /// [`FILE_PRESERVED`]: its handler's veto, because of which [`SESSION_FREEZE`] has failed.
    pub error: u32,
    /// Files it needs.
    pub dependencies: u32,
    /// Files that need it.
    pub dependents: u32,
    /// The handler's name, zero-terminated.
    pub handler: [u8; COMPAT_LENGTH],
}

/// One file that another needs: 80 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct DependencyInfo {
    /// Its token.
    pub token: u64,
    /// One of `FILE_*`.
    pub status: u32,
    /// 0 or [`DEPENDENCY_ON_DEVICE`].
    pub flags: u32,
    /// The session it is in, zero-terminated.
    pub session: [u8; SESSION_NAME_LENGTH],
}

/// [`SessionInfo::state`]: outgoing, held by a descriptor.
pub const SESSION_OPEN: u32 = 1;
/// Outgoing, its descriptor is closed; goes with a cancel, or over with the kexec.
pub const SESSION_CLOSED: u32 = 2;
/// Incoming; nobody has asked for it.
pub const SESSION_UNCLAIMED: u32 = 3;
/// Incoming, held by a descriptor.
pub const SESSION_CLAIMED: u32 = 4;
/// Incoming, closed, and a handler does not let go of a file.
pub const SESSION_UNFINISHED: u32 = 5;

/// [`SessionInfo::flags`]: the files of one open instance of the device.
pub const SESSION_OF_DEVICE: u32 = 1;
/// The same: outgoing, and frozen by [`SESSION_FREEZE`].
pub const SESSION_FROZEN: u32 = 2;

/// One session: 96 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SessionInfo {
    /// Files in it.
    pub files: u64,
    /// Bytes of memory they keep over the update, as far as known.
    pub bytes: u64,
    /// [`LIST_OUTGOING`] or [`LIST_INCOMING`].
    pub direction: u32,
    /// One of `SESSION_*`.
    pub state: u32,
    /// [`SESSION_OF_DEVICE`], [`SESSION_FROZEN`], or 0.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
    /// Its name, zero-terminated.
    pub name: [u8; SESSION_NAME_LENGTH],
}

/// [`ParticipantInfo::kind`]: handles files of a type.
pub const PARTICIPANT_FILE_HANDLER: u32 = 1;
/// State that files of a type share.
pub const PARTICIPANT_FLB: u32 = 2;
/// A subsystem.
pub const PARTICIPANT_SUBSYSTEM: u32 = 3;
/// A file handler that is not here, for which files of the previous kernel wait.
pub const PARTICIPANT_AWAITED: u32 = 4;

/// One participant: 64 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ParticipantInfo {
    /// Files it has a part in.
    pub files: u64,
    /// One of `PARTICIPANT_*`.
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// Its name, zero-terminated.
    pub name: [u8; COMPAT_LENGTH],
}

/// [`Info::features`]: the calls of [`crate::rfc`].
pub const FEATURE_RFC: u64 = 1;
/// Dependencies between files.
pub const FEATURE_DEPENDENCIES: u64 = 2;
/// Subsystems can take part.
pub const FEATURE_SUBSYSTEMS: u64 = 4;
/// Sessions that nobody claimed are carried on by the next update.
pub const FEATURE_CARRY: u64 = 8;
/// The device can be polled for a change of state.
pub const FEATURE_POLL: u64 = 16;
/// More than one may have the device open.
pub const FEATURE_MANY_OPENERS: u64 = 32;
/// The access mode of a file comes back as it was.
pub const FEATURE_ACCESS_MODE: u64 = 64;
/// One session can be frozen before the others.
pub const FEATURE_SESSION_FREEZE: u64 = 128;

/// Argument of [`GET_INFO`]: 208 bytes, the first form 184.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Info {
    /// In: bytes of this structure as the program knows it.
    pub size: u32,
    /// Out: the state, see [`crate::rfc::State`].
    pub state: u32,
    /// Out: live updates that brought the machine here, 0 after a cold boot.
    pub update_count: u64,
    /// Out: changes of state since boot.
    pub state_changes: u64,
    /// Out: `FEATURE_*`.
    pub features: u64,
    /// Out: outgoing sessions now.
    pub outgoing: u64,
    /// Out: incoming sessions now.
    pub incoming: u64,
    /// Out: incoming sessions that nobody has claimed.
    pub unclaimed: u64,
    /// Out: files in all sessions.
    pub files: u64,
    /// Out: the most sessions there can be.
    pub max_sessions: u32,
    /// Out: the most files a session can have.
    pub max_files_per_session: u32,
    /// Out: the most records of files, dependencies, subsystems, sessions of the device,
    /// and sessions that are not root's or are closed, together.
    pub max_records: u32,
    /// Out: the most subsystems.
    pub max_subsystems: u32,
    /// Out: the handover format, zero-terminated: `luo-v5`.
    pub handover_abi: [u8; 16],
    /// Out: the format of the supplement, which this orchestrator hands over beside it. The
    /// supplement was called contract when this structure was made.
    pub contract_abi: [u8; 16],
    /// Out: name and version of the implementation, zero-terminated.
    pub implementation: [u8; 72],
    /// Out: files that the reboot which brought the machine here could not hand over.
    pub lost_files: u64,
    /// Out: the same for whole sessions.
    pub lost_sessions: u64,
    /// Out: the same for subsystems.
    pub lost_subsystems: u32,
    /// Out: [`LOST_UNREAD`] or 0.
    pub lost_flags: u32,
}

/// [`Info::lost_flags`]: there were sessions that could not be read; nobody knows how
/// many.
pub const LOST_UNREAD: u32 = 1;

/// [`Failure::cause`]: no transition has failed.
pub const CAUSE_NONE: u32 = 0;
/// A file's handler said no; `session`, `token`, `participant` name it.
pub const CAUSE_HANDLER: u32 = 1;
/// A subsystem said no; `participant` names it.
pub const CAUSE_SUBSYSTEM: u32 = 2;
/// A file needs another that is not there; both are named.
pub const CAUSE_DEPENDENCY: u32 = 3;
/// A session that nobody claimed cannot be carried on.
pub const CAUSE_CARRY: u32 = 4;
/// The orchestrator itself could not, for example for lack of memory.
pub const CAUSE_INTERNAL: u32 = 5;
/// The image that is loaded takes nothing over.
pub const CAUSE_IMAGE: u32 = 6;
/// Something is under way and does not end: a call on `session`, or, if it is empty,
/// another transition.
pub const CAUSE_BUSY: u32 = 7;

/// [`Failure::event`]: the reboot system call, before prepare and freeze.
pub const EVENT_REBOOT: u32 = 4;

/// Argument of [`GET_FAILURE`]: 224 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Failure {
    /// In: bytes of this structure as the program knows it.
    pub size: u32,
    /// Out: the event, see [`crate::rfc::Event`], or [`EVENT_REBOOT`].
    pub event: u32,
    /// Out: the error number it ended with, positive; 0 if none has failed.
    pub error: u32,
    /// Out: one of `CAUSE_*`.
    pub cause: u32,
    /// Out: counts failures since boot.
    pub sequence: u64,
    /// Out: the file, if it is about one.
    pub token: u64,
    /// Out: the file it needs, for [`CAUSE_DEPENDENCY`].
    pub on_token: u64,
    /// Out: the file's session, zero-terminated.
    pub session: [u8; SESSION_NAME_LENGTH],
    /// Out: the session of the file it needs.
    pub on_session: [u8; SESSION_NAME_LENGTH],
    /// Out: the handler or the subsystem.
    pub participant: [u8; COMPAT_LENGTH],
    /// Out: [`DEPENDENCY_ON_DEVICE`] if `on_token` alone names the file.
    pub on_flags: u32,
    /// Zero.
    pub reserved: u32,
}

/// The word for a [`FileInfo::status`], in fdinfo and in messages.
#[must_use]
pub const fn file_status_word(status: u32) -> &'static str {
    match status {
        FILE_REGISTERED => "registered",
        FILE_PRESERVED => "preserved",
        FILE_FROZEN => "frozen",
        FILE_INCOMING => "incoming",
        FILE_RETRIEVED => "retrieved",
        FILE_FAILED => "failed",
        FILE_MISSING => "missing",
        FILE_LOST => "lost",
        _ => "busy",
    }
}

/// The word for a [`SessionInfo::state`].
#[must_use]
pub const fn session_state_word(state: u32) -> &'static str {
    match state {
        SESSION_OPEN => "open",
        SESSION_CLOSED => "closed",
        SESSION_UNCLAIMED => "unclaimed",
        SESSION_CLAIMED => "claimed",
        _ => "unfinished",
    }
}

/// The word for a [`SessionInfo::direction`].
#[must_use]
pub const fn direction_word(direction: u32) -> &'static str {
    match direction {
        LIST_OUTGOING => "outgoing",
        _ => "incoming",
    }
}

macro_rules! sizes {
    ($($name:ident: $size:literal;)*) => {
        $(const _: () = assert!(size_of::<$name>() == $size);)*
    };
}

/// Sizes of arguments: of the first form, and now.
macro_rules! arguments {
    ($($name:ident: $first:literal, $size:literal;)*) => {
        $(impl Argument for $name {
            const MIN_SIZE: usize = $first;
        })*
        sizes! { $($name: $size;)* }
    };
}

arguments! {
    UnpreserveFd: 16, 16;
    SessionFreeze: 8, 8;
    Dependency: 88, 96;
    List: 56, 56;
    Info: 184, 208;
    Failure: 224, 224;
}

sizes! {
    FileInfo: 80;
    DependencyInfo: 80;
    SessionInfo: 96;
    ParticipantInfo: 64;
}
