// SPDX-License-Identifier: MIT OR Apache-2.0
//! An update up to the jump.
//!
//! ```text
//! prepare   check -> load -> ask all (what is needed first) -> the kernel prepares
//! freeze    ask all (those that need others first) -> the record -> the kernel freezes
//! jump      reboot
//! ```
//!
//! Whatever goes wrong, and whoever says no, all of it is undone: see `undo`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use luo_sys::{Direction, Errno, Event as KernelEvent};
use luo_varlink::admin::Error;
use luo_varlink::{Phase, Plan, Step, Target, TimelineEvent, TimelineKind};

use super::Agent;
use super::state::Update;
use super::timeline::{Line, now_us};
use super::workload::cut;
use crate::decide::config::Jump;
use crate::decide::failed::Failed;
use crate::decide::names::OWN_SESSION;
use crate::decide::record::{self, Participant, Record};
use crate::kernel::{self, Kernel};
use crate::manager::shutdown::Shutdown;

impl Agent {
    /// In which order an update would ask.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let state = self.state.borrow();
        Plan {
            obstacles: state.obstacles(),
            ..state.graph().plan()
        }
    }

    /// Checks, loads the kernel, and asks all workloads to get ready. Gives the
    /// update's id.
    ///
    /// # Errors
    /// As [`Error`] says; all is undone then.
    pub async fn prepare(&self, target: &Target) -> Result<String, Error> {
        let id = self.begin()?;
        let result = match self.get_ready(target).await {
            Ok(()) => Ok(()),
            Err(why) => Err(self.undo(why).await),
        };
        result.map(|()| id)
    }

    fn begin(&self) -> Result<String, Error> {
        let id = new_id();
        {
            let mut state = self.state.borrow_mut();
            state.phase.allows(KernelEvent::Prepare)?;
            let graph = state.graph();
            let obstacles = state.obstacles();
            if !obstacles.is_empty() {
                return Err(Error::BadPlan { obstacles });
            }
            state.update = Some(Update::new(id.clone(), graph));
        }
        if let Err(why) = self.notes.set_update(Some(&id)) {
            tracing::error!("the update cannot be noted: {why}");
        }
        self.enter(Phase::Preparing);
        Ok(id)
    }

    async fn get_ready(&self, target: &Target) -> Result<(), Error> {
        let target = self.config.complete(target);
        let report = self.check(&target).await;
        if !report.ok {
            return Err(Error::CheckFailed { report });
        }
        self.heed_doom()?;
        self.kernel_step("the kernel is loaded", move |kernel| kernel.load(&target))
            .await?;
        self.ask_all(Step::Prepare).await?;
        self.within_limits().await?;
        let room = {
            let room = self.record().room_for();
            if let Some(update) = &mut self.state.borrow_mut().update {
                update.room = room;
            }
            room
        };
        self.kernel_step("the kernel is prepared", move |kernel| kernel.prepare(room))
            .await?;
        self.heed_doom()?;
        self.enter(Phase::Prepared);
        Ok(())
    }

    /// Asks all workloads to stand still.
    ///
    /// # Errors
    /// As [`Error`] says; all is undone then.
    pub async fn freeze(&self) -> Result<(), Error> {
        self.state.borrow().phase.allows(KernelEvent::Freeze)?;
        let moment = self.moment();
        if let Some(update) = &mut self.state.borrow_mut().update {
            update.freeze = moment;
        }
        self.enter(Phase::Freezing);
        match self.stand_still().await {
            Ok(()) => Ok(()),
            Err(why) => Err(self.undo(why).await),
        }
    }

    async fn stand_still(&self) -> Result<(), Error> {
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
        let record = record.encode(room).map_err(|why| Error::Kernel {
            call: "the record".to_owned(),
            errno: 0,
            message: why.to_string(),
        })?;
        self.kernel_step("the kernel is frozen", move |kernel| kernel.freeze(&record))
            .await?;
        self.heed_doom()?;
        self.enter(Phase::Frozen);
        Ok(())
    }

    /// Jumps. There is something to give back only if that was refused; all is undone
    /// then.
    ///
    /// # Errors
    /// As [`Error`] says, always.
    pub async fn jump(&self) -> Error {
        {
            let state = self.state.borrow();
            if state.phase.0 != Phase::Frozen {
                return state.phase.illegal("kexec");
            }
        }
        // Somebody may be lost since, and nobody have got round to say so.
        if let Err(why) = self.heed_doom() {
            return self.undo(why).await;
        }
        self.enter(Phase::Jumping);
        self.all_have_heard().await;
        let how = self.config.jump;
        if how == Jump::Systemctl {
            self.be_ready_for_a_shutdown().await;
        }
        let lines = self.since_the_record();
        let job = move |kernel: &mut dyn Kernel| {
            // The next kernel's agent does not need it: it tells how the update went.
            if let Err(why) = kernel.seal(&|room| record::tail(&lines, room)) {
                tracing::warn!("the end of the timeline is not handed over: {why}");
            }
            kernel.jump(how)
        };
        let failed = match self.kernel.run(job).await {
            Err(failed) => failed,
            // The service manager shuts down, and that ends this process.
            Ok(()) => self.no_shutdown().await,
        };
        self.undo(failed.into()).await
    }

    /// A shutdown takes a while. Should luod be killed in it and started again, it goes on
    /// from what is noted here: to cancel would turn the jump into a plain reboot.
    async fn be_ready_for_a_shutdown(&self) {
        if let Err(why) = self.notes.set_jumping() {
            tracing::error!("the jump cannot be noted, so luod must not be restarted now: {why}");
        }
        if let Some(session) = self.kernel.run(|kernel| kernel.own_session()).await {
            // Whether it is in is said in the log; it matters only if luod is killed.
            let _ = self.store.put(OWN_SESSION, &session);
        }
    }

    /// Waits while the service manager shuts down. It sets a limit to that, and kills
    /// what does not end; who undoes the update meanwhile takes from services that have
    /// ended what they have left. So only its word that nothing ends any more counts.
    pub(super) async fn no_shutdown(&self) -> Failed {
        /// How often it is asked.
        const EACH: Duration = Duration::from_secs(2);
        /// How often it has to say so: the shutdown may be about to begin.
        const TIMES: u32 = 3;
        let mut said = 0;
        while said < TIMES {
            tokio::time::sleep(EACH).await;
            said = match self.kernel.run(|kernel| kernel.shutdown()).await {
                Shutdown::Over => said + 1,
                Shutdown::UnderWay | Shutdown::Unknown => 0,
            };
        }
        Failed::new("systemctl kexec", Errno::EAGAIN)
    }

    /// What has happened since the record was written.
    fn since_the_record(&self) -> Vec<Arc<TimelineEvent>> {
        let state = self.state.borrow();
        let update = state.update.as_ref();
        let lines = update.and_then(|update| update.timeline.get(update.recorded..));
        lines.unwrap_or_default().to_vec()
    }

    /// Lets those who watch hear of the jump before it: their connections end with it.
    /// Who is slow is not waited for.
    async fn all_have_heard(&self) {
        const PATIENCE: Duration = Duration::from_millis(50);
        let begun = Instant::now();
        while !self.timeline.is_empty() && begun.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // What they have heard they are about to write.
        tokio::task::yield_now().await;
    }

    /// All of it. There is something to give back only if it failed; all is undone then.
    ///
    /// # Errors
    /// As [`Error`] says, always.
    pub async fn update(&self, target: &Target) -> Error {
        if let Err(why) = self.prepare(target).await {
            return why;
        }
        if let Err(why) = self.freeze().await {
            return why;
        }
        self.jump().await
    }

    /// An administrator ends the update.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn cancel(&self, reason: Option<&str>) -> Result<(), Error> {
        let reason = cut(reason.unwrap_or("an administrator said so"));
        let id = {
            let mut state = self.state.borrow_mut();
            let phase = state.phase;
            let is_moving = matches!(phase.0, Phase::Preparing | Phase::Freezing);
            if !is_moving {
                phase.allows(KernelEvent::Cancel)?;
            }
            state.doom(Error::Cancelled { reason });
            state.update_id().map(str::to_owned)
        };
        self.heed().await;
        // Who is in the middle of a step undoes it, and is waited for. The next update
        // may have begun by then.
        loop {
            let changed = self.changed.notified();
            if self.state.borrow().update_id() != id.as_deref() {
                return Ok(());
            }
            changed.await;
        }
    }

    /// Undoes an update whose end was decided while nothing was under way.
    pub async fn heed(&self) {
        let doom = {
            let mut state = self.state.borrow_mut();
            let rests = matches!(state.phase.0, Phase::Prepared | Phase::Frozen);
            let update = state.update.as_mut().filter(|_| rests);
            update.and_then(|update| update.doom.take())
        };
        if let Some(why) = doom {
            self.undo(why).await;
        }
    }

    /// The update's end, if it was decided while nobody listened.
    pub(super) fn heed_doom(&self) -> Result<(), Error> {
        let mut state = self.state.borrow_mut();
        let doom = state.update.as_mut().and_then(|update| update.doom.take());
        doom.map_or(Ok(()), Err)
    }

    /// Has the kernel do something that belongs to the update.
    async fn kernel_step(
        &self,
        what: &str,
        job: impl FnOnce(&mut dyn Kernel) -> Result<(), Failed> + Send + 'static,
    ) -> Result<(), Error> {
        let begun = Instant::now();
        self.kernel.run(job).await?;
        self.note(TimelineKind::Kernel, Line::text(what).took(begun.elapsed()));
        Ok(())
    }

    /// Whether what workloads have preserved is within their limits, as far as the
    /// kernel tells.
    async fn within_limits(&self) -> Result<(), Error> {
        let sessions = self.kernel.run(|kernel| kernel.sessions()).await?;
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
            let limits = self.policy.limits(&workload.identity);
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

    /// What is left for the agent in the next kernel.
    fn record(&self) -> Record {
        let state = self.state.borrow();
        let participant = |(name, workload): (&String, &super::state::Workload)| Participant {
            name: name.clone(),
            identity: workload.identity.clone(),
            needs: workload.needs.clone(),
            sessions: state.sessions.names_of(name),
        };
        let participants = state.workloads.iter().map(participant).collect();
        let update = state.update.as_ref();
        Record {
            update: update.map_or_else(String::new, |update| update.id.clone()),
            began_us: update.map_or(0, |update| update.began_us),
            freeze: update.map(|update| update.freeze).unwrap_or_default(),
            from_kernel: kernel::release(),
            participants,
            timeline: update.map_or_else(Vec::new, |update| update.timeline.clone()),
        }
    }

    /// Ends what is under way, for the agent is told to end: an update that has not
    /// jumped is off. One that jumps through the service manager goes on, and so does
    /// the agent until the jump.
    pub async fn shut_down(&self) {
        loop {
            let changed = self.changed.notified();
            let phase = self.state.borrow().phase.0;
            match phase {
                Phase::Normal | Phase::Updated => break,
                Phase::Jumping | Phase::Cancelling => changed.await,
                _ => {
                    drop(changed);
                    // Whatever it is by now, the next look tells.
                    let _ = self.cancel(Some("luod is told to end")).await;
                }
            }
        }
        // What is on its way from the kernel would be closed, and so finished.
        if !self.all_have_arrived().await {
            tracing::error!("the kernel does not answer: luod ends without its sessions");
        }
    }
}

/// An id that no other update has.
fn new_id() -> String {
    let random = std::fs::read_to_string("/proc/sys/kernel/random/uuid");
    let random = random.unwrap_or_default();
    match random.trim() {
        // Without `/proc` there is still the time.
        "" => format!("update-{}", now_us()),
        uuid => uuid.to_owned(),
    }
}
