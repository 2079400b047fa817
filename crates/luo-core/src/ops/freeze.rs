// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The last step before the kexec, and the way back from it.

use core::fmt;
use core::task::Poll;

use luo_abi::errno::Errno;

use super::session::close_session;
use crate::engine::{Engine, Phase};
use crate::error::Error;
use crate::handover::Handover;
use crate::host::{Frozen, Host};
use crate::id::{FileId, SessionId};
use crate::session::{Direction, Live, Stage, State};
use crate::text::{Compat, SessionName};

/// What was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreezeReport {
    /// Outgoing sessions.
    pub sessions: usize,
    /// Files in them.
    pub files: usize,
    /// Incoming sessions that nobody has claimed, or that have files which are
    /// not finished. This handover does not carry them on: they are lost with
    /// the kexec.
    pub unclaimed: usize,
    /// The previous kernel left sessions that were never read, because nobody
    /// opened the device or because they are refused. They are lost, too.
    pub unread: bool,
}

/// Why the machine does not go into the next kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezeError {
    /// A handler vetoed; all others are back to where they were.
    Veto {
        /// The session of its file.
        session: SessionName,
        /// The token of its file.
        token: u64,
        /// The handler.
        handler: Compat,
        /// What it said.
        errno: Errno,
    },
    /// The engine cannot.
    Engine(Error),
}

impl FreezeError {
    /// The error number the reboot call gets.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            Self::Veto { errno, .. } => *errno,
            Self::Engine(why) => why.errno(),
        }
    }
}

impl fmt::Display for FreezeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Veto {
                session,
                token,
                handler,
                errno,
            } => write!(
                f,
                "handler {handler} vetoes for session \"{session}\", token {token:#x}: {errno}"
            ),
            Self::Engine(why) => write!(f, "{why}"),
        }
    }
}

impl From<Error> for FreezeError {
    fn from(why: Error) -> Self {
        Self::Engine(why)
    }
}

/// Freezes all outgoing files in the order they were preserved in and writes
/// the handover. A veto unfreezes those already frozen, the last first.
///
/// Frozen already, it changes nothing and reports again: a reboot that did not
/// come about may be tried again.
///
/// # Errors
/// [`FreezeError::Veto`]; [`Error::Frozen`] if another freeze is under way.
pub fn freeze<H: Host>(host: &H) -> Result<FreezeReport, FreezeError> {
    let mut begun = false;
    let already = host.with(|engine| engine.begin_freeze(&mut begun))?;
    if let Some(report) = already {
        return Ok(report);
    }
    let mut last = None;
    while let Some(id) = host.with(|engine| Poll::Ready(engine.following(last))) {
        if let Err(errno) = freeze_one(host, id) {
            let veto = host.with(|engine| Poll::Ready(engine.veto(id, errno)));
            unfreeze_back_from(host, last);
            end_freeze(host, Phase::Normal);
            return Err(veto);
        }
        last = Some(id);
    }
    let written = host.with(|engine| {
        let written = engine.write_all();
        if written.is_err() {
            engine.write_empty();
        }
        Poll::Ready(written.map(|()| engine.freeze_report()))
    });
    match written {
        Ok(report) => {
            end_freeze(host, Phase::Frozen);
            Ok(report)
        }
        Err(why) => {
            unfreeze_back_from(host, last);
            end_freeze(host, Phase::Normal);
            Err(why.into())
        }
    }
}

/// Undoes a [`freeze`] after which the kexec did not happen: unfreezes all, the
/// last first, and closes the sessions whose descriptors were closed meanwhile.
/// Nothing happens if nothing is frozen.
pub fn unfreeze<H: Host>(host: &H) {
    let frozen = host.with(|engine| {
        let frozen = engine.phase == Phase::Frozen;
        if frozen {
            engine.phase = Phase::Freezing;
            engine.write_empty();
        }
        Poll::Ready(frozen)
    });
    if !frozen {
        return;
    }
    let mut next = host.with(|engine| Poll::Ready(engine.last_outgoing()));
    while let Some(id) = next {
        unfreeze_one(host, id);
        next = host.with(|engine| Poll::Ready(engine.preceding(id)));
    }
    end_freeze(host, Phase::Normal);
    let mut next = host.with(|engine| Poll::Ready(engine.next_orphan(None)));
    while let Some(id) = next {
        // Looked up first: the session may be gone afterwards. Each is closed
        // once: frozen again meanwhile, it waits for the next unfreeze.
        next = host.with(|engine| Poll::Ready(engine.next_orphan(Some(id))));
        if host.with(|engine| Poll::Ready(engine.take_orphan(id))) {
            // An incoming one that cannot be finished stays pending; the next
            // open of the device tries again and reports.
            let _ = close_session(host, id);
        }
    }
}

fn end_freeze<H: Host>(host: &H, phase: Phase) {
    host.with(|engine| {
        engine.phase = phase;
        Poll::Ready(())
    });
}

fn unfreeze_back_from<H: Host>(host: &H, last: Option<FileId>) {
    let mut next = last;
    while let Some(id) = next {
        unfreeze_one(host, id);
        next = host.with(|engine| Poll::Ready(engine.preceding(id)));
    }
}

fn freeze_one<H: Host>(host: &H, id: FileId) -> Result<(), Errno> {
    let taken = host.with(|engine| Poll::Ready(engine.take_live(id)));
    let Some((mut live, data)) = taken else {
        return Err(Errno::EIO);
    };
    let outcome = host.freeze(live.view(data));
    put_back(host, id, live, *outcome.as_ref().unwrap_or(&data));
    outcome.map(|_| ())
}

fn unfreeze_one<H: Host>(host: &H, id: FileId) {
    let taken = host.with(|engine| Poll::Ready(engine.take_live(id)));
    if let Some((mut live, data)) = taken {
        host.unfreeze(live.view(data));
        put_back(host, id, live, data);
    }
}

fn put_back<H: Host>(host: &H, id: FileId, live: Live<H>, data: u64) {
    let mut live = Some(live);
    host.with(|engine| {
        if let Some(file) = engine.files.get_mut(id) {
            file.data = data;
            file.stage = Stage::Preserved(live.take());
        }
        Poll::Ready(())
    });
}

impl<H: Host> Live<H> {
    fn view(&mut self, data: u64) -> Frozen<'_, H> {
        Frozen {
            handler: &self.handler,
            file: &self.file,
            data,
            private: &mut self.private,
        }
    }
}

impl<H: Host> Engine<H> {
    /// `begun` remembers between calls that this caller is the one who freezes.
    fn begin_freeze(&mut self, begun: &mut bool) -> Poll<Result<Option<FreezeReport>, Error>> {
        match self.phase {
            Phase::Frozen => return Poll::Ready(Ok(Some(self.freeze_report()))),
            Phase::Freezing if !*begun => return Poll::Ready(Err(Error::Frozen)),
            Phase::Freezing => {}
            Phase::Normal if self.root.is_none() => {
                return Poll::Ready(Err(Error::NotReady));
            }
            Phase::Normal => {
                self.phase = Phase::Freezing;
                *begun = true;
            }
        }
        // From here on nothing new begins; what is under way ends first.
        if self.busy > 0 {
            return Poll::Pending;
        }
        Poll::Ready(Ok(None))
    }

    fn freeze_report(&self) -> FreezeReport {
        let mut files = 0usize;
        let mut session = self.outgoing.first;
        while let Some(current) = session.and_then(|id| self.sessions.get(id)) {
            files = files.saturating_add(current.files.len);
            session = current.links.next;
        }
        let mut unclaimed = 0usize;
        let mut session = self.incoming.first;
        while let Some(current) = session.and_then(|id| self.sessions.get(id)) {
            if !matches!(current.state, State::Claimed { .. }) || current.files.len > 0 {
                unclaimed = unclaimed.saturating_add(1);
            }
            session = current.links.next;
        }
        FreezeReport {
            sessions: self.outgoing.len,
            files,
            unclaimed,
            unread: match self.handover {
                Handover::Nothing | Handover::Working | Handover::Taken => false,
                Handover::Refused(_) => true,
                Handover::Waiting { fields, .. } | Handover::Incomplete { fields, .. } => {
                    fields.sessions != 0
                }
            },
        }
    }

    fn take_live(&mut self, id: FileId) -> Option<(Live<H>, u64)> {
        let file = self.files.get_mut(id)?;
        match &mut file.stage {
            Stage::Preserved(live) => live.take().map(|live| (live, file.data)),
            _ => None,
        }
    }

    fn veto(&self, id: FileId, errno: Errno) -> FreezeError {
        let named = self.files.get(id).and_then(|file| {
            Some(FreezeError::Veto {
                session: self.sessions.get(file.session)?.name,
                token: file.token,
                handler: self.handlers.get(file.handler?)?.name,
                errno,
            })
        });
        named.unwrap_or(FreezeError::Engine(Error::Inconsistent))
    }

    fn last_outgoing(&self) -> Option<FileId> {
        let mut session = self.outgoing.last;
        while let Some(current) = session.and_then(|id| self.sessions.get(id)) {
            if current.files.last.is_some() {
                return current.files.last;
            }
            session = current.links.prev;
        }
        None
    }

    /// The next orphan behind `after`, the outgoing ones first.
    fn next_orphan(&self, after: Option<SessionId>) -> Option<SessionId> {
        let (mut next, mut direction) = match after {
            None => (self.outgoing.first, Direction::Outgoing),
            Some(id) => {
                let session = self.sessions.get(id)?;
                (session.links.next, session.direction)
            }
        };
        loop {
            while let Some((id, session)) = next.and_then(|id| Some((id, self.sessions.get(id)?))) {
                if session.orphan {
                    return Some(id);
                }
                next = session.links.next;
            }
            if direction == Direction::Incoming {
                return None;
            }
            (next, direction) = (self.incoming.first, Direction::Incoming);
        }
    }

    /// Whether a session is an orphan still; it is none afterwards.
    fn take_orphan(&mut self, id: SessionId) -> bool {
        let session = self.sessions.get_mut(id);
        session.is_some_and(|session| core::mem::take(&mut session.orphan))
    }
}
