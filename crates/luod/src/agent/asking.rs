// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs a round of asking. `crate::decide::round` decides which workload is asked when, and
//! what an answer means.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use luo_varlink::admin::Error;
use luo_varlink::{Event, EventKind, Step, TimelineKind, WorkloadState};
use tokio::sync::mpsc;

use super::Agent;
use super::state::{Said, states_of};
use super::timeline::Line;
use crate::decide::round::Round;

impl Agent {
    /// Runs one round of asking.
    pub(super) async fn ask_all(&self, step: Step) -> Result<(), Error> {
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
        // Later vetoes go to `update.doom`.
        if let Some(update) = &mut self.state.borrow_mut().update {
            update.ear = None;
        }
        result?;
        while let Ok(said) = said.try_recv() {
            match said {
                Said::Agreed(_) => {}
                Said::Left(name) => self.note(TimelineKind::Left, Line::of(&name)),
                Said::Off(why) => return Err(why),
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
        let mut since = BTreeMap::new();
        loop {
            let now = Instant::now();
            for name in round.ask(now, |name| self.config().patience(name, step)) {
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
                Ok(Some(Said::Left(name))) => self.note(TimelineKind::Left, Line::of(&name)),
                Ok(Some(Said::Off(why))) => return Err(why),
                // This cannot be: `ear` is a sender, and it is still there.
                Ok(None) => {}
                Err(_) => {
                    // A workload that has answered in time is not late because luod was.
                    self.clients_unread.is_over().await;
                    if !said.is_empty() {
                        continue;
                    }
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
            // A workload that has left has agreed to all further steps. This cannot fail,
            // for the round is listening.
            let _ = ear.send(Said::Agreed(name.to_owned()));
            return;
        }
        let patience = self.config().patience(name, step);
        self.ask(name, step, patience);
        self.note(TimelineKind::Asked, Line::of(name).with(step.word()));
    }

    /// Asks a workload to take a step, by an event in its inbox.
    fn ask(&self, name: &str, step: Step, patience: Duration) {
        let mut state = self.state.borrow_mut();
        let update = state.update_id().unwrap_or_default().to_owned();
        let Some(workload) = state.workloads.get_mut(name) else {
            return;
        };
        workload.state = states_of(step).0;
        workload.late_at = Instant::now().checked_add(patience);
        workload.tell(Event {
            kind: match step {
                Step::Prepare => EventKind::Prepare,
                Step::Freeze => EventKind::Freeze,
            },
            update,
            deadline_ms: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
            reason: None,
        });
    }
}
