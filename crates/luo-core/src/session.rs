// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Sessions and the files in them, as the engine keeps them.
//!
//! ```text
//! outgoing:  open -------------close------------> gone
//!              '--close of one that took part in a prepare--> orphan --cancel--> gone
//!                                                               '--a new one of its name--> gone
//!
//! incoming:  unclaimed --retrieve--> claimed --finish--> claimed, no files
//!               ^                    | |  '--close: all files let go--> gone
//!               |                    | '--close while all is frozen--> orphan --cancel--> closed
//!               '--close: a handler does not let go--'
//! ```
//!
//! An outgoing one can be frozen before the others (`update::early`), in whichever of these states.
//!
//! Facts of one direction only are in that direction's part of the session ([`Way`]). A session
//! of either is *busy* while an operation on it runs its callbacks. An operation that needs the
//! session for itself (finish, close, unpreserve) waits until it is not busy, and has it *locked*
//! then.

pub(crate) mod dependency;
mod file;
pub(crate) mod finish;
mod late_handler;
pub(crate) mod need;
pub(crate) mod open;
pub(crate) mod pages;
pub(crate) mod preserve;
pub(crate) mod register;
pub(crate) mod remove;
pub(crate) mod retrieve;
pub(crate) mod retry;
pub(crate) mod scope;
mod together;

use luo_abi::handover::{FILES_PER_BLOCK, SESSIONS_PER_BLOCK};
use luo_abi::supplement::{MAX_RECORD_BLOCKS, RECORDS_PER_BLOCK};

use crate::handover::block::Chain;
use crate::host::Host;
use crate::id::{of, AccountId, SessionId};
use crate::owner::Owner;
use crate::table::list::{Linked, Links, List};
use crate::text::SessionName;

pub(crate) use file::{Arrived, File, FileWay, Live, Lost, Progress, Source, Stage};

/// Where a session goes to or comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Made in this kernel, for the next.
    Outgoing,
    /// Made in the previous kernel.
    Incoming,
}

pub(crate) type FileChain<H> = Chain<<H as Host>::Block, FILES_PER_BLOCK>;
pub(crate) type SessionChain<H> = Chain<<H as Host>::Block, SESSIONS_PER_BLOCK>;
pub(crate) type RecordChain<H> = Chain<<H as Host>::Block, RECORDS_PER_BLOCK, MAX_RECORD_BLOCKS>;

/// The properties of a new session.
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

    /// Whether this session needs a record in the supplement.
    pub(crate) fn has_record(&self) -> bool {
        self.owner != Owner::Root || self.closed
    }
}

pub(crate) struct Session<H: Host> {
    pub(crate) name: SessionName,
    pub(crate) owner: Owner,
    /// An operation has it for itself: close, finish or unpreserve.
    pub(crate) locked: bool,
    /// Operations that run callbacks for a file of this session right now.
    pub(crate) busy: usize,
    /// Its descriptor was closed while prepared or frozen; the session goes when that
    /// is undone.
    pub(crate) orphan: bool,
    /// Dependencies that its files have declared, missing ones included.
    pub(crate) dependencies: usize,
    /// Bytes of memory that its files keep, as far as known.
    pub(crate) bytes: u128,
    pub(crate) files: List<of::File>,
    pub(crate) links: Links<of::Session>,
    /// The account of its user, if it is a user's, and its neighbours there.
    pub(crate) account: Option<AccountId>,
    pub(crate) own: Links<of::Session>,
    /// Its neighbours among the closed ones, of all and of its user's.
    pub(crate) closed: Links<of::Session>,
    pub(crate) own_closed: Links<of::Session>,
    pub(crate) way: Way<H>,
}

/// The part of a session that depends on where it goes.
pub(crate) enum Way<H: Host> {
    Outgoing(OutgoingSession<H>),
    Incoming(IncomingSession),
}

/// How far a session is frozen before the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Early {
    /// Not.
    #[default]
    Not,
    /// A call is at it.
    UnderWay,
    /// A call is at it, and what others had frozen before was unfrozen meanwhile: the call looks
    /// again whether it may.
    LookAgain,
    /// All its files are frozen.
    Frozen,
}

impl Early {
    /// Whether a call has in its hands what is frozen of the session.
    pub(crate) const fn is_under_way(self) -> bool {
        matches!(self, Self::UnderWay | Self::LookAgain)
    }
}

/// A session for the next kernel.
pub(crate) struct OutgoingSession<H: Host> {
    /// It carries on a session that was closed in this kernel.
    pub(crate) closed: bool,
    /// The incoming session that it carries on, which nobody has claimed.
    pub(crate) carries: Option<SessionId>,
    /// Its place among the records that were written last.
    pub(crate) position: u32,
    /// It is let go of with what is frozen of it: it was closed while an update kept it, and a new
    /// one of its name is made, or it was frozen before the others and is closed.
    pub(crate) undone: bool,
    /// Whether it is frozen before the others.
    pub(crate) early: Early,
    /// The round it was made in, see `UpdateState::took_part`.
    pub(crate) made: u64,
    /// Pages for the files' records.
    pub(crate) chain: FileChain<H>,
}

/// A session of the previous kernel.
///
/// These are facts of their own, and no steps of one state: who claims a session that was
/// closed (`claimed`, `closed_pending`) gives it back as such if the program cannot be told
/// ([`crate::ops::put_back_session`]), and the FINISH event can have let go of its files in
/// between (`finished`).
#[derive(Default)]
pub(crate) struct IncomingSession {
    /// Somebody holds it.
    pub(crate) claimed: bool,
    /// It was closed, and a handler did not let go: the first call on the next open
    /// descriptor tries again. While somebody holds it, as it was before, for a session that
    /// is put back.
    pub(crate) closed_pending: bool,
    /// Its files are let go of; only its descriptor is left.
    pub(crate) finished: bool,
    /// The group of closed sessions that it is being finished with, see `together`.
    pub(crate) together: Option<u32>,
    /// It is not carried on to the next kernel, because it cannot be.
    pub(crate) left_behind: bool,
    /// It is not carried on, because a new session has its name.
    pub(crate) superseded: bool,
    /// It was closed, and files of other sessions need its files.
    pub(crate) needed: bool,
}

impl<H: Host> Session<H> {
    /// A session that is made in a round.
    pub(crate) fn new(
        kind: SessionKind,
        account: Option<AccountId>,
        direction: Direction,
        made: u64,
    ) -> Self {
        let way = match direction {
            Direction::Outgoing => Way::Outgoing(OutgoingSession {
                closed: kind.closed,
                carries: None,
                position: 0,
                undone: false,
                early: Early::Not,
                made,
                chain: Chain::new(),
            }),
            Direction::Incoming => Way::Incoming(IncomingSession::default()),
        };
        Self {
            name: kind.name,
            owner: kind.owner,
            locked: false,
            busy: 0,
            orphan: false,
            dependencies: 0,
            bytes: 0,
            files: List::new(),
            links: Links::new(),
            account,
            own: Links::new(),
            closed: Links::new(),
            own_closed: Links::new(),
            way,
        }
    }

    pub(crate) const fn direction(&self) -> Direction {
        match self.way {
            Way::Outgoing(_) => Direction::Outgoing,
            Way::Incoming(_) => Direction::Incoming,
        }
    }

    pub(crate) const fn outgoing(&self) -> Option<&OutgoingSession<H>> {
        match &self.way {
            Way::Outgoing(outgoing) => Some(outgoing),
            Way::Incoming(_) => None,
        }
    }

    pub(crate) fn outgoing_mut(&mut self) -> Option<&mut OutgoingSession<H>> {
        match &mut self.way {
            Way::Outgoing(outgoing) => Some(outgoing),
            Way::Incoming(_) => None,
        }
    }

    pub(crate) const fn incoming(&self) -> Option<&IncomingSession> {
        match &self.way {
            Way::Outgoing(_) => None,
            Way::Incoming(incoming) => Some(incoming),
        }
    }

    pub(crate) fn incoming_mut(&mut self) -> Option<&mut IncomingSession> {
        match &mut self.way {
            Way::Outgoing(_) => None,
            Way::Incoming(incoming) => Some(incoming),
        }
    }

    /// Whether it is of the previous kernel, and somebody holds it.
    pub(crate) fn is_claimed(&self) -> bool {
        !self.locked && self.incoming().is_some_and(|incoming| incoming.claimed)
    }

    /// Whether it is of the previous kernel, and nobody has asked for it.
    pub(crate) fn is_unclaimed(&self) -> bool {
        self.awaits(false)
    }

    /// Whether it is of the previous kernel, was closed, and a handler did not let go. Programs
    /// see it as unfinished ([`luo_abi::contract::SESSION_UNFINISHED`]).
    pub(crate) fn is_closed_pending(&self) -> bool {
        self.awaits(true)
    }

    /// Whether it was closed without being finished, whoever has it now.
    pub(crate) fn was_closed(&self) -> bool {
        self.incoming()
            .is_some_and(|incoming| incoming.closed_pending)
    }

    /// Whether nobody has it, and whether it was closed.
    fn awaits(&self, closed: bool) -> bool {
        let awaits =
            |incoming: &IncomingSession| !incoming.claimed && incoming.closed_pending == closed;
        !self.locked && self.incoming().is_some_and(awaits)
    }

    /// Whether it is of the previous kernel and finished.
    pub(crate) fn is_finished(&self) -> bool {
        self.incoming().is_some_and(|incoming| incoming.finished)
    }

    /// Whether it is of the previous kernel and the device's.
    pub(crate) fn arrived_on_device(&self) -> bool {
        self.owner == Owner::Device && self.direction() == Direction::Incoming
    }

    /// The incoming session that it carries on, if it does.
    pub(crate) fn carries(&self) -> Option<SessionId> {
        self.outgoing()?.carries
    }

    pub(crate) fn kind(&self) -> SessionKind {
        SessionKind {
            name: self.name,
            owner: self.owner,
            closed: self.outgoing().is_some_and(|outgoing| outgoing.closed),
        }
    }
}

impl<H: Host> Linked<of::Session> for Session<H> {
    fn links(&mut self) -> &mut Links<of::Session> {
        &mut self.links
    }
}
