// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Sessions and the files in them, as the engine keeps them.
//!
//! ```text
//! outgoing:  Open -------------close------------> gone
//!              '--close when prepared or frozen--> orphan --cancel--> gone
//!
//! incoming:  Unclaimed --retrieve--> Claimed --finish--> Claimed, no files
//!               ^                      |  '--close: all files let go--> gone
//!               '----close: a handler does not let go----'
//! ```
//!
//! A session is *busy* while an operation on it runs its callbacks; what needs
//! the session for itself (finish, close, freeze) waits until it is not.

use luo_abi::errno::Errno;
use luo_abi::handover::{FILES_PER_BLOCK, SESSIONS_PER_BLOCK};
use luo_abi::supplement::{MAX_RECORD_BLOCKS, RECORDS_PER_BLOCK};

use crate::block::Chain;
use crate::flb::Held;
use crate::host::{Access, Host, Retrieval};
use crate::id::{kind, HandlerId, SessionId};
use crate::list::{Linked, Links, List};
use crate::text::SessionName;

/// Where a session goes to or comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Made in this kernel, for the next.
    Outgoing,
    /// Made in the previous kernel.
    Incoming,
}

/// What is being done with a session as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Outgoing: files may be preserved.
    Open,
    /// Incoming: nobody holds it. `finish_pending` if it was closed but a
    /// handler did not let go; the next open of the device tries again.
    Unclaimed { finish_pending: bool },
    /// Incoming: somebody holds it. `finish_pending` as it was before, for a
    /// session that is put back.
    Claimed { finish_pending: bool },
    /// An operation has it for itself: close or finish.
    Exclusive,
}

impl State {
    /// Incoming, closed, and some handler did not let go.
    pub(crate) const UNFINISHED: Self = Self::Unclaimed {
        finish_pending: true,
    };
    /// Incoming, and nobody has asked for it.
    pub(crate) const UNCLAIMED: Self = Self::Unclaimed {
        finish_pending: false,
    };
}

pub(crate) type FileChain<H> = Chain<<H as Host>::Block, FILES_PER_BLOCK>;
pub(crate) type SessionChain<H> = Chain<<H as Host>::Block, SESSIONS_PER_BLOCK>;
pub(crate) type RecordChain<H> = Chain<<H as Host>::Block, RECORDS_PER_BLOCK, MAX_RECORD_BLOCKS>;

/// Whose session it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A program's, under the name it chose.
    Program,
    /// An open instance's of the device: the files registered there.
    Device,
}

/// What a new session is to be.
#[derive(Clone, Copy)]
pub(crate) struct SessionKind {
    pub(crate) name: SessionName,
    pub(crate) owner: Owner,
    /// It was closed by its owner and waits to be finished.
    pub(crate) closed: bool,
}

impl SessionKind {
    /// A session that somebody holds.
    pub(crate) const fn open(name: SessionName, owner: Owner) -> Self {
        Self {
            name,
            owner,
            closed: false,
        }
    }

    /// Whether a record beside that of `luo-v5` says something of it.
    pub(crate) fn has_record(&self) -> bool {
        self.owner == Owner::Device || self.closed
    }
}

pub(crate) struct Session<H: Host> {
    pub(crate) name: SessionName,
    pub(crate) direction: Direction,
    pub(crate) owner: Owner,
    pub(crate) state: State,
    /// Operations that run callbacks for a file of this session right now.
    pub(crate) busy: usize,
    /// Closed while prepared or frozen; goes when that is undone.
    pub(crate) orphan: bool,
    /// Incoming: its files are let go of; only its descriptor is left.
    pub(crate) finished: bool,
    /// Incoming, closed: being finished with others, see `ops::together`.
    pub(crate) together: bool,
    /// Incoming: not to be carried on to the next kernel, because it cannot be.
    pub(crate) left_behind: bool,
    /// Incoming and closed: files of other sessions need its files.
    pub(crate) needed: bool,
    /// Outgoing: carries on a session that was closed in this kernel.
    pub(crate) closed: bool,
    /// Outgoing: carries on this incoming session, which nobody has claimed.
    pub(crate) carries: Option<SessionId>,
    /// Its place among the records that were written last.
    pub(crate) position: u32,
    pub(crate) files: List<kind::File>,
    /// Pages for the files' records; outgoing only.
    pub(crate) chain: FileChain<H>,
    pub(crate) links: Links<kind::Session>,
}

impl<H: Host> Session<H> {
    pub(crate) fn new(kind: SessionKind, direction: Direction) -> Self {
        Self {
            name: kind.name,
            direction,
            owner: kind.owner,
            state: match direction {
                Direction::Outgoing => State::Open,
                Direction::Incoming => State::UNCLAIMED,
            },
            busy: 0,
            orphan: false,
            finished: false,
            together: false,
            left_behind: false,
            needed: false,
            closed: kind.closed,
            carries: None,
            position: 0,
            files: List::new(),
            chain: Chain::new(),
            links: Links::new(),
        }
    }
}

impl<H: Host> Session<H> {
    pub(crate) fn kind(&self) -> SessionKind {
        SessionKind {
            name: self.name,
            owner: self.owner,
            closed: self.closed,
        }
    }
}

impl<H: Host> Linked<kind::Session> for Session<H> {
    fn links(&mut self) -> &mut Links<kind::Session> {
        &mut self.links
    }
}

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

/// How far a file is.
pub(crate) enum Stage<H: Host> {
    /// The token is taken; callbacks are under way.
    Reserved,
    /// To be preserved at prepare. `None` while an operation has the file in its
    /// hands.
    Registered(Option<Source<H>>),
    /// Preserved. `None` while an operation has the file in its hands.
    Preserved(Option<Live<H>>),
    /// Came from the previous kernel.
    Incoming(Arrived<H>),
}

/// A file that came from the previous kernel.
pub(crate) struct Arrived<H: Host> {
    pub(crate) handler: H::Handler,
    pub(crate) pin: H::Pin,
    pub(crate) progress: Progress<H>,
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

pub(crate) struct File<H: Host> {
    pub(crate) session: SessionId,
    pub(crate) token: u64,
    /// Known from the moment a handler is found.
    pub(crate) handler: Option<HandlerId>,
    /// What [`Host::object_id`] said, while the object counts as preserved.
    pub(crate) object: Option<u64>,
    /// Incoming: the object, while a copy that carries the file on has it.
    pub(crate) lent_object: Option<u64>,
    /// The handler's handle.
    pub(crate) data: u64,
    /// Bytes of memory it keeps, as far as known.
    pub(crate) bytes: u64,
    /// The access it gives, or is to give once it is restored.
    pub(crate) access: Access,
    /// Outgoing: registered on the device; a cancel makes it so again.
    pub(crate) registered: bool,
    /// Outgoing: its handler has frozen it.
    pub(crate) frozen: bool,
    /// Incoming, of the device: somebody has got it.
    pub(crate) handed: bool,
    /// Incoming, of a program: its owner has asked for it. One that is restored
    /// for others, or to be carried on, is not.
    pub(crate) asked_for: bool,
    pub(crate) stage: Stage<H>,
    pub(crate) links: Links<kind::File>,
}

impl<H: Host> File<H> {
    pub(crate) fn new(session: SessionId, token: u64, stage: Stage<H>) -> Self {
        Self {
            session,
            token,
            handler: None,
            object: None,
            lent_object: None,
            data: 0,
            bytes: 0,
            access: Access::Full,
            registered: false,
            frozen: false,
            handed: false,
            asked_for: false,
            stage,
            links: Links::new(),
        }
    }
}

impl<H: Host> Linked<kind::File> for File<H> {
    fn links(&mut self) -> &mut Links<kind::File> {
        &mut self.links
    }
}
