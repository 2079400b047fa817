// SPDX-License-Identifier: MIT OR Apache-2.0
//! An update up to the jump, and how it is undone.
//!
//! ```text
//! prepare   check -> load -> ask all (what is needed first) -> the kernel prepares
//! freeze    ask all (those that need others first) -> the record -> the kernel freezes
//! jump      reboot
//! ```
//!
//! Whatever goes wrong, and whoever says no, all of it is undone from its end: the
//! kernel's part, then the workloads in the reverse of the order they were asked in.

use std::time::{Duration, Instant};

use luo_sys::{Direction, Errno, Event as KernelEvent};
use luo_varlink::admin::Error;
use luo_varlink::{
    Event, EventKind, HistoryEntry, Outcome, Phase, Plan, Report, Step, Target, TimelineKind,
    WorkloadState,
};
use tokio::sync::mpsc;

use super::Agent;
use super::state::{Said, Update};
use super::timeline::{Line, now_us};
use super::workload::cut;
use crate::kernel::Failed;
use crate::record::{Participant, Record};
use crate::round::{Round, unwinding};

/// How long sessions may be on their way from the kernel when luod is told to end.
const ARRIVAL: Duration = Duration::from_secs(10);

/// How long a shutdown may take before it counts as failed.
const SHUTDOWN: Duration = Duration::from_secs(600);

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
            state.update = Some(Update {
                id: id.clone(),
                began_us: now_us(),
                timeline: Vec::new(),
                graph,
                asked_to_prepare: Vec::new(),
                asked_to_freeze: Vec::new(),
                freeze: crate::record::Moment::default(),
                room: 0,
                ear: None,
                doom: None,
            });
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
        let record = self.record().encode(room).map_err(|why| Error::Kernel {
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
        let failed = match self.kernel.run(move |kernel| kernel.jump(how)).await {
            Err(failed) => failed,
            // The service manager shuts down, and that ends this process.
            Ok(()) => {
                tokio::time::sleep(SHUTDOWN).await;
                Failed::new("systemctl kexec", Errno::EAGAIN)
            }
        };
        self.undo(failed.into()).await
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
    fn heed_doom(&self) -> Result<(), Error> {
        let mut state = self.state.borrow_mut();
        let doom = state.update.as_mut().and_then(|update| update.doom.take());
        doom.map_or(Ok(()), Err)
    }

    /// Has the kernel do something that belongs to the update.
    async fn kernel_step(
        &self,
        what: &str,
        job: impl FnOnce(&mut crate::kernel::Kernel) -> Result<(), crate::kernel::Failed>
        + Send
        + 'static,
    ) -> Result<(), Error> {
        let begun = Instant::now();
        self.kernel.run(job).await?;
        self.note(TimelineKind::Kernel, Line::text(what).took(begun.elapsed()));
        Ok(())
    }

    /// One round of asking.
    async fn ask_all(&self, step: Step) -> Result<(), Error> {
        self.heed_doom()?;
        let (ear, mut said) = mpsc::unbounded_channel();
        let mut round = {
            let mut state = self.state.borrow_mut();
            let Some(update) = &mut state.update else {
                return Ok(());
            };
            update.ear = Some(ear.clone());
            Round::new(step, &update.graph)
        };
        let result = self.listen(&mut round, &ear, &mut said).await;
        // What is said from here on is for the next who looks.
        if let Some(update) = &mut self.state.borrow_mut().update {
            update.ear = None;
        }
        result?;
        while let Ok(said) = said.try_recv() {
            if let Said::Off(why) = said {
                return Err(why);
            }
        }
        Ok(())
    }

    async fn listen(
        &self,
        round: &mut Round,
        ear: &mpsc::UnboundedSender<Said>,
        said: &mut mpsc::UnboundedReceiver<Said>,
    ) -> Result<(), Error> {
        let step = round.step();
        let mut since = std::collections::BTreeMap::new();
        loop {
            let now = Instant::now();
            for name in round.ask(now, |name| self.config.patience(name, step)) {
                since.insert(name.clone(), now);
                self.ask_one(&name, step, ear);
            }
            if round.is_complete() {
                return Ok(());
            }
            let deadline = round.next_deadline().unwrap_or(now);
            let heard = tokio::time::timeout_at(deadline.into(), said.recv()).await;
            match heard {
                Ok(Some(Said::Agreed(name))) => {
                    if round.agree(&name) {
                        let took = since.get(&name).map_or(Duration::ZERO, Instant::elapsed);
                        self.note(TimelineKind::Agreed, Line::of(&name).took(took));
                    }
                }
                Ok(Some(Said::Off(why))) => return Err(why),
                // The round itself has an ear: there is always one.
                Ok(None) => {}
                Err(_) => {
                    if let Some((name, patience)) = round.late(Instant::now()) {
                        return Err(self.late(name, step, patience));
                    }
                }
            }
        }
    }

    fn late(&self, name: &str, step: Step, patience: Duration) -> Error {
        self.note(
            TimelineKind::Late,
            Line::of(name).took(patience).with(step.word()),
        );
        Error::Late {
            workload: name.to_owned(),
            step,
            deadline_ms: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn ask_one(&self, name: &str, step: Step, ear: &mpsc::UnboundedSender<Said>) {
        let is_away = {
            let mut state = self.state.borrow_mut();
            if let Some(update) = &mut state.update {
                let asked = match step {
                    Step::Prepare => &mut update.asked_to_prepare,
                    Step::Freeze => &mut update.asked_to_freeze,
                };
                asked.push(name.to_owned());
            }
            let workload = state.workloads.get(name);
            workload.is_some_and(|workload| workload.state == WorkloadState::Left)
        };
        if is_away {
            // Who has left has agreed to all that comes. The round listens.
            let _ = ear.send(Said::Agreed(name.to_owned()));
            return;
        }
        let patience = self.config.patience(name, step);
        self.ask(name, step, patience);
        self.note(TimelineKind::Asked, Line::of(name).with(step.word()));
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
            from_kernel: super::view::kernel_release(),
            participants,
            timeline: update.map_or_else(Vec::new, |update| update.timeline.clone()),
        }
    }

    /// Undoes all, and says why.
    async fn undo(&self, why: Error) -> Error {
        let reason = why.to_string();
        let first = reason.lines().next().unwrap_or_default().to_owned();
        match &why {
            Error::Vetoed {
                workload, reason, ..
            } => {
                self.note(TimelineKind::Vetoed, Line::of(workload).with(reason));
            }
            Error::Late { .. } | Error::Lost { .. } => {}
            _ => self.note(TimelineKind::Over, Line::text(&reason)),
        }
        self.enter(Phase::Cancelling);
        self.kernel.run(|kernel| kernel.undo()).await;
        let lost = self.tell_all(&first);
        let entry = {
            let mut state = self.state.borrow_mut();
            let update = state.update.take();
            update.map(|update| HistoryEntry {
                update: update.id,
                outcome: match why {
                    Error::CheckFailed { .. } => Outcome::Refused,
                    _ => Outcome::Cancelled,
                },
                reason: Some(reason),
                began_us: update.began_us,
                took_us: now_us().saturating_sub(update.began_us),
                blackout_us: None,
                from_kernel: super::view::kernel_release(),
                to_kernel: super::view::kernel_release(),
                timeline: update.timeline,
            })
        };
        if let Err(why) = self.notes.set_update(None) {
            tracing::error!("the notes: {why}");
        }
        self.enter(Phase::Normal);
        // Now that nothing is under way the sessions of those who are gone can go.
        for name in lost {
            self.forget(&name);
        }
        if let Some(entry) = entry {
            self.over(entry);
        }
        why
    }

    /// Tells all who were asked that the update is off; gives those who are gone.
    fn tell_all(&self, reason: &str) -> Vec<String> {
        let mut state = self.state.borrow_mut();
        let Some(update) = &state.update else {
            return Vec::new();
        };
        let id = update.id.clone();
        let asked = unwinding(&update.asked_to_prepare, &update.asked_to_freeze);
        for name in &asked {
            let Some(workload) = state.workloads.get_mut(name) else {
                continue;
            };
            workload.tell(Event {
                kind: EventKind::Cancel,
                update: id.clone(),
                deadline_ms: 0,
                reason: Some(reason.to_owned()),
            });
        }
        let mut lost = Vec::new();
        for (name, workload) in &mut state.workloads {
            match workload.state {
                WorkloadState::Left => {}
                _ if workload.link.is_none() => lost.push(name.clone()),
                _ => workload.state = WorkloadState::Running,
            }
        }
        lost
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
        let arrived = async {
            loop {
                let changed = self.changed.notified();
                if !self.state.borrow().sessions.any_busy() {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(ARRIVAL, arrived).await.is_err() {
            tracing::error!("the kernel does not answer: luod ends without its sessions");
        }
    }

    /// Looks at everything that an update to a kernel needs. Changes nothing.
    pub async fn check_target(&self, target: &Target) -> Report {
        let target = self.config.complete(target);
        self.check(&target).await
    }

    async fn check(&self, target: &Target) -> Report {
        let begun = Instant::now();
        let report = self.look(target).await;
        let failed = report.checks.iter();
        let failed = failed.filter(|check| check.status == luo_varlink::CheckStatus::Failed);
        let text = format!("{} checks, {} failed", report.checks.len(), failed.count());
        self.note(
            TimelineKind::Checked,
            Line::text(text).took(begun.elapsed()),
        );
        report
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
