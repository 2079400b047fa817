// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The state that all operations share.
//!
//! Nothing here calls back into the host. The steps that operations are made of
//! are in the files named after them; this one holds the state. The two ways to begin respect
//! where the machine is in an update (`crate::update_state`): `enter` for one file, and
//! `lock_session` for a whole session (`under_way`).

mod accounts;
pub(crate) mod changes;
mod early;
mod files;
pub(crate) mod outgoing;
mod sessions;
pub(crate) mod under_way;

pub(crate) use self::files::{arrange_session, backwards_in, order_session, Backwards};

use core::task::Poll;

use luo_abi::rfc::State;

use crate::account::{Account, Closed, Own, OwnClosed, Retries, Used};
use crate::error::Error;
use crate::failure::LastFailure;
use crate::graph::Graph;
use crate::handover::Handover;
use crate::host::Host;
use crate::id::{of, FileId, SessionId};
use crate::losses::{Losses, Told};
use crate::mem::Vec;
use crate::owner::Unowned;
use crate::participant::flb;
use crate::participant::handler::{Flb, Handler};
use crate::participant::subsystem::{ArrivedSubsystem, Subsystem};
use crate::patience::Patiences;
use crate::pipe::{Arrivals, Joints};
use crate::quota::{Quota, Quotas};
use crate::session::{Direction, File, RecordChain, Session, SessionChain};
use crate::table::hash::Hash;
use crate::table::index::Index;
use crate::table::list::List;
use crate::table::slab::Slab;
use crate::text::SessionName;
use crate::under_way::UnderWay;
use crate::update_state::UpdateState;
use crate::waits::{Spot, Topic, Woken};

/// The engine. A host keeps one, under its lock.
pub struct Engine<H: Host> {
    pub(crate) update: UpdateState,
    /// Operations under way that run callbacks.
    pub(crate) under_way: UnderWay,

    pub(crate) handlers: Slab<of::Handler, Handler<H>>,
    pub(crate) flbs: Slab<of::Flb, Flb<H>>,
    pub(crate) arrived_flbs: Vec<flb::Arrived<H>>,
    /// In the order of registration; changes in no transition.
    pub(crate) subsystems: Vec<Subsystem<H>>,
    pub(crate) arrived_subsystems: Vec<ArrivedSubsystem>,

    pub(crate) sessions: Slab<of::Session, Session<H>>,
    pub(crate) outgoing: List<of::Session>,
    /// How many of them are frozen before the others, or being frozen.
    pub(crate) frozen_early: usize,
    /// Incoming sessions that are not finished.
    pub(crate) incoming: List<of::Session>,
    /// Incoming sessions that are finished: only their descriptors are left.
    pub(crate) finished: List<of::Session>,
    /// Incoming sessions of the device that are not finished.
    pub(crate) of_device: List<of::Session, Own>,
    /// Files of the sessions in `of_device`.
    pub(crate) files_of_device: usize,
    /// Incoming sessions that were closed without being finished: those that somebody has now
    /// again, too; and those of them that are no user's.
    pub(crate) closed: List<of::Session, Closed>,
    pub(crate) closed_of_no_user: List<of::Session, OwnClosed>,
    /// How many of them nobody has.
    pub(crate) closed_pending: usize,
    /// Incoming sessions that nobody has claimed or closed.
    pub(crate) unclaimed: usize,
    /// The previous kernel handed sessions over.
    pub(crate) had_sessions: bool,
    /// Files that closed sessions waited for are gone, so finishing those sessions can
    /// come to something.
    pub(crate) retries: Retries,
    /// Groups of closed sessions that are being finished together: a bit for each.
    pub(crate) groups: u32,
    pub(crate) files: Slab<of::File, File<H>>,
    /// Pipes of which an end is preserved, and pipes that come back.
    pub(crate) joints: Joints<H::Block>,
    /// How long the transition under way waits for files that programs hold.
    pub(crate) patiences: Patiences,
    pub(crate) arrivals: Arrivals<H::File>,
    /// Which file needs which.
    pub(crate) graph: Graph,

    pub(crate) hash: Hash,
    /// Sessions by direction and name.
    pub(crate) names: Index,
    /// Files by session and token.
    pub(crate) tokens: Index,
    /// Files by the object they stand for.
    pub(crate) objects: Index,
    /// Files of device sessions by token, in both directions.
    pub(crate) device_tokens: Index,

    /// Accounts of the users who have something; `users` finds them by number.
    pub(crate) accounts: Slab<of::Account, Account>,
    pub(crate) users: Index,
    pub(crate) quotas: Quotas,
    /// The sum over all users, how much that may be, and for which quota the host has said already
    /// that it is reached. All three go by `Quota`.
    pub(crate) users_used: Used,
    pub(crate) users_quotas: Quotas,
    pub(crate) users_told: [bool; Quota::ALL.len()],
    /// The callers who may take back a session that is nobody's.
    pub(crate) unowned: Unowned,
    /// A program with privileges has the device open.
    pub(crate) opened: bool,

    /// Device sessions and tokens made in this kernel.
    pub(crate) device_sessions: u32,
    pub(crate) device_files: u32,

    /// Pages for the outgoing sessions' records.
    pub(crate) chain: SessionChain<H>,
    /// The pages of the outgoing root and FLBs, once the host has given them.
    pub(crate) root: Option<H::Block>,
    pub(crate) flb_page: Option<H::Block>,
    /// The supplement: its root, its subsystems, its records, and how
    /// many of those there are to be.
    pub(crate) supplement: Option<H::Block>,
    pub(crate) subsystem_page: Option<H::Block>,
    pub(crate) record_chain: RecordChain<H>,
    pub(crate) records: usize,
    /// The handover was frozen by FREEZE, not by reboot.
    pub(crate) by_event: bool,
    pub(crate) handover: Handover,
    /// Attempts to take it over that have ended.
    pub(crate) takeovers: u64,
    /// Live updates so far in the chain of kernels.
    pub(crate) update_number: u64,
    /// The losses of the last reboot of this kernel, if the jump has not come about.
    pub(crate) losses: Losses,
    /// How much the host has been told of in the transition that is under way.
    pub(crate) told: Told,
    /// The losses of the reboot that brought the machine here.
    pub(crate) lost_before: Losses,
}

impl<H: Host> Engine<H> {
    /// An engine without sessions or handlers. `seed` is a secret of the host:
    /// random numbers that no client can guess.
    #[must_use]
    pub const fn new(seed: (u64, u64)) -> Self {
        Self {
            update: UpdateState::new(),
            under_way: UnderWay::NONE,
            handlers: Slab::new(),
            flbs: Slab::new(),
            arrived_flbs: Vec::new(),
            subsystems: Vec::new(),
            arrived_subsystems: Vec::new(),
            sessions: Slab::new(),
            outgoing: List::new(),
            frozen_early: 0,
            incoming: List::new(),
            finished: List::new(),
            of_device: List::new(),
            files_of_device: 0,
            closed: List::new(),
            closed_of_no_user: List::new(),
            closed_pending: 0,
            unclaimed: 0,
            had_sessions: false,
            retries: Retries::NONE,
            groups: 0,
            files: Slab::new(),
            joints: Joints::new(),
            patiences: Patiences::FULL,
            arrivals: Arrivals::new(),
            graph: Graph::new(Hash::new(seed)),
            hash: Hash::new(seed),
            names: Index::new(),
            tokens: Index::new(),
            objects: Index::new(),
            device_tokens: Index::new(),
            accounts: Slab::new(),
            users: Index::new(),
            quotas: Quotas::DEFAULT,
            users_used: Used::NOTHING,
            users_quotas: Quotas::TOGETHER,
            users_told: [false; Quota::ALL.len()],
            unowned: Unowned::Administrator,
            opened: false,
            device_sessions: 0,
            device_files: 0,
            chain: SessionChain::<H>::new(),
            root: None,
            flb_page: None,
            supplement: None,
            subsystem_page: None,
            record_chain: RecordChain::<H>::new(),
            records: 0,
            by_event: false,
            handover: Handover::Nothing,
            takeovers: 0,
            update_number: 0,
            losses: Losses::NONE,
            told: Told::NOTHING,
            lost_before: Losses::NONE,
        }
    }

    /// Decides who may take back what is nobody's.
    pub fn set_unowned(&mut self, unowned: Unowned) {
        self.unowned = unowned;
    }

    /// Where the machine is in an update.
    #[must_use]
    pub const fn state(&self) -> State {
        self.update.state()
    }

    /// Whether a transition is under way.
    #[must_use]
    pub const fn is_moving(&self) -> bool {
        self.update.is_moving()
    }

    /// Changes of state since boot: what a host compares to tell whether there
    /// was one.
    #[must_use]
    pub const fn state_changes(&self) -> u64 {
        self.update.changes()
    }

    /// Whether it may be changed now what everybody is to agree to: what is registered on
    /// the device, and which subsystems there are.
    ///
    /// # Errors
    /// [`Error::Prepared`], [`Error::Frozen`]; pending during a transition.
    pub fn may_change(&self) -> Poll<Result<(), Error>> {
        self.update.changeable()
    }

    /// The last transition that failed.
    #[must_use]
    pub const fn last_failure(&self) -> Option<&LastFailure> {
        self.update.last_failure()
    }

    /// Live updates that brought the machine here, 0 after a cold boot.
    #[must_use]
    pub const fn update_number(&self) -> u64 {
        self.update_number
    }

    /// How many sessions there are of a direction.
    #[must_use]
    pub const fn session_count(&self, direction: Direction) -> usize {
        match direction {
            Direction::Outgoing => self.outgoing.len,
            Direction::Incoming => self.incoming.len.saturating_add(self.finished.len),
        }
    }

    /// The transition that has begun waits for nobody any more.
    pub(crate) fn begin_work(&mut self) {
        self.update.work();
        self.patiences = Patiences::FULL;
    }

    /// Pipes of which an end is preserved, and pipes that come back: what nobody sees.
    #[cfg(feature = "fault-injection")]
    #[must_use]
    pub fn pipe_counts(&self) -> [usize; 2] {
        [self.joints.len(), self.arrivals.len()]
    }

    /// How many files there are in all sessions.
    #[must_use]
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// A session's name and direction.
    #[must_use]
    pub fn session_info(&self, id: SessionId) -> Option<(SessionName, Direction)> {
        self.sessions
            .get(id)
            .map(|session| (session.name, session.direction()))
    }

    /// Where a caller waits whose step has just said [`Poll::Pending`].
    #[must_use]
    pub fn spot(&self) -> Spot {
        self.update.waits.take_spot()
    }

    /// Those who wait for what a step can have changed. To be asked for after each step that ran
    /// to its end, before the lock is let go; they can be woken afterwards.
    pub fn take_woken(&mut self) -> Woken {
        self.update.waits.take_woken()
    }

    /// The machine has gone, and what simulates it is to come to its end: calls that stood still for
    /// a jump end. In a kernel nobody is left then to say so.
    pub fn let_calls_end(&mut self) {
        self.update.is_gone();
    }

    /// In place of [`Self::take_woken`], if nobody waits, or is going to whose step has said so.
    #[inline]
    pub fn forget_woken(&mut self) {
        self.update.waits.forget_woken();
    }

    pub(crate) const fn list(&self, direction: Direction) -> &List<of::Session> {
        match direction {
            Direction::Outgoing => &self.outgoing,
            Direction::Incoming => &self.incoming,
        }
    }

    fn list_mut(&mut self, direction: Direction) -> &mut List<of::Session> {
        match direction {
            Direction::Outgoing => &mut self.outgoing,
            Direction::Incoming => &mut self.incoming,
        }
    }

    // Beginning and ending operations.

    /// The session, if an operation on one of its files may begin now.
    pub(crate) fn enter(
        &mut self,
        id: SessionId,
        direction: Direction,
    ) -> Poll<Result<&mut Session<H>, Error>> {
        core::task::ready!(self.update.admits())?;
        match self.sessions.get_mut(id) {
            None => Poll::Ready(Err(Error::NoSession)),
            Some(session) if session.direction() != direction => {
                Poll::Ready(Err(Error::WrongDirection))
            }
            Some(session) if session.locked => self.update.waits.pend(Topic::Session(id)),
            // Nobody has claimed it, or the program that had it has closed it.
            Some(session) if session.incoming().is_some_and(|of| !of.claimed) => {
                Poll::Ready(Err(Error::NoSession))
            }
            Some(session) => Poll::Ready(Ok(session)),
        }
    }
}

/// The files of the sessions of a list, session by session, each in the order
/// they were preserved in.
pub(crate) fn files_of<'a, H: Host>(
    sessions: &'a Slab<of::Session, Session<H>>,
    files: &'a Slab<of::File, File<H>>,
    list: &List<of::Session>,
    wanted: impl Fn(&Session<H>) -> bool + Clone + 'a,
) -> impl Iterator<Item = FileId> + Clone + 'a {
    let mut session = list.first;
    let mut file: Option<FileId> = None;
    core::iter::from_fn(move || loop {
        if let Some(id) = file {
            file = files.get(id)?.links.next;
            return Some(id);
        }
        let current = sessions.get(session?)?;
        session = current.links.next;
        if wanted(current) {
            file = current.files.first;
        }
    })
}
