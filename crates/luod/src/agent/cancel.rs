// SPDX-License-Identifier: MIT OR Apache-2.0
//! An update that somebody ends before the jump: an administrator, a lost workload, or
//! the end of the agent itself. How it is undone is in `undo`.

use luo_sys::Event as KernelEvent;
use luo_varlink::Phase;
use luo_varlink::admin::Error;

use super::Agent;
use super::caller::cut;

impl Agent {
    /// Ends the update for an administrator.
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
        // A step that is under way is waited for: it undoes the update. Another update may
        // have begun by the time this looks.
        loop {
            let changed = self.changed.notified();
            if self.state.borrow().update_id() != id.as_deref() {
                return Ok(());
            }
            changed.await;
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
            let changed = self.changed.notified();
            let phase = self.state.borrow().phase.0;
            match phase {
                Phase::Normal | Phase::Updated => break,
                Phase::Jumping | Phase::Cancelling => changed.await,
                _ => {
                    drop(changed);
                    // If this is refused the phase has changed: the loop looks again.
                    let _ = self.cancel(Some("luod is told to end")).await;
                }
            }
        }
        // A session on its way from the kernel would be closed, and so finished.
        if !self.all_have_arrived().await {
            tracing::error!("the kernel does not answer: luod ends without its sessions");
        }
    }
}
