// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's steps of an update. A call of the kernel may take for ever: a disk is dead, or
//! a driver. So each step has a deadline and can be called off, and then luod does not wait for
//! the call that the kernel is in. The step is undone as soon as the kernel answers; until then no
//! update begins.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use luo_sys::Errno;
use luo_varlink::TimelineKind;
use luo_varlink::admin::Error;
use tokio::sync::oneshot;

use super::Agent;
use super::clock::after;
use super::hang::{self, Hang};
use super::timeline::Line;
use crate::decide::failed::Failed;
use crate::kernel::Kernel;

/// The most that the kernel is waited for where no update depends on its answer.
const PATIENCE: Duration = Duration::from_secs(3);

impl Agent {
    /// Waits for a part of an update in which no workload is asked: until its deadline, or
    /// until the update is off.
    pub(super) async fn in_time<T>(
        &self,
        call: &str,
        part: impl Future<Output = T>,
    ) -> Result<T, Error> {
        let patience = self.config().kernel_deadline.0;
        let _begun = self.at_work.begin(call, None, patience);
        self.within(call, patience, part).await
    }

    /// The same for a part that the kernel does.
    pub(super) async fn kernel_in_time<T: Send + 'static>(
        &self,
        call: &str,
        job: impl FnOnce(&mut dyn Kernel) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let patience = self.config().kernel_deadline.0;
        let _begun = self.at_work.begin("the kernel", Some(call), patience);
        self.within(call, patience, self.kernel.run(job)).await
    }

    async fn within<T>(
        &self,
        call: &str,
        patience: Duration,
        part: impl Future<Output = T>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            done = part => Ok(done),
            why = self.doomed() => Err(why),
            () = after(patience) => Err(Failed::late(call, patience).into()),
        }
    }

    /// Has the kernel do its part of a step, and notes how long that took.
    pub(super) async fn kernel_step(
        &self,
        call: &str,
        what: &str,
        job: impl FnOnce(&mut dyn Kernel) -> Result<(), Failed> + Send + 'static,
    ) -> Result<(), Error> {
        let begun = Instant::now();
        self.kernel_in_time(call, job).await??;
        self.note(TimelineKind::Kernel, Line::text(what).took(begun.elapsed()));
        Ok(())
    }

    /// How long the kernel is waited for where no update depends on its answer.
    pub(super) fn patience(&self) -> Duration {
        PATIENCE.min(self.config().kernel_deadline.0)
    }

    /// Asks the kernel for something that changes nothing. The caller is not kept waiting by
    /// a call that hangs.
    pub(super) async fn ask_kernel<T: Send + 'static>(
        &self,
        call: &str,
        question: impl FnOnce(&mut dyn Kernel) -> T + Send + 'static,
    ) -> Result<T, Failed> {
        self.heed_hang(call)?;
        tokio::select! {
            biased;
            told = self.question(question) => Ok(told),
            () = after(self.patience()) => Err(Failed::busy(call)),
        }
    }

    /// Asks the kernel, as soon as it has answered the question before this one. A caller that does
    /// not wait any longer leaves at most one question behind, however many ask: a call that changes
    /// something does not stand behind them.
    pub(super) async fn question<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut dyn Kernel) -> T + Send + 'static,
    ) -> T {
        let place = Arc::clone(&self.questions).acquire_owned().await;
        self.kernel
            .run(move |kernel| {
                let told = question(kernel);
                drop(place);
                told
            })
            .await
    }

    /// Has the kernel do something that is done to its end, whoever waits for that. `then` notes
    /// what has come of it; it is told whether nobody waits for it any more. Whoever asks is told
    /// when the kernel takes too long.
    pub(super) async fn to_its_end<T: Send + 'static, U: 'static>(
        &self,
        what: &'static str,
        call: &str,
        job: impl FnOnce(&mut dyn Kernel) -> T + Send + 'static,
        then: impl FnOnce(&Self, T, bool) -> U + 'static,
    ) -> Result<U, Failed> {
        let (hang, job) = Hang::watch(what, job);
        let (tell, told) = oneshot::channel();
        self.begin_task(async move |agent| {
            let done = agent.kernel.run(job).await;
            let is_late = tell.is_closed();
            let _ = tell.send(then(&agent, done, is_late));
        });
        let patience = self.config().kernel_deadline.0;
        let _begun = self
            .at_work
            .begin_beside("the kernel", Some(call), patience);
        match self.unless_late(hang, patience, told).await {
            Some(done) => done.map_err(|_| Failed::new(call, Errno::EIO)),
            None => Err(Failed::later(call, patience)),
        }
    }

    /// Has the kernel undo its part of an update, and waits for that as long as it makes sense.
    pub(super) async fn undo_kernel(&self) {
        let (hang, undo) = Hang::watch(hang::UNDO, |kernel| kernel.undo());
        let (tell, told) = oneshot::channel();
        self.begin_task(async move |agent| {
            agent.kernel.run(undo).await;
            if tell.send(()).is_err() {
                tracing::info!("the kernel has answered: what it was asked for is undone");
                agent.note_undoing(false);
            }
        });
        if self
            .unless_late(hang, self.patience(), told)
            .await
            .is_none()
        {
            tracing::error!(
                "the kernel does not answer: what it was asked for is undone as soon as it does"
            );
        }
    }

    /// Notes whether the kernel has yet to undo an update that is over.
    pub(super) fn note_undoing(&self, is_undoing: bool) {
        if let Err(why) = self.notes.set_undoing(is_undoing) {
            tracing::error!("the notes: {why}");
        }
    }

    /// Waits until a call of the kernel that was begun for somebody else is over.
    pub(super) async fn until_in_time(
        &self,
        call: &str,
        is_over: impl Fn(&Self) -> bool,
    ) -> Result<(), Failed> {
        let patience = self.config().kernel_deadline.0;
        let _begun = self
            .at_work
            .begin_beside("the kernel", Some(call), patience);
        tokio::select! {
            biased;
            () = self.until(is_over) => Ok(()),
            () = after(patience) => Err(Failed::later(call, patience)),
        }
    }

    /// Waits for what a job tells; `None` if it is late, and then others hear of it.
    pub(super) async fn unless_late<T>(
        &self,
        hang: Hang,
        patience: Duration,
        told: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::select! {
            biased;
            told = told => Some(told),
            () = after(patience) => {
                self.hanging.borrow_mut().push(hang);
                None
            }
        }
    }

    /// Refuses a call of the kernel while that hangs in an earlier one.
    pub(super) fn heed_hang(&self, call: &str) -> Result<(), Failed> {
        match self.hangs_in() {
            Some((earlier, _)) => Err(Failed::hangs(call, earlier)),
            None => Ok(()),
        }
    }

    /// The call that the kernel hangs in, and since when.
    pub(super) fn hangs_in(&self) -> Option<(&'static str, Instant)> {
        let mut hanging = self.hanging.borrow_mut();
        hanging.retain(|hang| hang.hangs().is_some());
        hanging.first().and_then(Hang::hangs)
    }

    /// Whether the kernel has not undone yet what it was asked for in an update that is off.
    pub(super) fn is_not_undone(&self) -> bool {
        self.hangs_in().is_some_and(|(what, _)| what == hang::UNDO)
    }

    /// Waits until something ends the update.
    async fn doomed(&self) -> Error {
        loop {
            let changed = self.changed.notified();
            if let Err(why) = self.heed_doom() {
                return why;
            }
            changed.await;
        }
    }

    /// Gives the reason that ends the update, if one came up while no round was listening.
    pub(super) fn heed_doom(&self) -> Result<(), Error> {
        let mut state = self.state.borrow_mut();
        let doom = state.update.as_mut().and_then(|update| update.doom.take());
        doom.map_or(Ok(()), Err)
    }
}
