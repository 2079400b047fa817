// SPDX-License-Identifier: MIT OR Apache-2.0
//! The record that the previous kernel handed over: it is read, noted, and taken up.
//!
//! ```text
//! the notes --------.
//! the kernel --> noted --> taken up: the workloads in it are waited for
//!     |            `-----> cannot be read: nobody is let in
//!     `-- fails: it is tried again and again
//! ```
//!
//! From before it is read until it is noted, the record's session is in the descriptor store:
//! luod may be killed at any moment, and the kernel would see the session closed, and the record
//! with it. A call of the kernel that fails says nothing of the record: memory may be short for a
//! moment.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::Duration;

use luo_sys::Session;
use luo_varlink::{Orchestrator, Phase};

use super::Agent;
use super::clock::at_last;
use super::doubt::{Known, found_out};
use crate::decide::failed::Failed;
use crate::decide::names::OWN_SESSION;
use crate::decide::record::Record;
use crate::journal::notes::{Owner, Progress};
use crate::kernel::{Kernel, Opener};

/// How long to wait before the record is read again, while workloads wait for luod.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_millis(1000),
];

/// How long to wait before it is read again once nobody is kept waiting by that.
const AGAIN: Duration = Duration::from_secs(10);

/// A record as it came, which nobody has judged yet.
struct Raw {
    bytes: Vec<u8>,
    /// Whether it stands in the notes.
    is_noted: bool,
    /// Whether no earlier process of this agent has noted it.
    is_anew: bool,
}

impl Agent {
    /// Reads the record of the previous kernel, from the notes of an earlier process or
    /// else from the kernel. The record is noted before it is judged. `kept` is the agent's
    /// own session if the descriptor store has it; it goes from there unless there is a
    /// record in it that nobody can read, or that cannot be noted. `stored` are the sessions
    /// that the store has.
    pub(super) async fn read_record(
        self: &Rc<Self>,
        kept: Option<Session>,
        owners: &[Owner],
        stored: &BTreeSet<String>,
    ) {
        let noted = match self.notes.record() {
            Ok(Some(bytes)) => {
                let raw = Raw {
                    bytes,
                    is_noted: true,
                    is_anew: false,
                };
                return self.take_up(Some(raw), owners, stored).await;
            }
            Ok(None) => None,
            Err(why) => Some(why),
        };
        match (self.take_record(kept).await, noted) {
            (Ok(Some(bytes)), noted) => {
                // The kernel gives it until it is noted.
                let is_anew = noted.is_none_or(|why| why.kind() == ErrorKind::NotFound);
                let raw = self.note_record(bytes, is_anew).await;
                self.take_up(Some(raw), owners, stored).await;
            }
            // There was one, and nobody else has it.
            (Ok(None), Some(why)) => self.cannot_read(&format!("the note of it: {why}")),
            (Ok(None), None) => self.take_up(None, owners, stored).await,
            (Err(why), None) if self.probe.orchestrator == Orchestrator::None => {
                tracing::debug!("no record: {why}");
                self.unstore(OWN_SESSION);
            }
            (Err(why), _) => {
                self.keep_unread_in_store().await;
                self.cannot_read(&words(&why));
                self.read_record_later(owners.to_vec());
            }
        }
    }

    /// Takes the record from the kernel, and tries that some times if it fails.
    async fn take_record(&self, mut kept: Option<Session>) -> Result<Option<Vec<u8>>, Failed> {
        let mut pauses = PAUSES.iter();
        loop {
            let kept = kept.take();
            let taking = self.take_from_the_kernel(kept);
            let taken = at_last("RETRIEVE_SESSION of its record", taking).await;
            let Err(why) = &taken else {
                return taken;
            };
            let pause = pauses.next();
            let Some(pause) = pause.filter(|_| self.probe.orchestrator != Orchestrator::None)
            else {
                return taken;
            };
            tracing::warn!("the record of the previous kernel is read again, for it failed: {why}");
            tokio::time::sleep(*pause).await;
        }
    }

    /// Takes the record from the kernel, once. The store gets its session before it is read.
    async fn take_from_the_kernel(&self, kept: Option<Session>) -> Result<Option<Vec<u8>>, Failed> {
        let place = (!self.store.has(OWN_SESSION)).then(|| self.store.place(OWN_SESSION));
        let had_none = place.is_some();
        let job = move |kernel: &mut dyn Kernel| {
            let mut stored = false;
            let mut received = |session: &Session| {
                stored = place.as_ref().is_some_and(|place| place.fill(session));
            };
            let taken = kernel.take_record(kept, &mut received);
            (taken, stored)
        };
        let (taken, stored) = self.kernel.run(job).await;
        if had_none && !stored {
            self.store.vacate(OWN_SESSION);
        }
        taken
    }

    /// Notes a record that the kernel has given.
    async fn note_record(&self, bytes: Vec<u8>, is_anew: bool) -> Raw {
        let noted = self.notes.begin_record(&bytes);
        self.state.borrow_mut().unnoted_record = noted.is_err();
        if let Err(why) = &noted {
            self.keep_record_in_store(why).await;
        }
        Raw {
            bytes,
            is_noted: noted.is_ok(),
            is_anew,
        }
    }

    /// Judges a record, and waits for the workloads in it.
    async fn take_up(
        self: &Rc<Self>,
        raw: Option<Raw>,
        owners: &[Owner],
        stored: &BTreeSet<String>,
    ) {
        let is_noted = raw.as_ref().is_none_or(|raw| raw.is_noted);
        if let Some(raw) = raw {
            match Record::decode(&raw.bytes) {
                Ok(record) => self.go_on_with(record, raw, owners, stored).await,
                Err(why) => self.cannot_read(&why.to_string()),
            }
        }
        if is_noted && self.state.borrow().unreadable.is_none() {
            self.unstore(OWN_SESSION);
        }
    }

    async fn go_on_with(
        self: &Rc<Self>,
        record: Record,
        raw: Raw,
        owners: &[Owner],
        stored: &BTreeSet<String>,
    ) {
        if raw.is_noted {
            self.begin_task(async |agent| agent.drop_kernels_record().await);
        }
        let progress = match self.notes.progress() {
            Ok(progress) => progress,
            // There was no room for it.
            Err(why) if raw.is_anew && why.kind() == ErrorKind::NotFound => Progress::default(),
            Err(why) => self.find_out(&record, owners, stored, &why).await,
        };
        // An earlier process of this agent has them in its notes.
        if raw.is_anew {
            self.go_on_writing_of_before(&record.unwritten);
        }
        let is_damaged = progress.damaged.is_some();
        self.begin_restore(record, progress);
        if is_damaged {
            self.note_progress();
        }
        if !raw.is_noted {
            self.note_record_later(raw.bytes);
        }
    }

    /// Tries on and on to read the record, which the kernel has failed to give.
    fn read_record_later(self: &Rc<Self>, owners: Vec<Owner>) {
        let agent = Rc::clone(self);
        let is_given_up = |agent: &Self| agent.state.borrow().unreadable.is_none();
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(AGAIN).await;
                if is_given_up(&agent) {
                    return;
                }
                let taken = agent.take_from_the_kernel(None).await;
                // An administrator may have done so meanwhile.
                if is_given_up(&agent) {
                    return;
                }
                match taken {
                    Ok(taken) => return agent.has_read_late(taken, &owners).await,
                    Err(why) => {
                        agent.state.borrow_mut().unreadable = Some(words(&why));
                        agent.keep_unread_in_store().await;
                    }
                }
            }
        });
    }

    /// Goes on as after a start that has read the record.
    async fn has_read_late(self: &Rc<Self>, taken: Option<Vec<u8>>, owners: &[Owner]) {
        let stored = {
            let mut state = self.state.borrow_mut();
            state.unreadable = None;
            let held = state.sessions.iter();
            let held = held.filter(|(_, held)| held.session.is_some());
            let names = held.map(|(name, _)| name).chain(state.strays.keys());
            names.cloned().collect()
        };
        let raw = match taken {
            Some(bytes) => Some(self.note_record(bytes, true).await),
            None => None,
        };
        self.take_up(raw, owners, &stored).await;
        self.find_the_parked(owners);
        self.leave_the_left();
        self.note_the_parked();
        self.changed.notify_waiters();
        if self.state.borrow().restore.is_some() {
            tracing::info!("the record of the previous kernel is read");
            self.watch_the_deadline();
            self.end_if_over();
        } else if self.state.borrow().unreadable.is_none() {
            self.end_the_open().await;
            self.enter(Phase::Normal);
            self.changed.notify_waiters();
        }
    }

    /// Finds out how far the workloads of a record have come back, without the note of that.
    async fn find_out(
        &self,
        record: &Record,
        owners: &[Owner],
        stored: &BTreeSet<String>,
        why: &io::Error,
    ) -> Progress {
        let listing = self.ask_kernel("LIST_SESSIONS", |kernel| kernel.sessions(Opener::Waited));
        // Mainline's orchestrator lists none.
        let listed = listing.await.ok().and_then(Result::ok).flatten();
        let known = Known {
            kernel: listed.as_deref(),
            store: stored,
            owners,
        };
        let progress = found_out(record, &known, why.to_string());
        tracing::error!(
            update = record.update,
            "the note of who has come back since the jump is damaged: {why}. What the kernel and \
             the record tell counts: these serve: {}; it is not known of these: {}",
            listed_or_none(&progress.restored),
            listed_or_none(&progress.doubt)
        );
        progress
    }
}

/// Why a record cannot be read that the kernel has not given.
fn words(why: &Failed) -> String {
    format!("{why}; luod tries again every {} s", AGAIN.as_secs())
}

/// Names, for people.
fn listed_or_none(names: &[String]) -> String {
    match names {
        [] => "nobody".to_owned(),
        names => names.join(", "),
    }
}
