// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The machine as a whole: how it stands, and the last failure.

use luo_abi::bytes;
use luo_abi::contract::{
    Failure as FailureInfo, Info, CAUSE_BUSY, CAUSE_CARRY, CAUSE_DEPENDENCY, CAUSE_HANDLER,
    CAUSE_IMAGE, CAUSE_INTERNAL, CAUSE_NONE, CAUSE_SUBSYSTEM, EVENT_REBOOT, FEATURE_ACCESS_MODE,
    FEATURE_CARRY, FEATURE_DEPENDENCIES, FEATURE_RFC, FEATURE_SESSION_FREEZE, FEATURE_SUBSYSTEMS,
    LOST_UNREAD,
};
use luo_abi::handover::{COMPATIBLE, MAX_FILES_PER_SESSION, MAX_SESSIONS};
use luo_abi::supplement::{self, MAX_RECORDS, MAX_SUBSYSTEMS};
use zerocopy::FromZeros;

use crate::engine::Engine;
use crate::error::Error;
use crate::failure::{Failure, LastFailure};
use crate::file_name::FileName;
use crate::host::Host;
use crate::losses::Losses;
use crate::owner::Actor;
use crate::query::entries::{count32, on_device};
use crate::session::Direction;

/// A name in the room of a fixed size.
fn in_room<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut room = [0; N];
    // The last byte stays the terminator.
    if let Some(to) = room.get_mut(..N.saturating_sub(1)) {
        bytes::copy(to, text);
    }
    room
}

impl<H: Host> Engine<H> {
    /// How everything stands; the counts are of what the caller is shown. `implementation`
    /// names the host; `features` are those that the host adds to the engine's.
    #[must_use]
    pub fn info(&self, by: Actor, implementation: &str, features: u64) -> Info {
        // The owner of a lost file is not recorded.
        let lost = match by {
            Actor::Administrator => self.lost_before,
            Actor::User(_) => Losses::NONE,
        };
        Info {
            size: count32(size_of::<Info>()),
            state: self.state() as u32,
            update_count: self.update_number,
            state_changes: self.state_changes(),
            features: FEATURE_RFC
                | FEATURE_DEPENDENCIES
                | FEATURE_SUBSYSTEMS
                | FEATURE_CARRY
                | FEATURE_ACCESS_MODE
                | FEATURE_SESSION_FREEZE
                | features,
            outgoing: self.count_for(by, Direction::Outgoing),
            incoming: self.count_for(by, Direction::Incoming),
            unclaimed: self.unclaimed_for(by),
            files: self.files_for(by),
            max_sessions: count32(MAX_SESSIONS),
            max_files_per_session: count32(MAX_FILES_PER_SESSION),
            max_records: count32(MAX_RECORDS),
            max_subsystems: count32(MAX_SUBSYSTEMS),
            handover_abi: in_room(&COMPATIBLE),
            contract_abi: supplement::COMPATIBLE,
            implementation: in_room(implementation.as_bytes()),
            lost_files: lost.files,
            lost_sessions: lost.sessions,
            lost_subsystems: u32::try_from(lost.subsystems).unwrap_or(u32::MAX),
            lost_flags: if lost.unread { LOST_UNREAD } else { 0 },
        }
    }

    /// The last transition that failed, in the words of the ABI.
    #[must_use]
    pub fn failure_info(&self) -> FailureInfo {
        let mut info = FailureInfo::new_zeroed();
        info.size = count32(size_of::<FailureInfo>());
        info.cause = CAUSE_NONE;
        let Some(LastFailure {
            event,
            failure,
            sequence,
        }) = self.last_failure()
        else {
            return info;
        };
        info.event = event.map_or(EVENT_REBOOT, |event| event as u32);
        info.error = failure.errno().get().unsigned_abs();
        info.sequence = *sequence;
        let mut name_file = |file: &FileName| {
            info.session = *file.session.room();
            info.token = file.token;
        };
        match failure {
            Failure::Handler { file, handler, .. } => {
                name_file(file);
                info.cause = CAUSE_HANDLER;
                info.participant = *handler.room();
            }
            Failure::Subsystem { name, .. } => {
                info.cause = CAUSE_SUBSYSTEM;
                info.participant = *name.room();
            }
            Failure::Dependency { file, on } => {
                name_file(file);
                info.cause = CAUSE_DEPENDENCY;
                info.on_session = *on.session.room();
                info.on_token = on.token;
                info.on_flags = on_device(on.of_device);
            }
            Failure::Carry {
                session,
                token,
                why,
            } => {
                info.cause = CAUSE_CARRY;
                info.session = *session.room();
                info.token = token.unwrap_or(0);
                if let Error::NeverHandled(handler) = why {
                    info.participant = *handler.room();
                }
                if let Error::NotCarried(on) | Error::DependencyFailed { on, .. } = why {
                    info.on_session = *on.session.room();
                    info.on_token = on.token;
                    info.on_flags = on_device(on.of_device);
                }
            }
            Failure::UnderWay { file } => {
                name_file(file);
                info.cause = CAUSE_BUSY;
            }
            Failure::Image { .. } => info.cause = CAUSE_IMAGE,
            Failure::Engine(Error::Busy(session)) => {
                info.cause = CAUSE_BUSY;
                if let Some(session) = session {
                    info.session = *session.room();
                }
            }
            Failure::Engine(_) => info.cause = CAUSE_INTERNAL,
        }
        info
    }
}
