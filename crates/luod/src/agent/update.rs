// SPDX-License-Identifier: MIT OR Apache-2.0
//! An update up to the jump: the steps that an administrator takes one by one, or all in
//! a row with [`Agent::update`].
//!
//! ```text
//! prepare   check -> try to load -> ask all (what is needed first) -> a record
//!           -> the kernel prepares
//! freeze    load -> ask all (those that need others first) -> the record
//!           -> the kernel freezes
//! jump      see `jump`
//! ```
//!
//! While a kernel is loaded, whoever reboots the machine jumps into it (`systemctl reboot`
//! does). So it is loaded as late as can be, and nobody stands still while that lasts.
//!
//! Enter at [`Agent::prepare`] and [`Agent::freeze`]. Each of them first asks the engine's
//! table whether the step is legal (`state::Place::allows`), and if any part of it fails
//! undoes the whole update (`undo`). How a round of asking goes is in `asking`, how
//! somebody ends an update from outside in `cancel`, and what happens in the next kernel
//! in `restore`.

use std::time::Instant;

use luo_sys::{Direction, Event as KernelEvent};
use luo_varlink::admin::Error;
use luo_varlink::{Check, CheckStatus, HistoryEntry, Phase, Plan, Step, Target, TimelineKind};

use super::Agent;
use super::held::Held;
use super::state::Update;
use super::timeline::Line;
use crate::decide::plan::Obstacle;
use crate::decide::record::{Participant, Record};
use crate::journal::clock::{Clock, wall_us};
use crate::journal::notes::Begun;
use crate::kernel::{self, Opener};

impl Agent {
    /// The order in which an update would ask the workloads.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let obstacles = self.obstacles();
        let state = self.state.borrow();
        Plan {
            obstacles: obstacles.iter().map(Obstacle::words).collect(),
            ..state.graph().plan()
        }
    }

    /// Checks, tries whether the kernel can be loaded, and asks all workloads to get ready.
    /// Gives the update's id.
    ///
    /// # Errors
    /// As [`Error`] says; all is undone then.
    pub async fn prepare(&self, target: &Target) -> Result<String, Error> {
        self.prepare_and_report(target, None).await
    }

    async fn prepare_and_report(
        &self,
        target: &Target,
        report: Option<&str>,
    ) -> Result<String, Error> {
        let id = self.begin(report)?;
        let result = match self.get_ready(target).await {
            Ok(()) => Ok(()),
            Err(why) => Err(self.undo(why).await),
        };
        result.map(|()| id)
    }

    /// The checks that warn of something in the update that is under way.
    #[must_use]
    pub fn warnings_of_update(&self) -> Vec<Check> {
        let state = self.state.borrow();
        let update = state.update.as_ref();
        update.map_or_else(Vec::new, |update| update.warnings.clone())
    }

    fn begin(&self, report: Option<&str>) -> Result<String, Error> {
        let id = new_id();
        if let Some(obstacle) = self.unreadable_obstacle() {
            let obstacles = vec![obstacle.words()];
            return Err(Error::BadPlan { obstacles });
        }
        self.state.borrow().phase.allows(KernelEvent::Prepare)?;
        self.heed_hang("PREPARE")?;
        let obstacles = self.obstacles();
        if !obstacles.is_empty() {
            let obstacles = obstacles.iter().map(Obstacle::words).collect();
            return Err(Error::BadPlan { obstacles });
        }
        let clock = Clock::start();
        let begun = Begun {
            id: id.clone(),
            began_us: Some(clock.wall_us),
            boot_us: Some(clock.boot_us),
            report: report.map(str::to_owned),
        };
        // An agent that is started again has to know what to undo.
        let noted = self.notes.set_update(Some(&begun));
        noted.map_err(|why| self.unnoted(&why))?;
        {
            let mut state = self.state.borrow_mut();
            let graph = state.graph();
            state.damaged.clear();
            state.lost_with_luod = None;
            state.update = Some(Update {
                report: report.map(str::to_owned),
                ..Update::new(id.clone(), clock, graph)
            });
        }
        self.lost.replace(None);
        self.enter(Phase::Preparing);
        self.write_under_way();
        Ok(id)
    }

    async fn get_ready(&self, target: &Target) -> Result<(), Error> {
        let settled = self.in_time("the boot entries", self.settle(target));
        let settled = settled.await?;
        let report = self.in_time("the checks", self.check(&settled)).await?;
        if !report.ok {
            return Err(Error::CheckFailed { report });
        }
        let target = settled.target;
        self.heed_doom()?;
        self.note_the_replaced();
        // The target decides how memfds are handed over to it, before anybody preserves one.
        let reads_runs = |check: &Check| check.name == luo_preflight::memfds::CHECK;
        let runs = report.checks.iter().any(reads_runs);
        self.kernel_in_time("memfd", move |kernel| kernel.hand_over_in_runs(runs))
            .await??;
        if let Some(update) = &mut self.state.borrow_mut().update {
            update.target = target.clone();
            let warns = |check: &Check| check.status == CheckStatus::Warning;
            update.warnings = report.checks.into_iter().filter(warns).collect();
        }
        let what = "the kernel can be loaded";
        let clock = self.handed_on();
        self.kernel_step("kexec_file_load", what, move |kernel| {
            kernel.try_load(&target, clock.guests())
        })
        .await?;
        self.ask_all(Step::Prepare).await?;
        self.within_limits().await?;
        let moment = self.moment();
        let record = Record {
            freeze: moment,
            frozen: false,
            ..self.record()
        };
        let room = record.room_for();
        if let Some(update) = &mut self.state.borrow_mut().update {
            update.room = room;
        }
        let record = encode(&record, room)?;
        let what = "the kernel is prepared";
        self.kernel_step("PREPARE", what, move |kernel| kernel.prepare(&record, room))
            .await?;
        self.heed_doom()?;
        self.enter(Phase::Prepared);
        // It may rest here for long, and end with its machine.
        self.write_under_way();
        Ok(())
    }

    /// Loads the kernel, and asks all workloads to stand still.
    ///
    /// # Errors
    /// As [`Error`] says; all is undone then.
    pub async fn freeze(&self) -> Result<(), Error> {
        self.freeze_all().await?;
        self.write_under_way();
        Ok(())
    }

    async fn freeze_all(&self) -> Result<(), Error> {
        self.state.borrow().phase.allows(KernelEvent::Freeze)?;
        self.enter(Phase::Freezing);
        match self.stand_still().await {
            Ok(()) => Ok(()),
            Err(why) => Err(self.undo(why).await),
        }
    }

    async fn stand_still(&self) -> Result<(), Error> {
        let target = {
            let state = self.state.borrow();
            let update = state.update.as_ref();
            update
                .map(|update| update.target.clone())
                .unwrap_or_default()
        };
        let what = "the kernel is loaded";
        let clock = self.handed_on();
        self.kernel_step("kexec_file_load", what, move |kernel| {
            kernel.load(&target, clock.guests())
        })
        .await?;
        // Most of what other programs have written goes to the disks now, so that little is left
        // at the moment of the jump. A disk that hangs is no fault of the kernel's that is loaded.
        let begun = Instant::now();
        self.kernel_in_time("sync", |kernel| kernel.settle())
            .await?;
        let written = Line::text("the disks are written").took(begun.elapsed());
        self.note(TimelineKind::Kernel, written);
        let moment = self.moment();
        if let Some(update) = &mut self.state.borrow_mut().update {
            update.freeze = moment;
        }
        self.ask_all(Step::Freeze).await?;
        let room = self
            .state
            .borrow()
            .update
            .as_ref()
            .map_or(0, |update| update.room);
        let record = self.record();
        if let Some(update) = &mut self.state.borrow_mut().update {
            update.recorded = record.timeline.len();
        }
        let record = encode(&record, room)?;
        let what = "the kernel is frozen";
        self.kernel_step("FREEZE", what, move |kernel| kernel.freeze(&record))
            .await?;
        self.heed_doom()?;
        self.enter(Phase::Frozen);
        Ok(())
    }

    /// Runs all of an update. It returns only if the update failed, and then the update has
    /// been undone. `report` says where a picture of it is wanted when it is over.
    ///
    /// # Errors
    /// As [`Error`] says, always.
    pub async fn update(&self, target: &Target, report: Option<&str>) -> Error {
        if let Err(why) = self.prepare_and_report(target, report).await {
            return why;
        }
        if let Err(why) = self.freeze_all().await {
            return why;
        }
        // That it jumps is written down next.
        self.jump().await
    }

    /// Checks that what workloads have preserved is within their limits, as far as the
    /// kernel tells.
    async fn within_limits(&self) -> Result<(), Error> {
        let listing =
            self.kernel_in_time("LIST_SESSIONS", |kernel| kernel.sessions(Opener::Waited));
        let sessions = listing.await??;
        let Some(entries) = sessions else {
            return Ok(());
        };
        let state = self.state.borrow();
        let mut sums = std::collections::BTreeMap::new();
        for entry in entries {
            let name = entry.name.map(|name| name.to_string()).unwrap_or_default();
            let Some(held) = state.sessions.get(&name) else {
                continue;
            };
            if entry.direction == Direction::Outgoing {
                let sum: &mut (u64, u64) = sums.entry(held.workload.as_str()).or_default();
                sum.0 = sum.0.saturating_add(entry.files);
                sum.1 = sum.1.saturating_add(entry.bytes);
            }
        }
        for (name, workload) in &state.workloads {
            let sum = sums.get(name.as_str()).copied().unwrap_or_default();
            let limits = self.policy().limits(&workload.identity);
            let excess = match sum {
                (files, _) if files > limits.files => {
                    format!(
                        "it preserves {files} files, and the policy allows {}",
                        limits.files
                    )
                }
                (_, bytes) if limits.bytes != 0 && bytes > limits.bytes => {
                    format!(
                        "it preserves {bytes} bytes, and the policy allows {}",
                        limits.bytes
                    )
                }
                _ => continue,
            };
            return Err(Error::Vetoed {
                workload: name.clone(),
                step: Step::Prepare,
                reason: excess,
            });
        }
        Ok(())
    }

    /// The record for the agent in the next kernel.
    fn record(&self) -> Record {
        let state = self.state.borrow();
        let parked = |workload: &str| {
            let own = state.sessions.of(workload);
            // No kernel carries on what somebody has taken from it: that would be missed.
            let is_carried = |held: &Held| !(held.incoming && held.session.is_some());
            let parked = own.filter(|(_, held)| held.parked && !held.awaited && is_carried(held));
            parked.map(|(session, _)| session.clone()).collect()
        };
        let participant = |(name, workload): (&String, &super::state::Workload)| Participant {
            name: name.clone(),
            identity: workload.identity.clone(),
            needs: workload.needs.clone(),
            sessions: state.sessions.names_of(name),
            parked: parked(name),
        };
        let participants = state.workloads.iter().map(participant).collect();
        let update = state.update.as_ref();
        Record {
            update: update.map_or_else(String::new, |update| update.id.clone()),
            began_us: update.map_or(0, |update| update.clock.wall_us),
            report: update.and_then(|update| update.report.clone()),
            freeze: update.map(|update| update.freeze).unwrap_or_default(),
            frozen: true,
            from_kernel: kernel::release(),
            participants,
            timeline: update.map_or_else(Vec::new, |update| update.timeline.clone()),
            unwritten: self.history.unwritten().into_iter().map(brief).collect(),
        }
    }
}

/// The outcome of an update, without how it came about.
fn brief(entry: HistoryEntry) -> HistoryEntry {
    HistoryEntry {
        timeline: Vec::new(),
        ..entry
    }
}

fn encode(record: &Record, room: usize) -> Result<Vec<u8>, Error> {
    record.encode(room).map_err(|why| Error::Kernel {
        call: "the record".to_owned(),
        errno: 0,
        message: why.to_string(),
    })
}

/// An id that no other update has.
pub(super) fn new_id() -> String {
    let random = std::fs::read_to_string("/proc/sys/kernel/random/uuid");
    let random = random.unwrap_or_default();
    match random.trim() {
        // Without `/proc` the id is made of the time.
        "" => format!("update-{}", wall_us()),
        uuid => uuid.to_owned(),
    }
}
