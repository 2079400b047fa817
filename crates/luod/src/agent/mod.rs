// SPDX-License-Identifier: MIT OR Apache-2.0
//! The agent: what it knows, and what is done with it. One thread; a borrow of the
//! state never lasts over an `await`.
//!
//! | file | concern |
//! |---|---|
//! | `state` | workloads, sessions, phases: the data |
//! | `workload` | register, answer, leave, be lost |
//! | `inbox` | what a workload has not been told of yet |
//! | `held` | sessions, by name and by workload |
//! | `session` | make, attach, drop; the descriptor store |
//! | `claim` | give back, finish |
//! | `update` | prepare, freeze, jump |
//! | `asking` | a round of asking |
//! | `undo` | how an update is undone |
//! | `start` | what an earlier agent, or kernel, has left |
//! | `restore` | after the jump: claims, deadlines, the end |
//! | `check` | what is looked at before an update |
//! | `timeline` | what has happened, for those who watch and for the history |
//! | `view` | how it stands, for those who look |

mod asking;
mod check;
mod claim;
mod held;
mod inbox;
mod restore;
mod session;
mod start;
mod state;
#[cfg(test)]
mod tests;
mod timeline;
mod undo;
mod update;
mod view;
mod workload;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use luo_varlink::TimelineEvent;
use tokio::sync::{Notify, broadcast};

use crate::decide::config::Config;
use crate::decide::policy::Policy;
use crate::journal::history::History;
use crate::journal::metrics::Metrics;
use crate::journal::notes::Notes;
use crate::kernel::{Probe, Worker};
use crate::manager::store::Store;

pub use inbox::Inbox;
pub use workload::Caller;

use state::State;

/// Lines of a timeline that a watcher may be behind.
const BEHIND: usize = 8192;

/// What an agent is made of.
pub struct Parts {
    /// Its configuration.
    pub config: Config,
    /// Who may own what.
    pub policy: Policy,
    /// Its notes of this boot.
    pub notes: Notes,
    /// The thread that talks to the kernel.
    pub kernel: Worker,
    /// The kernel, as it was found.
    pub probe: Probe,
    /// The service manager's descriptor store.
    pub store: Store,
}

/// The agent.
pub struct Agent {
    config: Config,
    policy: Policy,
    history: History,
    notes: Notes,
    kernel: Worker,
    probe: Probe,
    store: Store,
    /// What is counted.
    pub metrics: Metrics,
    state: RefCell<State>,
    /// The kernel, as it was last seen.
    seen: RefCell<Option<view::Seen>>,
    /// How often the agent may have changed how the kernel stands.
    changes: Cell<u64>,
    /// Something has changed for those who wait in a claim.
    changed: Notify,
    timeline: broadcast::Sender<Arc<TimelineEvent>>,
    /// When the agent was started, for the rate of the processor's counter.
    started: (Instant, Option<u64>),
}

impl Agent {
    /// An agent that knows nothing yet; [`Agent::start`] finds out.
    #[must_use]
    pub fn new(parts: Parts) -> Rc<Self> {
        Rc::new(Self {
            history: History::in_directory(&parts.config.state_directory),
            config: parts.config,
            policy: parts.policy,
            notes: parts.notes,
            kernel: parts.kernel,
            probe: parts.probe,
            store: parts.store,
            metrics: Metrics::default(),
            state: RefCell::default(),
            seen: RefCell::default(),
            changes: Cell::default(),
            changed: Notify::new(),
            timeline: broadcast::channel(BEHIND).0,
            started: (Instant::now(), luo_sys::clock::ticks()),
        })
    }

    /// The lines of timelines from now on.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Arc<TimelineEvent>> {
        self.timeline.subscribe()
    }

    /// How many users' connections there may be.
    #[must_use]
    pub fn connections_of_user(&self) -> usize {
        self.policy.limits.connections
    }

    /// The history.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }
}
