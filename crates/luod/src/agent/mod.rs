// SPDX-License-Identifier: MIT OR Apache-2.0
//! The agent: what it knows, and what is done with it. One thread; a borrow of the
//! state never lasts over an `await`.
//!
//! Each file names only those above it in this table. No two need each other by the methods of
//! [`Agent`] that they call, either:
//!
//! | file | concern |
//! |---|---|
//! | `clock` | times, as timelines have them |
//! | `held` | sessions, by name and by workload |
//! | `inbox` | the events that a workload has not been told of yet |
//! | `caller` | a connection, as the agent sees it |
//! | `hang` | a job of the kernel's thread that is not waited for any longer |
//! | `at_work` | what an update is at while it asks no workload |
//! | `unread` | what administrators and workloads have sent and nobody has read |
//! | `state` | workloads, sessions, phases: the data |
//! | here | [`Agent`] itself: the state and all that it works with |
//! | `patience` | how long workloads are waited for |
//! | `settings` | the configuration and the policy, which may be read anew |
//! | `timeline` | lines of events, for watchers and for the history |
//! | `step` | the kernel's steps of an update: each has a deadline and can be called off |
//! | `under_way` | the update that is under way, as the history has it |
//! | `stored` | what the descriptor store has of the sessions |
//! | `noted` | notes of sessions, for an agent that is started anew |
//! | `parked` | sessions that a workload has left for good |
//! | `doubt` | the note of who has come back is damaged |
//! | `written` | updates that are over are written down: notes, history, pictures |
//! | `unowned` | sessions of the previous kernel that nobody here owns |
//! | `room` | whether the disk would take an update that is over, for whoever looks |
//! | `unreadable` | the record cannot be read: nobody is let in |
//! | `strays` | sessions of the descriptor store whose note is gone |
//! | `custody` | who has a session, and what nobody keeps that luod alone has |
//! | `view` | the status of the agent, and the list of sessions |
//! | `check` | the checks before an update |
//! | `access` | which names an identity may have |
//! | `shares` | how many workloads and sessions a user may have |
//! | `over` | the end of an update after the jump |
//! | `keep` | the agent's copies of sessions: how they come and go |
//! | `workload` | a workload registers, answers, leaves, is lost |
//! | `session` | calls about outgoing sessions: make, attach, drop |
//! | `declare` | files that are going to be preserved |
//! | `claim` | calls about incoming sessions: claim, finish |
//! | `release` | an administrator releases a session |
//! | `unclaimed` | incoming sessions that nobody claims: the deadline, an administrator |
//! | `open_ends` | updates that have ended with their machine |
//! | `restore` | after the jump: the record's workloads come back |
//! | `handed_over` | the previous kernel's record is read, noted, and taken up |
//! | `undo` | how an update is undone |
//! | `cancel` | an update that somebody ends before the jump |
//! | `asking` | a round of asking |
//! | `jump` | the jump |
//! | `update` | prepare, freeze, and all of an update in a row |
//! | `start` | the start: goes on from what an earlier agent, or the previous kernel, has left |

mod access;
mod asking;
mod at_work;
mod caller;
mod cancel;
mod check;
mod claim;
mod clock;
mod custody;
mod declare;
mod doubt;
mod handed_over;
mod hang;
mod held;
mod inbox;
mod jump;
mod keep;
mod noted;
mod open_ends;
mod over;
mod parked;
mod patience;
mod release;
mod restore;
mod room;
mod session;
mod settings;
mod shares;
mod start;
mod state;
mod step;
mod stored;
mod strays;
#[cfg(test)]
mod tests;
mod timeline;
mod unclaimed;
mod under_way;
mod undo;
mod unowned;
mod unread;
mod unreadable;
mod update;
mod view;
mod workload;
mod written;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use luo_sys::ParticipantEntry;
use luo_varlink::{HistoryEntry, TimelineEvent};
use tokio::sync::{Notify, Semaphore, broadcast};

use crate::decide::config::Config;
use crate::decide::policy::Policy;
use crate::journal::history::History;
use crate::journal::metrics::Metrics;
use crate::journal::notes::Notes;
use crate::journal::quiet::Quiet;
use crate::kernel::{Probe, Resolve, Tell, Worker};
use crate::manager::store::Store;

pub use caller::Caller;
pub use check::offline;
pub use clock::{at_last, begin_to_count};
pub use declare::Declaration;
pub use inbox::Inbox;
pub use unread::Unread;

use at_work::AtWork;
use hang::Hang;
use state::{Seen, State, Tried, Unowned};

/// Lines of a timeline that a watcher may be behind.
const BEHIND: usize = 8192;

/// Threads that may hang in a disk, of a kind.
const THREADS: usize = 8;

/// All of them: three kinds, and those that write the history and pictures, and try the disk.
pub const ALL_THREADS: usize = 4 * THREADS;

/// The formats that stand in the running kernel's own image, once they have been read.
type OwnStrings = Arc<OnceLock<luo_preflight::Known<Vec<String>>>>;

/// Reads the configuration and the policy as the next luod will; says why they cannot be used.
pub type Reread = Arc<dyn Fn() -> Result<(), Unusable> + Send + Sync>;

/// Why luod could not be started with its files as they are.
#[derive(Clone, Debug)]
pub struct Unusable {
    /// All that is wrong.
    pub why: String,
    /// The remedy.
    pub remedy: &'static str,
}

/// The parts that an agent is made of.
pub struct Parts {
    /// Its configuration.
    pub config: Config,
    /// The policy.
    pub policy: Policy,
    /// Its notes of this boot.
    pub notes: Notes,
    /// The thread that talks to the kernel.
    pub kernel: Worker,
    /// The kernel, as it was found.
    pub probe: Probe,
    /// Asks what the kernel tells everybody.
    pub tell: Tell,
    /// Reads the boot loader's entries.
    pub resolve: Resolve,
    /// Reads the configuration and the policy.
    pub reread: Reread,
    /// The service manager's descriptor store.
    pub store: Store,
}

/// The agent.
pub struct Agent {
    /// For tasks that go on when whoever began them does not wait.
    me: Weak<Self>,
    config: RefCell<Rc<Config>>,
    /// A configuration that counts from the end of the update on.
    next_config: RefCell<Option<Config>>,
    policy: RefCell<Rc<Policy>>,
    history: History,
    notes: Notes,
    kernel: Worker,
    probe: Probe,
    tell: Tell,
    resolve: Resolve,
    reread: Reread,
    own_strings: OwnStrings,
    store: Store,
    /// Counters for Prometheus.
    pub metrics: Metrics,
    state: RefCell<State>,
    /// The kernel, as it was last seen.
    seen: RefCell<Option<Seen>>,
    /// The sessions that nobody here owns, as they were last seen.
    unowned: RefCell<Unowned>,
    /// The participants in updates, as the kernel last listed them.
    heard: RefCell<Option<Vec<ParticipantEntry>>>,
    /// How often the agent may have changed how the kernel stands.
    changes: Cell<u64>,
    /// The calls that the kernel hangs in, the first first.
    hanging: RefCell<Vec<Hang>>,
    /// One question at a time may wait for the kernel's thread.
    questions: Arc<Semaphore>,
    /// The current work of an update.
    at_work: AtWork,
    /// Tasks that write what is over, and are not late.
    writes: Cell<usize>,
    /// A task waits to try the end of an update again.
    ends_later: Cell<bool>,
    /// A task tells the service manager what it has not taken.
    stores_later: Cell<bool>,
    /// A task waits to try a disk again.
    tries_again: Cell<bool>,
    /// The last update, if it was lost in the jump and none has begun since.
    lost: RefCell<Option<String>>,
    /// Whether the disk would take an update that is over.
    tried: Tried,
    /// Why the configuration or the policy could not be read again, if that was the last that
    /// was tried.
    not_reloaded: RefCell<Option<String>>,
    /// The place of the history that the configuration names and that counts from the next start.
    moves_later: RefCell<Option<PathBuf>>,
    /// Pictures that a task is at, and what to draw after that.
    pictures: RefCell<BTreeMap<String, Option<HistoryEntry>>>,
    /// Threads that may read the history at the same time.
    readers: Arc<Semaphore>,
    /// Threads that may try whether something can be written.
    trials: Arc<Semaphore>,
    /// Threads that may look at the boot entries, at kernels and at initrds.
    lookers: Arc<Semaphore>,
    /// Notifies all that wait for a change of the state: claims, cancels, the end.
    changed: Notify,
    /// The sockets of administrators.
    pub unread: Unread,
    /// The sockets of workloads.
    pub clients_unread: Unread,
    quiet: Quiet,
    timeline: broadcast::Sender<Arc<TimelineEvent>>,
    /// When the agent was started, for the rate of the processor's counter.
    started: (Instant, Option<u64>),
}

impl Agent {
    /// An agent that knows nothing yet; [`Agent::start`] finds out how things stand.
    #[must_use]
    pub fn new(parts: Parts) -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            history: History::in_directory(&parts.config.state_directory),
            config: RefCell::new(Rc::new(parts.config)),
            next_config: RefCell::default(),
            policy: RefCell::new(Rc::new(parts.policy)),
            notes: parts.notes,
            kernel: parts.kernel,
            probe: parts.probe,
            tell: parts.tell,
            resolve: parts.resolve,
            reread: parts.reread,
            own_strings: OwnStrings::default(),
            store: parts.store,
            metrics: Metrics::default(),
            state: RefCell::default(),
            seen: RefCell::default(),
            unowned: RefCell::default(),
            changes: Cell::default(),
            hanging: RefCell::default(),
            questions: Arc::new(Semaphore::new(1)),
            at_work: AtWork::default(),
            writes: Cell::default(),
            ends_later: Cell::default(),
            stores_later: Cell::default(),
            tries_again: Cell::default(),
            heard: RefCell::default(),
            lost: RefCell::default(),
            tried: Tried::default(),
            not_reloaded: RefCell::default(),
            moves_later: RefCell::default(),
            pictures: RefCell::default(),
            readers: Arc::new(Semaphore::new(THREADS)),
            trials: Arc::new(Semaphore::new(THREADS)),
            lookers: Arc::new(Semaphore::new(THREADS)),
            changed: Notify::new(),
            unread: Unread::default(),
            clients_unread: Unread::default(),
            quiet: Quiet::default(),
            timeline: broadcast::channel(BEHIND).0,
            started: (Instant::now(), luo_sys::clock::ticks()),
        })
    }

    /// Begins something that nobody here waits for.
    fn begin_task<T: Future<Output = ()> + 'static>(&self, task: impl FnOnce(Rc<Self>) -> T) {
        if let Some(agent) = self.me.upgrade() {
            tokio::task::spawn_local(task(agent));
        }
    }

    /// Waits until something is so that comes about only with a change of the state.
    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        loop {
            // Before the look: no change between the two is missed.
            let changed = self.changed.notified();
            if is_so(self) {
                return;
            }
            changed.await;
        }
    }

    /// The lines of timelines from now on.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Arc<TimelineEvent>> {
        self.timeline.subscribe()
    }

    /// The history.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }
}
