// SPDX-License-Identifier: MIT OR Apache-2.0
//! An update that somebody ends before the jump: an administrator, a lost workload, or
//! the end of the agent itself. How it is undone is in `undo`.

use luo_sys::Event as KernelEvent;
use luo_varlink::Phase;
use luo_varlink::admin::Error;

use super::Agent;
use super::caller::cut;

impl Agent {
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
