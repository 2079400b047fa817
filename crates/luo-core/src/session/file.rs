// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Files in sessions, as the engine keeps them.

use luo_abi::errno::Errno;

use crate::host::{Access, Host, Retrieval};
use crate::id::{of, HandlerId, SessionId};
use crate::participant::flb::Held;
use crate::table::list::{Linked, Links};

/// A file of this kernel and who handles it.
pub(crate) struct Source<H: Host> {
    pub(crate) handler: H::Handler,
    // Goes before the pin: it may run the handler's code when it does.
    pub(crate) file: H::File,
    /// Held until the file is gone, so that the handler stays.
    #[allow(dead_code, reason = "held, not read")]
    pub(crate) pin: H::Pin,
}

/// A file of this kernel that is on its way to the next.
pub(crate) struct Live<H: Host> {
    pub(crate) private: H::Private,
    pub(crate) source: Source<H>,
    /// The FLBs that were preserved for it, released with it.
    pub(crate) flbs: Held,
}

/// How far a file for the next kernel is.
pub(crate) enum Stage<H: Host> {
    /// The token is taken; callbacks are under way.
    Reserved,
    /// To be preserved at prepare. `None` while an operation has the file in its
    /// hands.
    Registered(Option<Source<H>>),
    /// Preserved. `None` while an operation has the file in its hands.
    Preserved(Option<Live<H>>),
}

/// A file that came from the previous kernel.
pub(crate) struct Arrived<H: Host> {
    pub(crate) handler: H::Handler,
    // Goes before the pin: it may run the handler's code when it does.
    pub(crate) progress: Progress<H>,
    /// Held until the file is gone, so that the handler stays.
    #[allow(dead_code, reason = "held, not read")]
    pub(crate) pin: H::Pin,
}

/// How far the restoring of a file is.
pub(crate) enum Progress<H: Host> {
    /// Nobody asked.
    Waiting,
    /// The handler is at it.
    Retrieving,
    /// Restored, with more access than it had; to be narrowed when it is asked for
    /// again. Given to nobody.
    Wide(H::File),
    /// Restored.
    Done(H::File),
    /// The handler failed.
    Failed(Errno),
}

impl<H: Host> Progress<H> {
    pub(crate) fn retrieval(&self) -> Retrieval {
        match self {
            Self::Waiting | Self::Retrieving => Retrieval::None,
            Self::Wide(_) | Self::Done(_) => Retrieval::Done,
            Self::Failed(errno) => Retrieval::Failed(*errno),
        }
    }
}

/// A file in a session.
pub(crate) struct File<H: Host> {
    pub(crate) session: SessionId,
    pub(crate) token: u64,
    /// Known from the moment a handler is found.
    pub(crate) handler: Option<HandlerId>,
    /// The number that [`crate::FileCallbacks::object_id`] gave, while the object counts as
    /// preserved.
    pub(crate) object: Option<u64>,
    /// The handler's handle.
    pub(crate) data: u64,
    /// Bytes of memory it keeps, as far as known.
    pub(crate) bytes: u64,
    /// The access it gives, or is to give once it is restored.
    pub(crate) access: Access,
    pub(crate) links: Links<of::File>,
    pub(crate) way: FileWay<H>,
}

/// The part of a file that depends on where it goes.
pub(crate) enum FileWay<H: Host> {
    Outgoing(OutgoingFile<H>),
    Incoming(IncomingFile<H>),
}

/// A file for the next kernel.
pub(crate) struct OutgoingFile<H: Host> {
    pub(crate) stage: Stage<H>,
    /// It was registered on the device; a cancel makes it so again.
    pub(crate) registered: bool,
    /// Its handler has frozen it.
    pub(crate) frozen: bool,
    /// The handler's refusal to freeze it, the last time that its session was to be frozen before
    /// the others.
    pub(crate) veto: Option<Errno>,
    /// The round it was made in, see `UpdateState::took_part`; `None` as long as the call
    /// that makes it is under way.
    pub(crate) made: Option<u64>,
    /// A reboot could not hand it over.
    pub(crate) lost: Option<Lost>,
}

/// Since when a file is lost, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The last reboot of this kernel has lost it.
    Now(Errno),
    /// The last reboot of this kernel has left it in the hands of a call that did not end.
    InHands,
    /// A reboot before this kernel had. Its owner has still to be told.
    Before(Errno),
}

/// A file of the previous kernel.
pub(crate) struct IncomingFile<H: Host> {
    /// `None` while an operation has it in its hands, while the file waits for its handler,
    /// and if it is lost.
    pub(crate) arrived: Option<Arrived<H>>,
    /// The handler was not here when the file came, and the file has not got it since; see
    /// `late_handler`.
    pub(crate) awaits_handler: bool,
    /// The reboot could not hand it over.
    pub(crate) lost: Option<Errno>,
    /// The object, while a copy that carries the file on has it.
    pub(crate) lent_object: Option<u64>,
    /// FD_RESTORE has given this file to a program.
    pub(crate) handed: bool,
    /// The owner of this file's session has asked for it. A file that is restored for others,
    /// or to be carried on, was not asked for.
    pub(crate) asked_for: bool,
    /// It was asked for and not restored, because it needs a file of another session that is
    /// not restored.
    pub(crate) awaits: bool,
}

impl<H: Host> File<H> {
    /// A file for the next kernel, of which only the token is known.
    pub(crate) fn outgoing(session: SessionId, token: u64) -> Self {
        let outgoing = OutgoingFile {
            stage: Stage::Reserved,
            registered: false,
            frozen: false,
            veto: None,
            made: None,
            lost: None,
        };
        Self::new(session, token, FileWay::Outgoing(outgoing))
    }

    /// A file of the previous kernel; without what has arrived, it waits for its handler.
    pub(crate) fn incoming(session: SessionId, token: u64, arrived: Option<Arrived<H>>) -> Self {
        Self::of_before(session, token, arrived, None)
    }

    /// A file that the previous kernel could not hand over, because of an error.
    pub(crate) fn lost(session: SessionId, token: u64, why: Errno) -> Self {
        Self::of_before(session, token, None, Some(why))
    }

    fn of_before(
        session: SessionId,
        token: u64,
        arrived: Option<Arrived<H>>,
        lost: Option<Errno>,
    ) -> Self {
        let incoming = IncomingFile {
            awaits_handler: lost.is_none() && arrived.is_none(),
            arrived,
            lost,
            lent_object: None,
            handed: false,
            asked_for: false,
            awaits: false,
        };
        Self::new(session, token, FileWay::Incoming(incoming))
    }

    fn new(session: SessionId, token: u64, way: FileWay<H>) -> Self {
        Self {
            session,
            token,
            handler: None,
            object: None,
            data: 0,
            bytes: 0,
            access: Access::Full,
            links: Links::new(),
            way,
        }
    }

    pub(crate) const fn as_outgoing(&self) -> Option<&OutgoingFile<H>> {
        match &self.way {
            FileWay::Outgoing(outgoing) => Some(outgoing),
            FileWay::Incoming(_) => None,
        }
    }

    pub(crate) fn as_outgoing_mut(&mut self) -> Option<&mut OutgoingFile<H>> {
        match &mut self.way {
            FileWay::Outgoing(outgoing) => Some(outgoing),
            FileWay::Incoming(_) => None,
        }
    }

    pub(crate) const fn as_incoming(&self) -> Option<&IncomingFile<H>> {
        match &self.way {
            FileWay::Outgoing(_) => None,
            FileWay::Incoming(incoming) => Some(incoming),
        }
    }

    pub(crate) fn as_incoming_mut(&mut self) -> Option<&mut IncomingFile<H>> {
        match &mut self.way {
            FileWay::Outgoing(_) => None,
            FileWay::Incoming(incoming) => Some(incoming),
        }
    }

    /// Why a file for the next kernel is lost, if it is.
    pub(crate) fn lost_by(&self) -> Option<Errno> {
        match self.as_outgoing()?.lost? {
            Lost::Now(errno) | Lost::Before(errno) => Some(errno),
            Lost::InHands => Some(Errno::EBUSY),
        }
    }

    /// Whether somebody has got this file of the device.
    pub(crate) fn is_handed(&self) -> bool {
        self.as_incoming().is_some_and(|incoming| incoming.handed)
    }

    /// How far the restoring of a file of the previous kernel is.
    pub(crate) fn progress_mut(&mut self) -> Option<&mut Progress<H>> {
        Some(&mut self.as_incoming_mut()?.arrived.as_mut()?.progress)
    }
}

impl<H: Host> Linked<of::File> for File<H> {
    fn links(&mut self) -> &mut Links<of::File> {
        &mut self.links
    }
}
