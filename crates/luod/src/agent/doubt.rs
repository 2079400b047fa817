// SPDX-License-Identifier: MIT OR Apache-2.0
//! After the jump luod was started anew, and the note of who has come back is damaged or gone.
//!
//! luod believes the kernel, the descriptor store and the record then:
//!
//! | a session of the record is | so it |
//! |---|---|
//! | with the kernel, and nobody has claimed it | waits |
//! | taken from the kernel, and not finished | is its workload's |
//! | nowhere any more | is finished |
//!
//! | a workload | counts as one that |
//! |---|---|
//! | all of whose sessions wait | has not come back |
//! | all of whose sessions are finished, or that another one needs which has claimed a session | serves |
//! | else | is in doubt |
//!
//! A workload in doubt that is connected is not late. It serves as soon as it says so, or has
//! nothing to take back any more; the client library says so by itself when it connects again.

use std::collections::BTreeSet;

use luo_sys::{Direction, SessionEntry, SessionState};
use luo_varlink::WorkloadState;

use super::Agent;
use super::state::{Restore, State};
use crate::decide::record::{Participant, Record};
use crate::journal::notes::{Owner, Progress};

/// The remedy.
pub(super) const REMEDY: &str = "nothing is lost: whoever comes back is believed; `luoctl status` \
                                 says who is waited for";

/// Where a session of the record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Waits,
    Taken,
    Finished,
    /// The kernel does not tell, and the descriptor store does not have it.
    Unknown,
}

/// The facts that are known beside the record.
pub(super) struct Known<'a> {
    /// The kernel's sessions, if it lists them.
    pub(super) kernel: Option<&'a [SessionEntry]>,
    /// The names in the descriptor store.
    pub(super) store: &'a BTreeSet<String>,
    /// The notes of workloads.
    pub(super) owners: &'a [Owner],
}

impl Known<'_> {
    fn fate(&self, session: &str) -> Fate {
        if let Some(listed) = self.kernel {
            let mut incoming = listed
                .iter()
                .filter(|entry| entry.direction == Direction::Incoming && !entry.of_device);
            let entry = incoming.find(|entry| {
                let name = entry.name.as_ref();
                name.is_some_and(|name| name.as_bytes() == session.as_bytes())
            });
            return match entry.map(|entry| entry.state) {
                None => Fate::Finished,
                Some(SessionState::Unclaimed) => Fate::Waits,
                Some(_) => Fate::Taken,
            };
        }
        let is_its = |names: &Vec<String>| names.iter().any(|name| name == session);
        let owner = self.owners.iter().find(|owner| is_its(&owner.sessions));
        match owner.filter(|_| self.store.contains(session)) {
            Some(owner) if is_its(&owner.incoming) => Fate::Taken,
            // There is a new one of the name, which comes after the end of the old one.
            Some(_) => Fate::Finished,
            None => Fate::Unknown,
        }
    }
}

/// How far the workloads of a record have come back, as far as that can be known without the
/// note of it. `why` says what is wrong with the note.
pub(super) fn found_out(record: &Record, known: &Known<'_>, why: String) -> Progress {
    let fates = |participant: &Participant| -> Vec<Fate> {
        let own = participant.sessions.iter();
        let own = own.filter(|session| !participant.parked.contains(session));
        own.map(|session| known.fate(session)).collect()
    };
    let all = || {
        let awaited = record.participants.iter();
        awaited.filter(|participant| !participant.is_parked())
    };
    let has_claimed = |participant: &&Participant| {
        let fates = fates(participant);
        fates.contains(&Fate::Taken) || fates.contains(&Fate::Finished)
    };
    // A claim waits until those serve that its workload needs.
    let needed: BTreeSet<_> = all()
        .filter(has_claimed)
        .flat_map(|participant| &participant.needs)
        .collect();
    let mut progress = Progress {
        damaged: Some(why),
        ..Progress::default()
    };
    for participant in all() {
        let fates = fates(participant);
        let are_all = |fate: Fate| !fates.is_empty() && fates.iter().all(|known| *known == fate);
        let name = &participant.name;
        if are_all(Fate::Waits) {
            continue;
        }
        if are_all(Fate::Finished) || needed.contains(name) {
            progress.restored.push(name.clone());
        } else {
            progress.doubt.push(name.clone());
        }
    }
    let sessions = record
        .participants
        .iter()
        .flat_map(|participant| &participant.sessions);
    let finished = sessions.filter(|session| known.fate(session) == Fate::Finished);
    progress.finished = finished.cloned().collect();
    progress
}

/// That the note is damaged, in words.
fn words(restore: &Restore) -> Option<String> {
    let why = restore.progress.damaged.as_ref()?;
    let mut text = format!(
        "luod was restarted after the jump, and its note of who had come back was damaged ({why}), \
         so what the kernel and the record tell counts"
    );
    let doubt = &restore.progress.doubt;
    if !doubt.is_empty() {
        text += &format!(
            "; whether these serve again it is not told: {}",
            doubt.join(", ")
        );
    }
    Some(text)
}

impl State {
    /// That the note of who has come back is damaged, if it is.
    pub(super) fn doubt(&self) -> Option<String> {
        words(self.restore.as_ref()?)
    }
}

impl Restore {
    /// The words of the history about that.
    pub(super) fn doubt_told(&self) -> Option<String> {
        words(self)
    }

    /// Whether it is not known if a workload serves again.
    pub(super) fn is_in_doubt(&self, workload: &str) -> bool {
        self.progress.doubt.iter().any(|known| known == workload)
    }

    /// It is known now.
    pub(super) fn is_certain(&mut self, workload: &str) {
        self.progress.doubt.retain(|known| known != workload);
    }
}

impl Agent {
    /// A workload that was in doubt and is connected has nothing to take back any more: it serves.
    pub(super) fn believe(&self, name: &str) {
        {
            let mut state = self.state.borrow_mut();
            let state = &mut *state;
            let is_awaited = |held: &super::held::Held| held.incoming && !held.parked;
            if state.sessions.of(name).any(|(_, held)| is_awaited(held)) {
                return;
            }
            let Some(restore) = state.restore.as_mut().filter(|it| it.is_in_doubt(name)) else {
                return;
            };
            let workload = state.workloads.get_mut(name);
            let Some(workload) = workload.filter(|workload| workload.is_there()) else {
                return;
            };
            workload.state = WorkloadState::Restored;
            restore.is_certain(name);
            restore.progress.restored.push(name.to_owned());
        }
        self.note_progress();
        self.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use luo_sys::SessionName;

    use super::*;

    fn participant(name: &str, sessions: &[&str], needs: &[&str]) -> Participant {
        let strings = |all: &[&str]| all.iter().map(|&text| text.into()).collect();
        Participant {
            name: name.into(),
            identity: identity(),
            needs: strings(needs),
            sessions: strings(sessions),
            parked: Vec::new(),
        }
    }

    fn identity() -> luo_varlink::Identity {
        luo_varlink::Identity {
            uid: 1,
            gid: 1,
            unit: None,
        }
    }

    fn record(participants: Vec<Participant>) -> Record {
        Record {
            update: "u-1".into(),
            began_us: 1,
            freeze: luo_timeline::Moment::default(),
            frozen: true,
            from_kernel: "before".into(),
            report: None,
            participants,
            timeline: Vec::new(),
            unwritten: Vec::new(),
        }
    }

    fn entry(name: &str, state: SessionState) -> SessionEntry {
        SessionEntry {
            name: SessionName::new(name).ok(),
            files: 1,
            bytes: 0,
            direction: Direction::Incoming,
            state,
            of_device: false,
            frozen: false,
        }
    }

    #[test]
    fn what_the_kernel_tells_is_believed() {
        let record = record(vec![
            participant("store", &["store"], &[]),
            participant("done", &["done"], &[]),
            participant("busy", &["busy"], &["store"]),
            participant("away", &["away"], &[]),
            participant("half", &["one", "two"], &[]),
            participant("none", &[], &[]),
        ]);
        let kernel = [
            entry("store", SessionState::Open),
            entry("busy", SessionState::Open),
            entry("away", SessionState::Unclaimed),
            entry("two", SessionState::Unclaimed),
            // A new one of a name is not the old one.
            SessionEntry {
                direction: Direction::Outgoing,
                ..entry("done", SessionState::Open)
            },
        ];
        let known = Known {
            kernel: Some(&kernel),
            store: &BTreeSet::new(),
            owners: &[],
        };
        let progress = found_out(&record, &known, "junk".into());
        assert_eq!(progress.restored, ["store", "done"]);
        assert_eq!(progress.doubt, ["busy", "half", "none"]);
        assert_eq!(progress.finished, ["done", "one"]);
        assert_eq!(progress.damaged.as_deref(), Some("junk"));
    }

    #[test]
    fn where_the_kernel_does_not_tell_the_store_does() {
        let record = record(vec![
            participant("a", &["a"], &[]),
            participant("b", &["b"], &[]),
            participant("c", &["c"], &[]),
        ]);
        let owner = |name: &str, incoming: &[&str]| Owner {
            workload: name.into(),
            identity: identity(),
            needs: Vec::new(),
            sessions: vec![name.into()],
            incoming: incoming.iter().map(|&name| name.into()).collect(),
            left: false,
            parked: Vec::new(),
        };
        let known = Known {
            kernel: None,
            store: &["a".to_owned(), "b".to_owned()].into(),
            owners: &[owner("a", &["a"]), owner("b", &[])],
        };
        let progress = found_out(&record, &known, "junk".into());
        assert_eq!(progress.restored, ["b"], "it has a new one");
        assert_eq!(progress.doubt, ["a", "c"]);
        assert_eq!(progress.finished, ["b"]);
    }
}
