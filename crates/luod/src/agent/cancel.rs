// SPDX-License-Identifier: MIT OR Apache-2.0
//! An update that somebody ends before the jump: an administrator, a lost workload, or
//! the end of the agent itself. How it is undone is in `undo`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use luo_sys::Event as KernelEvent;
use luo_varlink::admin::Error;
use luo_varlink::{Phase, TimelineKind};

use super::Agent;
use super::caller::cut;
use super::clock::after;
use super::hang;
use super::timeline::Line;
use crate::decide::failed::Failed;
use crate::kernel::Kernel;

/// How long a workload's call waits for the end of a cancel. Its library waits for 30 s.
const PATIENCE: Duration = Duration::from_secs(10);

/// An update that ends.
#[derive(Debug)]
pub struct Ending(Option<String>);

/// Why an administrator ends something, in words.
fn said(reason: Option<&str>) -> String {
    cut(reason.unwrap_or("an administrator said so"))
}

impl Agent {
    /// Ends the update for an administrator.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn cancel(&self, reason: Option<&str>) -> Result<(), Error> {
        let ending = self.call_off(reason)?;
        self.until_undone(ending).await;
        Ok(())
    }

    /// Has the kernel cancel an update that this agent does not know of: another program has
    /// begun it, or an agent that has lost its notes. If this agent is in one, that ends.
    ///
    /// # Errors
    /// As [`Error`] says: the kernel is in no update, or cannot cancel it.
    pub async fn cancel_by_force(&self, reason: Option<&str>) -> Result<(), Error> {
        if self.state.borrow().update.is_some() {
            return self.cancel(reason).await;
        }
        self.heed_hang("CANCEL")?;
        // A cancel that the kernel comes to only when nobody waits for it might meet another
        // update: the first to take this decides whether it is made.
        let taken = Arc::new(AtomicBool::new(false));
        let is_off = Arc::clone(&taken);
        let job = move |kernel: &mut dyn Kernel| match is_off.swap(true, Ordering::AcqRel) {
            true => Ok(None),
            false => kernel.cancel(),
        };
        let reason = said(reason);
        let then = move |agent: &Self, cancelled, _| {
            if let Ok(Some(was)) = &cancelled {
                let text = format!("cancelled by force, and it was {was}: {reason}");
                agent.note(TimelineKind::Kernel, Line::text(text));
            }
            cancelled
        };
        let cancelling = self.to_its_end("CANCEL", "CANCEL", job, then);
        tokio::pin!(cancelling);
        let ended = tokio::select! {
            biased;
            ended = &mut cancelling => ended,
            () = after(self.patience()) => match taken.swap(true, Ordering::AcqRel) {
                true => cancelling.await,
                false => Err(Failed::busy("CANCEL")),
            },
        };
        let cancelled: Result<_, Failed> = match ended {
            Err(_) if !taken.swap(true, Ordering::AcqRel) => Err(Failed::busy("CANCEL")),
            ended => ended?,
        };
        match cancelled? {
            Some(_) => Ok(()),
            None => Err(self
                .state
                .borrow()
                .phase
                .illegal(KernelEvent::Cancel.word())),
        }
    }

    /// Decides that the update ends: no jump comes after this. It is undone by and by.
    ///
    /// # Errors
    /// As [`Error`] says: there is nothing to end, or it is decided that the machine jumps.
    pub fn call_off(&self, reason: Option<&str>) -> Result<Ending, Error> {
        let reason = said(reason);
        let mut state = self.state.borrow_mut();
        let phase = state.phase;
        let gate = state.update.as_ref().map(|update| Arc::clone(&update.gate));
        match phase.0 {
            Phase::Preparing | Phase::Freezing => {}
            Phase::Jumping if gate.is_some_and(|gate| gate.call_off()) => {}
            _ => phase.allows(KernelEvent::Cancel)?,
        }
        state.doom(Error::Cancelled { reason });
        let ending = Ending(state.update_id().map(str::to_owned));
        drop(state);
        self.changed.notify_waiters();
        Ok(ending)
    }

    /// Waits until an update that ends is undone.
    pub async fn until_undone(&self, Ending(id): Ending) {
        self.heed().await;
        // A step that is under way is waited for: it undoes the update. Another update may
        // have begun by the time this looks.
        self.until(|agent| agent.state.borrow().update_id() != id.as_deref())
            .await;
    }

    /// Waits until no update is being cancelled, for some seconds at most: what is refused
    /// meanwhile is allowed right after that. The kernel may take longer.
    pub async fn until_cancelled(&self) {
        let is_cancelling = |agent: &Self| agent.state.borrow().phase.0 == Phase::Cancelling;
        if !is_cancelling(self) {
            return;
        }
        tokio::select! {
            biased;
            () = self.until(|agent| !is_cancelling(agent)) => {}
            () = after(PATIENCE) => {}
        }
    }

    /// Undoes an update that must end, if no step is under way that would do it.
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

    /// Ends an update that is under way, because the agent is told to end. A jump through
    /// the service manager is not stopped: then the agent goes on until the jump.
    pub async fn shut_down(&self) {
        loop {
            self.end_update().await;
            // A session on its way from the kernel would be closed, and so finished.
            if !self.all_have_arrived().await {
                tracing::error!("the kernel does not answer: luod ends without its sessions");
            }
            self.until_written().await;
            // Somebody may have begun another meanwhile.
            if matches!(self.state.borrow().phase.0, Phase::Normal | Phase::Updated) {
                if let Some(told) = self.told_while_not_undone().await {
                    tracing::error!(
                        "luod ends, and the kernel has not undone yet what it was asked for in an \
                         update that is off: {}",
                        told.before(hang::NOT_UNDONE)
                    );
                }
                self.tell_what_goes_with_luod();
                return;
            }
        }
    }

    async fn end_update(&self) {
        loop {
            let changed = self.changed.notified();
            let phase = self.state.borrow().phase.0;
            match phase {
                Phase::Normal | Phase::Updated => return,
                Phase::Jumping | Phase::Cancelling => changed.await,
                _ => {
                    drop(changed);
                    // If this is refused the phase has changed: the loop looks again.
                    let _ = self.cancel(Some("luod is told to end")).await;
                }
            }
        }
    }
}
