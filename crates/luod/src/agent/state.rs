// SPDX-License-Identifier: MIT OR Apache-2.0
//! The state of the agent: data, without I/O.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use luo_core::transition;
use luo_sys::{Event as KernelEvent, Session, State as KernelState};
use luo_timeline::Moment;
use luo_varlink::{
    Check, Event, Identity, Phase, Step, Target, TimelineEvent, WorkloadState, admin,
};
use tokio::sync::mpsc;

use super::held::{Held, Sessions};
use super::inbox::Inbox;
use crate::aside::Aside;
use crate::decide::gate::Gate;
use crate::decide::plan::{Graph, Obstacle};
use crate::decide::record::Record;
use crate::journal::clock::Clock;
use crate::journal::notes::{Late, Progress};
use crate::kernel::Probe;

/// The state of the agent.
#[derive(Default)]
pub(super) struct State {
    pub(super) phase: Place,
    /// The update before the jump.
    pub(super) update: Option<Update>,
    /// The update after the jump.
    pub(super) restore: Option<Restore>,
    /// The last update, while workloads of it are late.
    pub(super) late: Option<Late>,
    /// Why the previous kernel's record cannot be read. Nothing of it is touched then.
    pub(super) unreadable: Option<String>,
    /// luod has the session of the previous kernel's record, which is not in the notes: with the
    /// last descriptor of that the record goes.
    pub(super) unnoted_record: bool,
    pub(super) workloads: BTreeMap<String, Workload>,
    pub(super) sessions: Sessions,
    /// Notes of past updates that are damaged, and what that means, in words.
    pub(super) damaged: Vec<String>,
    /// The sessions that have gone with an earlier luod, in words.
    pub(super) lost_with_luod: Option<String>,
    /// Sessions in the descriptor store whose note is gone.
    pub(super) strays: BTreeMap<String, Stray>,
    /// Sessions that the agent has let go of, or was refused, each with its workload: the kernel
    /// may have them still, for some program has a descriptor of one.
    pub(super) parted: Parted,
}

/// Sessions for the next kernel that the agent has no more, by name, and the workload of each.
#[derive(Default)]
pub(super) struct Parted(BTreeMap<String, String>);

impl Parted {
    /// So many are looked for. Whoever makes more than that and drops them is not told of the
    /// first.
    const MOST: usize = 1024;

    pub(super) fn put(&mut self, session: &str, workload: &str) {
        if self.0.len() >= Self::MOST && !self.0.contains_key(session) {
            self.0.pop_first();
        }
        self.0.insert(session.to_owned(), workload.to_owned());
    }

    /// Forgets a session: it is another one by now, or gone.
    pub(super) fn remove(&mut self, session: &str) {
        self.0.remove(session);
    }

    pub(super) fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.0.retain(|session, _| is_there(session));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter()
    }
}

/// A session that the descriptor store has kept, and whose note is gone.
pub(super) struct Stray {
    pub(super) session: Aside<Session>,
    /// Whether it came from the previous kernel, as far as the kernel tells.
    pub(super) incoming: bool,
    /// Whether it is in the descriptor store.
    pub(super) stored: bool,
}

/// A phase; normal to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(pub(super) Phase);

impl Default for Place {
    fn default() -> Self {
        Self(Phase::Normal)
    }
}

impl Place {
    /// The state of the machine that a phase belongs to. A phase between two states belongs
    /// to none, and no event is legal in it.
    fn state(self) -> Option<KernelState> {
        match self.0 {
            Phase::Normal => Some(KernelState::Normal),
            Phase::Prepared => Some(KernelState::Prepared),
            Phase::Frozen => Some(KernelState::Frozen),
            Phase::Updated => Some(KernelState::Updated),
            Phase::Preparing | Phase::Freezing | Phase::Jumping | Phase::Cancelling => None,
        }
    }

    /// Whether an event is legal here: the engine's table decides.
    pub(super) fn allows(self, event: KernelEvent) -> Result<(), admin::Error> {
        let legal = self.state().and_then(|state| transition(event, state));
        legal.map(drop).ok_or_else(|| self.illegal(event.word()))
    }

    pub(super) fn illegal(self, event: &str) -> admin::Error {
        admin::Error::Illegal {
            event: event.to_owned(),
            phase: self.0,
        }
    }
}

/// A workload.
pub(super) struct Workload {
    pub(super) identity: Identity,
    pub(super) needs: Vec<String>,
    pub(super) state: WorkloadState,
    pub(super) link: Option<Link>,
    /// When it is late with its answer, if it was asked.
    pub(super) late_at: Option<Instant>,
    /// Its words about itself.
    pub(super) about: Option<String>,
}

impl Workload {
    /// Whether it is connected. Its state says what is expected of it.
    pub(super) fn is_there(&self) -> bool {
        self.link.is_some()
    }

    /// Whether a session was finished for it without its knowing. It is told so once.
    pub(super) fn has_finished(&mut self, session: &str) -> bool {
        let link = self.link.as_mut();
        link.is_some_and(|link| link.finished.remove(session))
    }

    pub(super) fn tell(&self, event: Event) {
        if let Some(link) = &self.link {
            link.inbox.put(event);
        }
    }
}

/// A workload's connection.
pub(super) struct Link {
    pub(super) connection: u64,
    pub(super) inbox: Inbox,
    /// Its control group, as a path.
    pub(super) group: Option<String>,
    /// Sessions of the previous kernel that were finished for it when it did not wait for that
    /// any more.
    pub(super) finished: BTreeSet<String>,
}

/// An update before the jump.
pub(super) struct Update {
    pub(super) id: String,
    /// It was started when the update began.
    pub(super) clock: Clock,
    pub(super) timeline: Vec<Arc<TimelineEvent>>,
    pub(super) graph: Graph,
    /// The workloads that were asked, in order.
    pub(super) asked_to_prepare: Vec<String>,
    pub(super) asked_to_freeze: Vec<String>,
    pub(super) freeze: Moment,
    /// The kernel to jump into.
    pub(super) target: Target,
    /// The checks that warn of something.
    pub(super) warnings: Vec<Check>,
    /// Where a picture of it is wanted when it is over.
    pub(super) report: Option<String>,
    /// Bytes set aside for the record that is written once all stand still.
    pub(super) room: usize,
    /// Lines of the timeline that are in it.
    pub(super) recorded: usize,
    /// The channel on which a round of asking listens, while one is under way.
    pub(super) ear: Option<mpsc::UnboundedSender<Said>>,
    /// The reason that ends the update, if one came up while no round was listening.
    pub(super) doom: Option<admin::Error>,
    /// The last decision: whether it is called off or the machine jumps.
    pub(super) gate: Arc<Gate>,
}

impl Update {
    /// An update that has begun.
    pub(super) fn new(id: String, clock: Clock, graph: Graph) -> Self {
        Self {
            id,
            clock,
            timeline: Vec::new(),
            graph,
            asked_to_prepare: Vec::new(),
            asked_to_freeze: Vec::new(),
            freeze: Moment::default(),
            target: Target::default(),
            warnings: Vec::new(),
            report: None,
            room: 0,
            recorded: 0,
            ear: None,
            doom: None,
            gate: Arc::default(),
        }
    }
}

/// A message to a round of asking.
#[derive(Debug)]
pub(super) enum Said {
    /// A workload agrees.
    Agreed(String),
    /// A workload that has agreed leaves.
    Left(String),
    /// The update is off.
    Off(admin::Error),
}

/// An update after the jump.
pub(super) struct Restore {
    pub(super) record: Record,
    pub(super) progress: Progress,
    pub(super) timeline: Vec<Arc<TimelineEvent>>,
    /// Sessions that were released because nobody claimed them.
    pub(super) released: BTreeSet<String>,
    /// The deadline.
    pub(super) until: Option<Instant>,
    /// It has passed.
    pub(super) overdue: bool,
    /// Whether the record could not be noted yet: its session is kept then.
    pub(super) is_unnoted: bool,
    /// Microseconds by which this kernel's clock is behind the previous one's: a kernel
    /// sets its own from one of whole seconds.
    pub(super) behind_us: Option<i64>,
}

impl Restore {
    /// A moment of this kernel, by the clock of the previous one.
    pub(super) fn time_us(&self, time_us: u64) -> u64 {
        time_us.saturating_add_signed(self.behind_us.unwrap_or(0))
    }
}

impl State {
    /// The clock of the update that is under way; else one that is started now.
    pub(super) fn clock(&self) -> Clock {
        let before = self.update.as_ref().map(|update| update.clock);
        let after = || self.restore.as_ref()?.progress.clock;
        before.or_else(after).unwrap_or_else(Clock::start)
    }

    /// This moment, as timelines have it: microseconds since 1970.
    pub(super) fn time_us(&self) -> u64 {
        let now = self.clock().now_us();
        let restore = self.restore.as_ref();
        restore.map_or(now, |restore| restore.time_us(now))
    }
}

/// How a session is given up whose workload is waited for after the jump.
pub(super) const BY_FINISH: &str =
    "end the update, which releases what nobody has claimed: `luoctl finish --release`";

impl State {
    /// The graph of which workload needs which, as of now.
    pub(super) fn graph(&self) -> Graph {
        let workloads = self.workloads.iter();
        Graph::new(workloads.map(|(name, workload)| (name.as_str(), workload.needs.as_slice())))
    }

    /// The obstacles that make an update impossible.
    pub(super) fn obstacles(&self) -> Vec<Obstacle> {
        let mut obstacles = self.graph().obstacles();
        let gone = self.workloads.iter().filter(|(_, workload)| {
            workload.link.is_none() && workload.state != WorkloadState::Left
        });
        obstacles.extend(gone.map(|(name, _)| {
            // A program that has come over the jump may be a script, which ends soon.
            let has_arrived = self.sessions.of(name).any(|(_, held)| held.incoming);
            let mut sessions = self.sessions.of(name);
            let release = match sessions.any(|(_, held)| self.ends_with_the_update(held)) {
                true => BY_FINISH,
                false => "release its sessions with `luoctl release`",
            };
            let by_hand = match has_arrived {
                true => " (`luoctl take` for a command)",
                false => "",
            };
            Obstacle {
                found: format!("workload '{name}' is not connected, and has sessions here"),
                remedy: format!("start it{by_hand}, or {release}"),
            }
        }));
        obstacles
    }

    /// Whether a session is kept for its workload until the update is over that has brought it
    /// here: no release is possible before.
    pub(super) fn ends_with_the_update(&self, held: &Held) -> bool {
        self.restore.is_some() && held.incoming && !held.parked
    }

    /// The update's id, before or after the jump.
    pub(super) fn update_id(&self) -> Option<&str> {
        let before = self.update.as_ref().map(|update| update.id.as_str());
        before.or_else(|| {
            self.restore
                .as_ref()
                .map(|restore| restore.record.update.as_str())
        })
    }

    /// Ends the update that is under way: by the round that listens, or if there is none by
    /// the next that looks at `doom`.
    pub(super) fn doom(&mut self, why: admin::Error) {
        if let Some(update) = &mut self.update {
            match &update.ear {
                // If the round has stopped listening, another reason has ended the update.
                Some(ear) => drop(ear.send(Said::Off(why))),
                None => {
                    update.doom.get_or_insert(why);
                }
            }
        }
    }
}

/// Sessions that the kernel has and nobody here, as they were seen: of the previous kernel, and
/// those that the agent has let go of.
#[derive(Clone, Default)]
pub(super) struct Unowned {
    /// Those that nobody here owns.
    pub(super) names: Vec<String>,
    /// Those whose name a session for the next kernel has, too, whoever owns them.
    pub(super) replaced: Vec<String>,
    /// Sessions for the next kernel that the agent has let go of and some program has, with the
    /// workload that had them.
    pub(super) elsewhere: Vec<(String, String)>,
    pub(super) at: Option<Instant>,
    /// Sessions that had been made or released by then.
    pub(super) changes: u64,
}

impl Unowned {
    /// A session was made or released: what was seen is old.
    pub(super) fn has_changed(&mut self) {
        self.at = None;
        self.changes = self.changes.wrapping_add(1);
    }
}

/// The kernel, as it was seen.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) probe: Probe,
    pub(super) at: Instant,
    /// The agent's changes of the kernel by then.
    pub(super) changes: u64,
}

/// Whether the disk would take an update that is over now, as it was last tried.
#[derive(Default)]
pub(super) struct Tried {
    pub(super) at: Cell<Option<Instant>>,
    pub(super) why_not: RefCell<Option<String>>,
    pub(super) is_under_way: Cell<bool>,
}

impl Tried {
    /// Notes what was found just now: by whoever looked, or by a check.
    pub(super) fn found(&self, why_not: Option<String>) {
        self.why_not.replace(why_not);
        self.at.set(Some(Instant::now()));
    }
}

/// The state of a workload that is asked to take a step, and of one that has agreed.
pub(super) fn states_of(step: Step) -> (WorkloadState, WorkloadState) {
    match step {
        Step::Prepare => (WorkloadState::Preparing, WorkloadState::Ready),
        Step::Freeze => (WorkloadState::Freezing, WorkloadState::Frozen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_legal_where_the_engine_says() {
        let legal = |event| {
            let places = Phase::ALL.iter().copied();
            places
                .filter(|&phase| Place(phase).allows(event).is_ok())
                .collect::<Vec<_>>()
        };
        assert_eq!(legal(KernelEvent::Prepare), [Phase::Normal]);
        assert_eq!(legal(KernelEvent::Freeze), [Phase::Prepared]);
        assert_eq!(legal(KernelEvent::Cancel), [Phase::Prepared, Phase::Frozen]);
        assert_eq!(legal(KernelEvent::Finish), [Phase::Updated]);
    }
}
