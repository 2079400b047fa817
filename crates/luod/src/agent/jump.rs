// SPDX-License-Identifier: MIT OR Apache-2.0
//! The last step of an update: the machine jumps.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use luo_sys::Errno;
use luo_varlink::admin::Error;
use luo_varlink::{Phase, TimelineEvent, TimelineKind};

use super::Agent;
use super::at_work::{SHUTDOWN, SHUTTING_DOWN};
use super::hang::{self, Hang};
use super::timeline::Line;
use crate::decide::config::Jump;
use crate::decide::failed::Failed;
use crate::decide::names::OWN_SESSION;
use crate::decide::record;
use crate::kernel::Kernel;
use crate::manager::shutdown::Shutdown;

/// The name of the call that jumps, or that has the service manager jump.
fn call(how: Jump) -> &'static str {
    match how {
        Jump::Direct => "reboot(KEXEC)",
        Jump::Systemctl => "systemctl kexec",
    }
}

impl Agent {
    /// Jumps. It returns only if the jump was refused, and then the update has been undone.
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
        // A workload may have been lost since, and its update not yet undone.
        if let Err(why) = self.heed_doom() {
            return self.undo(why).await;
        }
        self.enter(Phase::Jumping);
        self.all_have_heard().await;
        let how = self.config().jump;
        if how == Jump::Systemctl
            && let Err(why) = self.be_ready_for_a_shutdown().await
        {
            return self.undo(why).await;
        }
        // Power may be lost in the jump: whoever starts next is to know of it. The disk writes
        // while the record is sealed.
        self.write_under_way();
        let lines = self.since_the_record();
        let job = move |kernel: &mut dyn Kernel| {
            // The next kernel's agent can do without the tail, which only tells how the
            // update went.
            if let Err(why) = kernel.seal(&|room| record::tail(&lines, room)) {
                tracing::warn!("the end of the timeline is not handed over: {why}");
            }
            if how == Jump::Direct {
                kernel.settle();
            }
        };
        let settled = self.kernel_in_time("sync", job).await;
        if let Err(why) = settled {
            return self.undo(why).await;
        }
        let update = self.state.borrow().update_id().map(str::to_owned);
        self.until_taken(&update.unwrap_or_default()).await;
        // A cancel that administrators have sent by now counts.
        self.unread.is_over().await;
        let gate = {
            let state = self.state.borrow();
            state.update.as_ref().map(|update| Arc::clone(&update.gate))
        };
        // Nothing comes between this decision and the jump: who cancels is told.
        let job = move |kernel: &mut dyn Kernel| {
            let jumps = gate.is_some_and(|gate| gate.jump());
            jumps.then(|| kernel.jump(how))
        };
        let jumped = self.jumped(call(how), job).await;
        if let Err(why) = self.heed_doom() {
            return self.undo(why).await;
        }
        let failed = match jumped {
            Some(Err(failed)) => failed,
            // The service manager shuts down, which ends this process.
            Some(Ok(())) => self.no_shutdown().await,
            None => Failed::new("the jump", Errno::EAGAIN),
        };
        self.undo(failed.into()).await
    }

    /// Waits for the jump. Nothing calls it off any more, so that it does not come about is told.
    async fn jumped<T: Send + 'static>(
        &self,
        call: &str,
        job: impl FnOnce(&mut dyn Kernel) -> T + Send + 'static,
    ) -> T {
        let (hang, job) = Hang::watch(hang::JUMP, job);
        let patience = self.config().kernel_deadline.0;
        let _begun = self.at_work.begin("the kernel", Some(call), patience);
        let mut jumping = pin!(self.kernel.run(job));
        if let Some(jumped) = self.unless_late(hang, patience, jumping.as_mut()).await {
            return jumped;
        }
        let seconds = patience.as_secs_f64();
        let remedy = hang::remedy(hang::JUMP);
        let text = format!("the jump has not come about within {seconds} s: {remedy}");
        self.note(TimelineKind::Kernel, Line::text(text));
        jumping.await
    }

    /// Notes the jump before a shutdown, which takes a while. If luod is killed in it and
    /// started again, it goes on from this note: a cancel would turn the jump into a plain
    /// reboot.
    async fn be_ready_for_a_shutdown(&self) -> Result<(), Error> {
        let noted = self.notes.set_jumping();
        noted.map_err(|why| self.unnoted(&why))?;
        let own = self.kernel_in_time("the record", |kernel| kernel.own_session());
        if let Some(session) = own.await? {
            // If the store has no room the log says so. It matters only if luod is killed.
            let _ = self.store.put(OWN_SESSION, &session);
        }
        Ok(())
    }

    /// Waits while the service manager shuts down. The manager itself limits that time, and
    /// kills services that do not end. To undo the update meanwhile would take away the
    /// sessions of services that have ended already. So this returns only when the manager
    /// says that no shutdown is under way any more.
    pub(super) async fn no_shutdown(&self) -> Failed {
        /// How often the manager is asked.
        const EACH: Duration = Duration::from_secs(2);
        /// How many times in a row it has to say so: the shutdown may be about to begin.
        const TIMES: u32 = 3;
        let mut said = 0;
        let patience = self.config().kernel_deadline.0;
        let _begun = self.at_work.begin(SHUTDOWN, None, patience);
        let begun = Instant::now();
        let mut is_told = false;
        while said < TIMES {
            tokio::time::sleep(EACH).await;
            if begun.elapsed() >= patience && !std::mem::replace(&mut is_told, true) {
                let seconds = patience.as_secs_f64();
                let text = format!("{SHUTDOWN} takes longer than {seconds} s: {SHUTTING_DOWN}");
                self.note(TimelineKind::Kernel, Line::text(text));
            }
            said = match self.kernel.run(|kernel| kernel.shutdown()).await {
                Shutdown::Over => said + 1,
                Shutdown::UnderWay | Shutdown::Unknown => 0,
            };
        }
        Failed::new("systemctl kexec", Errno::EAGAIN)
    }

    /// The lines of the timeline since the record was written.
    fn since_the_record(&self) -> Vec<Arc<TimelineEvent>> {
        let state = self.state.borrow();
        let update = state.update.as_ref();
        let lines = update.and_then(|update| update.timeline.get(update.recorded..));
        lines.unwrap_or_default().to_vec()
    }

    /// Gives watchers a moment to read of the jump before it ends their connections. Slow
    /// watchers are not waited for.
    async fn all_have_heard(&self) {
        const PATIENCE: Duration = Duration::from_millis(50);
        let begun = Instant::now();
        while !self.timeline.is_empty() && begun.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The tasks that have taken the last line get to write it.
        tokio::task::yield_now().await;
    }
}
