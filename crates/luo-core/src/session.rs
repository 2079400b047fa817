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

pub(crate) mod dependency;
mod file;
pub(crate) mod finish;
pub(crate) mod open;
mod pages;
pub(crate) mod preserve;
pub(crate) mod register;
pub(crate) mod remove;
pub(crate) mod retrieve;
pub(crate) mod retry;
mod together;

use luo_abi::handover::{FILES_PER_BLOCK, SESSIONS_PER_BLOCK};
use luo_abi::supplement::{MAX_RECORD_BLOCKS, RECORDS_PER_BLOCK};

use crate::handover::block::Chain;
use crate::host::Host;
use crate::id::{kind, SessionId};
use crate::table::list::{Linked, Links, List};
use crate::text::SessionName;

pub(crate) use file::{Arrived, File, Live, Progress, Source, Stage};

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
    Locked,
}

impl State {
    /// Incoming, closed, and some handler did not let go.
    pub(crate) const CLOSED_PENDING: Self = Self::Unclaimed {
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
