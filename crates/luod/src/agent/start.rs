// SPDX-License-Identifier: MIT OR Apache-2.0
//! The start of an agent. It may find an update that its predecessor did not end, sessions
//! in the descriptor store, and a record of the previous kernel, and goes on from there.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use luo_sys::{Session, SessionState, State as KernelState};
use luo_varlink::{HistoryEntry, Outcome, Phase, WorkloadState};

use super::Agent;
use super::clock::at_last;
use super::held::Held;
use super::parked::known_by;
use super::state::{State, Update};
use super::update::new_id;
use super::written::Source;
use crate::decide::names::OWN_SESSION;
use crate::decide::plan::Graph;
use crate::journal::clock::{Clock, wall_us};
use crate::journal::notes::{Begun, Owner};
use crate::kernel::{self, Opener};
use crate::manager::shutdown::Shutdown;
use crate::manager::store::Stored;

/// How long workloads have to connect again after the agent was started anew.
const REATTACH: Duration = Duration::from_secs(30);

impl Agent {
    /// Finds out how things stand, and goes on from there.
    ///
    /// # Errors
    /// The notes cannot be read.
    pub async fn start(self: &Rc<Self>, stored: Vec<Stored>) -> std::io::Result<()> {
        let unwritten = self.go_on_writing();
        self.wait_for_the_late();
        // They are read before anything is noted: a note takes the place of an earlier one.
        let owners = self.notes.owners().unwrap_or_else(|why| {
            // All sessions in the store are kept, and the status tells of them.
            tracing::error!("whose sessions these are cannot be told: {why}");
            Vec::new()
        });
        let jumps = self.jumps_still().await?;
        // An earlier luod of this boot has had what the previous kernel left.
        let was_noted = self.notes.progress().is_ok();
        let is_own = |stored: &Stored| stored.name == OWN_SESSION;
        let (own, stored): (Vec<_>, Vec<_>) = stored.into_iter().partition(is_own);
        let mut own = own.into_iter().find_map(|own| own.session.into_inner());
        if !jumps {
            self.end_interrupted(own.is_some(), &unwritten).await?;
            let sessions = stored.iter().filter(|stored| stored.is_it);
            let names = sessions.map(|stored| stored.name.clone()).collect();
            self.read_record(own.take(), &owners, &names).await;
            // After a jump, workloads wait for luod, and a history may be long.
            let is_at_rest = {
                let state = self.state.borrow();
                state.restore.is_none() && state.unreadable.is_none()
            };
            if is_at_rest {
                self.end_the_open().await;
            }
        }
        let by_session: BTreeMap<_, _> = owners
            .iter()
            .flat_map(|owner| {
                owner
                    .sessions
                    .iter()
                    .map(move |session| (session.as_str(), owner))
            })
            .collect();
        for stored in stored {
            let owner = by_session.get(stored.name.as_str()).copied();
            self.adopt(stored, owner);
        }
        self.tell_strays_apart().await;
        self.find_the_parked(&owners);
        if was_noted {
            self.find_the_lost().await;
        }
        self.leave_the_left();
        // Sessions that nobody is expected to claim stand in the record alone, which goes with the
        // end of the update. A note that fails is made up for before that.
        self.note_the_parked();
        if jumps {
            self.go_on_jumping(own).await;
        }
        self.wait_for_the_lost();
        if self.state.borrow().restore.is_some() {
            self.watch_the_deadline();
            self.end_if_over();
        }
        self.watch_the_supervisor();
        self.begin_task(async |agent| {
            agent.tell_unowned().await;
        });
        Ok(())
    }

    /// Whether an earlier process of this agent has told the service manager to jump, and
    /// the shutdown goes on.
    async fn jumps_still(&self) -> std::io::Result<bool> {
        if !self.notes.is_jumping()? {
            return Ok(false);
        }
        let shutdown = self.kernel.run(|kernel| kernel.shutdown()).await;
        Ok(shutdown == Shutdown::UnderWay)
    }

    /// Leaves all as it is for the jump to come. Only if the shutdown ends without a jump
    /// the update is undone, and workloads find their sessions here then.
    async fn go_on_jumping(self: &Rc<Self>, own: Option<Session>) {
        let begun = self.notes.update().ok().flatten();
        let clock = begun.as_ref().and_then(Begun::clock);
        let report = begun.as_ref().and_then(|begun| begun.report.clone());
        let id = begun.map(|begun| begun.id).unwrap_or_default();
        tracing::warn!(
            update = id,
            "luod was restarted while the machine shuts down for the jump, and waits for that"
        );
        {
            let mut state = self.state.borrow_mut();
            for workload in state.workloads.values_mut() {
                workload.state = WorkloadState::Left;
            }
            let clock = clock.unwrap_or_else(Clock::start);
            let update = Update {
                report,
                ..Update::new(id, clock, Graph::default())
            };
            update.gate.jump();
            state.update = Some(update);
        }
        self.kernel.run(move |kernel| kernel.go_on(own)).await;
        self.enter(Phase::Jumping);
        let agent = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let failed = agent.no_shutdown().await;
            agent.undo(failed.into()).await;
        });
    }

    /// Cancels an update that an earlier process of this agent began in this boot.
    /// `own` says whether the descriptor store has the agent's own session, `unwritten` which
    /// updates were over.
    async fn end_interrupted(&self, own: bool, unwritten: &[String]) -> std::io::Result<()> {
        let noted = self.notes.update();
        if self.notes.is_undoing() {
            if let Ok(None) = &noted {
                tracing::warn!(
                    "luod was restarted before the kernel had undone an update that is over: it \
                     does that now"
                );
                at_last("CANCEL", self.kernel.run(|kernel| kernel.abandon())).await;
            }
            self.note_undoing(false);
            if let Ok(None) = &noted {
                return Ok(());
            }
        }
        let begun = match noted {
            Ok(Some(begun)) => begun,
            noted => match self.begun_without_a_note(own, noted.err()).await {
                Some(begun) => begun,
                None => return Ok(()),
            },
        };
        let clock = begun.clock();
        let Begun {
            id,
            began_us,
            report,
            ..
        } = begun;
        // The agent was ended when all was undone but for this note.
        let is_written = unwritten.contains(&id);
        tracing::warn!(
            update = id,
            "luod was restarted in an update, which is cancelled"
        );
        at_last("CANCEL", self.kernel.run(|kernel| kernel.abandon())).await;
        if is_written {
            return self.notes.set_update(None);
        }
        let release = kernel::release();
        let entry = HistoryEntry {
            update: id,
            outcome: Outcome::Cancelled,
            reason: Some("luod was restarted".to_owned()),
            began_us: began_us.unwrap_or_else(wall_us),
            took_us: clock.map(|clock| clock.elapsed_us()),
            blackout_us: None,
            from_kernel: release.clone(),
            to_kernel: release,
            timeline: Vec::new(),
        };
        self.over(entry, report, Source::Update);
        Ok(())
    }

    /// The update that an earlier process of this agent began, where no note says which; `why`
    /// says what is wrong with the note, if there is one.
    async fn begun_without_a_note(&self, own: bool, why: Option<io::Error>) -> Option<Begun> {
        if let Some(why) = &why {
            self.is_damaged(format!(
                "luod's note of the update that was under way when luod was restarted is damaged \
                 ({why}): what the history and the kernel tell counts"
            ));
            if let Err(why) = self.notes.set_update(None) {
                tracing::error!("the notes: {why}");
            }
        }
        let is_in_the_kernel = (why.is_some() || !own) && self.is_unnoted_update().await;
        if !is_in_the_kernel && why.is_none() {
            return None;
        }
        let told = self.begun_by_the_history().await;
        let nobody_knows = || Begun {
            id: new_id(),
            began_us: None,
            boot_us: None,
            report: None,
        };
        told.or_else(|| is_in_the_kernel.then(nobody_knows))
    }

    /// The update that the history has as being prepared in this boot.
    async fn begun_by_the_history(&self) -> Option<Begun> {
        let open = self.open_ends().await.unwrap_or_default().0;
        let mut open = open
            .into_iter()
            .filter(|open| open.is_of_this_boot && open.phase() != Phase::Updated);
        let open = open.next_back()?;
        Some(Begun {
            id: open.entry.update,
            began_us: Some(open.entry.began_us),
            boot_us: None,
            report: open.report,
        })
    }

    /// Whether the kernel is in an update that an agent began and nobody has noted: that
    /// agent's own session is closed. One that is open is another agent's, and so may be
    /// what the kernel is in without any.
    async fn is_unnoted_update(&self) -> bool {
        let Some(state @ (KernelState::Prepared | KernelState::Frozen)) = self.probe.state else {
            return false;
        };
        let listing = self.kernel.run(|kernel| kernel.sessions(Opener::Waited));
        let listed = at_last("LIST_SESSIONS", listing).await;
        let mut sessions = listed.ok().flatten().into_iter().flatten();
        let is_ours = sessions.any(|entry| {
            let name = entry.name.map(|name| name.to_string());
            let is_closed = entry.state == SessionState::Closed;
            is_closed && !entry.of_device && name.as_deref() == Some(OWN_SESSION)
        });
        if !is_ours {
            tracing::warn!(
                "the kernel is {state}, and not by this luod: whoever did that has to cancel it \
                 before luod can update, or an administrator with `luoctl cancel --force`"
            );
        }
        is_ours
    }

    /// Takes a session out of the descriptor store.
    fn adopt(&self, stored: Stored, owner: Option<&Owner>) {
        let Stored {
            name,
            session,
            is_it,
        } = stored;
        let name = name.as_str();
        let mut borrowed = self.state.borrow_mut();
        let state = &mut *borrowed;
        if let (true, Some(held)) = (is_it, state.sessions.get_mut(name)) {
            // The session is listed in the record, too.
            held.session = Some(session);
            held.stored = true;
            return;
        }
        if !is_it {
            tracing::error!(
                label = name,
                "the descriptor store has it, and it is no session: it is closed"
            );
            drop(session);
            self.unstore(name);
            return;
        }
        let Some(owner) = owner else {
            drop(borrowed);
            self.keep_stray(name, session);
            return;
        };
        let incoming = owner.incoming.iter().any(|known| known == name);
        let held = Held {
            stored: true,
            parked: owner.parked.iter().any(|known| known == name),
            ..Held::new(&owner.workload, Some(session), incoming)
        };
        state.sessions.insert(name, held);
        let workloads = state.workloads.entry(owner.workload.clone());
        workloads.or_insert_with(|| known_by(owner));
    }

    /// Forgets workloads that have not connected again since this process was started, when
    /// the time is over that they have for it.
    fn wait_for_the_lost(self: &Rc<Self>) {
        let agent = Rc::clone(self);
        tokio::task::spawn_local(async move {
            // Nobody is let in while the record cannot be read.
            agent
                .until(|agent| agent.state.borrow().unreadable.is_none())
                .await;
            let is_over = |agent: &Self| agent.state.borrow().lost().is_empty();
            agent.wait_patiently(REATTACH, is_over, |_| {}).await;
            // A workload that has come in time is not late because luod was.
            agent.clients_unread.is_over().await;
            agent
                .until(|agent| agent.state.borrow().update.is_none())
                .await;
            let lost = agent.state.borrow().lost();
            for name in lost {
                tracing::warn!(
                    workload = name,
                    "it has not connected again: its sessions go"
                );
                agent.tell_what_goes_with(&name);
                agent.forget(&name);
            }
        });
    }
}

impl State {
    /// The workloads that this process has found here and that have not connected to it.
    fn lost(&self) -> Vec<String> {
        // One that the record lists has a state of its own, and is lost all the same with what
        // it has made since.
        let lost = self.workloads.iter().filter(|(name, workload)| {
            let mut own = self.sessions.of(name);
            let is_lost = workload.state == WorkloadState::Lost
                || own.any(|(_, held)| !(held.incoming || held.parked));
            is_lost && workload.link.is_none() && workload.state != WorkloadState::Left
        });
        lost.map(|(name, _)| name.clone()).collect()
    }
}
