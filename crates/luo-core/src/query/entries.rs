// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! One entry of a list: a session or a file, in the words of the ABI.

use luo_abi::contract::{
    FileInfo, SessionInfo, DEPENDENCY_ON_DEVICE, FILE_BUSY, FILE_FAILED, FILE_FROZEN,
    FILE_INCOMING, FILE_LOST, FILE_MISSING, FILE_PRESERVED, FILE_REGISTERED, FILE_RETRIEVED,
    LIST_INCOMING, LIST_OUTGOING, SESSION_CLAIMED, SESSION_CLOSED, SESSION_FROZEN,
    SESSION_OF_DEVICE, SESSION_OPEN, SESSION_UNCLAIMED, SESSION_UNFINISHED,
};

use luo_abi::errno::Errno;

use crate::engine::Engine;
use crate::host::Host;
use crate::id::{FileId, SessionId};
use crate::owner::Owner;
use crate::session::{Direction, Early, FileWay, Progress, Session, Stage, Way};

/// A count as far as 32 bits show it.
pub(crate) fn count32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

pub(crate) const fn on_device(of_device: bool) -> u32 {
    if of_device {
        DEPENDENCY_ON_DEVICE
    } else {
        0
    }
}

impl<H: Host> Engine<H> {
    /// One session, in the words of the ABI.
    #[must_use]
    pub fn describe_session(&self, id: SessionId) -> Option<SessionInfo> {
        self.sessions
            .get(id)
            .map(|session| self.session_entry(session))
    }

    pub(crate) fn session_entry(&self, session: &Session<H>) -> SessionInfo {
        SessionInfo {
            files: session.files.len as u64,
            bytes: u64::try_from(session.bytes).unwrap_or(u64::MAX),
            direction: match session.direction() {
                Direction::Outgoing => LIST_OUTGOING,
                Direction::Incoming => LIST_INCOMING,
            },
            state: match &session.way {
                Way::Outgoing(way) if session.orphan || way.undone || way.carries.is_some() => {
                    SESSION_CLOSED
                }
                Way::Outgoing(_) => SESSION_OPEN,
                Way::Incoming(_) if session.is_closed_pending() => SESSION_UNFINISHED,
                Way::Incoming(_) if session.is_unclaimed() => SESSION_UNCLAIMED,
                Way::Incoming(_) => SESSION_CLAIMED,
            },
            flags: match session.owner {
                Owner::Device => SESSION_OF_DEVICE,
                Owner::Root | Owner::User(_) | Owner::Nobody => 0,
            } | match &session.way {
                Way::Outgoing(way) if way.early == Early::Frozen => SESSION_FROZEN,
                _ => 0,
            },
            reserved: 0,
            name: *session.name.room(),
        }
    }

    pub(crate) fn file_entry(&self, id: FileId) -> Option<FileInfo> {
        let file = self.files.get(id)?;
        let (status, error) = self.status_of(id);
        let handler = file.handler.and_then(|id| self.handlers.get(id));
        Some(FileInfo {
            token: file.token,
            bytes: file.bytes,
            status,
            error,
            dependencies: count32(self.graph.dependency_count(id)),
            dependents: count32(self.graph.dependent_count(id)),
            handler: handler.map_or([0; 48], |handler| *handler.name.room()),
        })
    }

    /// One of `FILE_*`, and an error number.
    pub(crate) fn status_of(&self, id: FileId) -> (u32, u32) {
        let Some(file) = self.files.get(id) else {
            return (FILE_MISSING, 0);
        };
        let lost = match &file.way {
            FileWay::Outgoing(_) => file.lost_by(),
            FileWay::Incoming(file) => file.lost,
        };
        if let Some(errno) = lost {
            return (FILE_LOST, errno.get().unsigned_abs());
        }
        if self.awaits_handler(file) {
            return (FILE_INCOMING, Errno::EAGAIN.get().unsigned_abs());
        }
        let status = match &file.way {
            FileWay::Outgoing(file) => match &file.stage {
                Stage::Reserved | Stage::Registered(None) | Stage::Preserved(None) => FILE_BUSY,
                Stage::Registered(Some(_)) => FILE_REGISTERED,
                Stage::Preserved(Some(_)) if file.frozen => FILE_FROZEN,
                Stage::Preserved(Some(_)) => {
                    let veto = file.veto.map_or(0, |errno| errno.get().unsigned_abs());
                    return (FILE_PRESERVED, veto);
                }
            },
            FileWay::Incoming(file) => match file.arrived.as_ref().map(|file| &file.progress) {
                Some(Progress::Waiting | Progress::Wide(_)) if file.awaits => {
                    return (FILE_INCOMING, Errno::ENOTCONN.get().unsigned_abs());
                }
                // Its handler is here, and it has not been asked for since.
                None if file.awaits_handler => FILE_INCOMING,
                Some(Progress::Waiting | Progress::Wide(_)) => FILE_INCOMING,
                None | Some(Progress::Retrieving) => FILE_BUSY,
                Some(Progress::Done(_)) => FILE_RETRIEVED,
                Some(Progress::Failed(errno)) => {
                    return (FILE_FAILED, errno.get().unsigned_abs());
                }
            },
        };
        (status, 0)
    }
}
