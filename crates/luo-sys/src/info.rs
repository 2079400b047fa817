// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the orchestrator says about itself.

use luo_abi::contract;
use luo_abi::errno::Errno;
use luo_abi::rfc::{Event, State};

use crate::entry::numbers;
use crate::name::{SessionName, Token};
use crate::text::{errno, session, text};

/// How the orchestrator stands: the answer of `GET_INFO`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The state; `None` if this version does not know its number.
    pub state: Option<State>,
    /// Live updates that brought the machine here, 0 after a cold boot.
    pub update_count: u64,
    /// Changes of state since boot.
    pub state_changes: u64,
    /// `FEATURE_*` of [`luo_abi::contract`].
    pub features: u64,
    /// Outgoing sessions.
    pub outgoing: u64,
    /// Incoming sessions.
    pub incoming: u64,
    /// Incoming sessions that nobody has claimed.
    pub unclaimed: u64,
    /// Files in all sessions.
    pub files: u64,
    /// The most sessions there can be.
    pub max_sessions: u32,
    /// The most files a session can have.
    pub max_files_per_session: u32,
    /// The most records of all kinds that travel beside mainline's.
    pub max_records: u32,
    /// The most subsystems.
    pub max_subsystems: u32,
    /// The handover format, for example `luo-v5`.
    pub handover_abi: String,
    /// The format of what travels beside it.
    pub supplement_abi: String,
    /// Name and version of the implementation.
    pub implementation: String,
    /// Files that the reboot which brought the machine here could not hand over.
    pub lost_files: u64,
    /// The same for whole sessions.
    pub lost_sessions: u64,
    /// The same for subsystems.
    pub lost_subsystems: u32,
    /// There were sessions that could not be read, and so are lost.
    pub lost_unread: bool,
}

impl From<contract::Info> for Info {
    fn from(info: contract::Info) -> Self {
        Self {
            state: State::from_number(info.state),
            update_count: info.update_count,
            state_changes: info.state_changes,
            features: info.features,
            outgoing: info.outgoing,
            incoming: info.incoming,
            unclaimed: info.unclaimed,
            files: info.files,
            max_sessions: info.max_sessions,
            max_files_per_session: info.max_files_per_session,
            max_records: info.max_records,
            max_subsystems: info.max_subsystems,
            handover_abi: text(&info.handover_abi),
            supplement_abi: text(&info.contract_abi),
            implementation: text(&info.implementation),
            lost_files: info.lost_files,
            lost_sessions: info.lost_sessions,
            lost_subsystems: info.lost_subsystems,
            lost_unread: info.lost_flags & contract::LOST_UNREAD != 0,
        }
    }
}

numbers! {
    /// What a transition failed for.
    Cause {
        /// No transition has failed.
        None = contract::CAUSE_NONE,
        /// A file's handler said no.
        Handler = contract::CAUSE_HANDLER,
        /// A subsystem said no.
        Subsystem = contract::CAUSE_SUBSYSTEM,
        /// A file needs another that is not there.
        Dependency = contract::CAUSE_DEPENDENCY,
        /// A session that nobody claimed cannot be carried on.
        Carry = contract::CAUSE_CARRY,
        /// The orchestrator itself could not.
        Internal = contract::CAUSE_INTERNAL,
        /// The image that is loaded takes nothing over.
        Image = contract::CAUSE_IMAGE,
        /// Something is under way and does not end: a call on the session that is named,
        /// or else another transition.
        Busy = contract::CAUSE_BUSY,
    }
}

numbers! {
    /// What was tried when a transition failed.
    Tried {
        /// [`Event::Prepare`].
        Prepare = PREPARE,
        /// [`Event::Freeze`].
        Freeze = FREEZE,
        /// [`Event::Finish`].
        Finish = FINISH,
        /// [`Event::Cancel`].
        Cancel = CANCEL,
        /// The reboot system call, before prepare and freeze.
        Reboot = contract::EVENT_REBOOT,
    }
}

const PREPARE: u32 = Event::Prepare as u32;
const FREEZE: u32 = Event::Freeze as u32;
const FINISH: u32 = Event::Finish as u32;
const CANCEL: u32 = Event::Cancel as u32;

/// Why the last transition failed: the answer of `GET_FAILURE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was tried.
    pub event: Tried,
    /// What it ended with.
    pub error: Option<Errno>,
    /// Who or what failed it.
    pub cause: Cause,
    /// Counts failures since boot.
    pub sequence: u64,
    /// The file, if it is about one.
    pub token: Token,
    /// Its session.
    pub session: Option<SessionName>,
    /// The file it needs.
    pub on_token: Token,
    /// The session of that.
    pub on_session: Option<SessionName>,
    /// Whether `on_token` alone names the file: it was registered on a device.
    pub on_device: bool,
    /// The handler or the subsystem.
    pub participant: String,
}

impl From<contract::Failure> for Failure {
    fn from(failure: contract::Failure) -> Self {
        Self {
            event: failure.event.into(),
            error: errno(failure.error),
            cause: failure.cause.into(),
            sequence: failure.sequence,
            token: Token(failure.token),
            session: session(&failure.session),
            on_token: Token(failure.on_token),
            on_session: session(&failure.on_session),
            on_device: failure.on_flags & contract::DEPENDENCY_ON_DEVICE != 0,
            participant: text(&failure.participant),
        }
    }
}
