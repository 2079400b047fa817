// SPDX-License-Identifier: MIT OR Apache-2.0
//! ^C while an update is under way: the first asks the agent to cancel it, the second leaves
//! without its answer.
//!
//! Other signals end luoctl alone: the agent goes on with the update.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use luo_client::agent::{Admin, Error};
use luo_varlink::Phase;
use luo_varlink::admin::Error as Refusal;
use signal_hook::consts::SIGINT;
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals};

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::complain;

/// How long the second ^C waits until the agent has been asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the end of a step waits until the agent has answered, which undoes the step.
const ANSWER: Duration = Duration::from_secs(10);

/// How far a cancel has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Nobody wants one.
    #[default]
    None,
    /// It is wanted, and the agent has not got it yet.
    Wanted,
    /// The agent has it.
    Sent,
    /// The agent has cancelled.
    Cancelled,
    /// It is gone: the machine has jumped, or luod has ended.
    Gone,
    /// It has refused, or cannot be asked.
    Refused,
}

/// A cancel, for the threads that have to do with it.
#[derive(Clone, Default)]
struct Cancel(Arc<(Mutex<Stage>, Condvar)>);

impl Cancel {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, stage: Stage) {
        *self.stage() = stage;
        self.0.1.notify_all();
    }

    /// Waits until it has come beyond a stage, or the time is over. Gives the stage.
    fn beyond(&self, passed: &[Stage], within: Duration) -> Stage {
        let still = |stage: &mut Stage| passed.contains(stage);
        let waited = self.0.1.wait_timeout_while(self.stage(), within, still);
        let (stage, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *stage
    }
}

/// As long as this value is there, ^C cancels.
pub struct Cancels {
    handle: Handle,
    cancel: Cancel,
    /// It is set at once, before the thread gets to ask.
    is_pressed: Arc<AtomicBool>,
}

impl Cancels {
    /// Has ^C cancel the update of the agent whose sockets lie in a folder.
    ///
    /// # Errors
    /// A thread, or a handler, cannot be had.
    pub fn on_interrupt(folder: &Path) -> Result<Self> {
        Self::wait(folder).map_err(|why| {
            let message = format!("^C cannot be waited for: {why}");
            Failure::new(Exit::Internal, "system", message)
        })
    }

    fn wait(folder: &Path) -> io::Result<Self> {
        let is_pressed = Arc::new(AtomicBool::new(false));
        flag::register(SIGINT, Arc::clone(&is_pressed))?;
        let mut signals = Signals::new([SIGINT])?;
        let handle = signals.handle();
        let folder = folder.to_owned();
        let cancel = Cancel::default();
        let ours = cancel.clone();
        std::thread::Builder::new()
            .name("interrupt".to_owned())
            .spawn(move || {
                for _ in &mut signals {
                    if *ours.stage() != Stage::None {
                        leave(&ours);
                    }
                    ours.set(Stage::Wanted);
                    // The cancel waits until all is undone. The next ^C must not wait.
                    let asks = {
                        let (folder, ours) = (folder.clone(), ours.clone());
                        std::thread::Builder::new().spawn(move || ask(&folder, &ours))
                    };
                    if asks.is_ok() {
                        complain(
                            "luoctl: luod is asked to cancel; ^C once more does not wait for it",
                        );
                    } else {
                        // There can be no further thread, so it has to wait.
                        complain("luoctl: luod is asked to cancel, and its answer is waited for");
                        ask(&folder, &ours);
                    }
                }
            })?;
        Ok(Self {
            handle,
            cancel,
            is_pressed,
        })
    }

    /// Says, once the machine jumps, that a cancel that was asked for has come too late.
    pub fn tell_of_the_jump(&self) {
        if self.is_pressed.load(Ordering::Acquire) {
            complain("luoctl: it was not cancelled: that came too late, and the machine jumps");
        }
    }

    /// Waits, when a step is done, for the answer to a cancel that was asked for meanwhile: it
    /// undoes the step. `done` says what is so if nobody cancels.
    ///
    /// # Errors
    /// One was asked for.
    pub fn settled(self, done: &str) -> Result<()> {
        let interrupted = |message: String| {
            Err(Failure::new(Exit::Interrupted, "interrupted", message)
                .next("`luoctl status` says where luod is; `luoctl cancel` undoes all"))
        };
        if !self.is_pressed.load(Ordering::Acquire) {
            return Ok(());
        }
        let on_its_way = [Stage::None, Stage::Wanted, Stage::Sent];
        match self.cancel.beyond(&on_its_way, ANSWER) {
            Stage::Cancelled => {
                let message = "the update was cancelled: interrupted by ^C in luoctl";
                Err(Failure::new(Exit::Refused, "cancelled", message)
                    .next("everything runs on as before"))
            }
            // Why stands there already.
            Stage::Refused => interrupted(format!("{done}, and it was not cancelled")),
            Stage::None | Stage::Wanted | Stage::Sent => interrupted(format!(
                "{done}, and luod has not answered yet whether it cancels that"
            )),
            Stage::Gone => Err(Error::<Refusal>::AgentGone.into()),
        }
    }
}

impl Drop for Cancels {
    fn drop(&mut self) {
        self.handle.close();
    }
}

/// Leaves at the second ^C, and says what is known of the first.
fn leave(cancel: &Cancel) -> ! {
    complain(match cancel.beyond(&[Stage::Wanted], PATIENCE) {
        Stage::None | Stage::Wanted => {
            "luoctl: luod could not be asked to cancel, so the agent goes on with the update; \
             `luoctl status` says where it is"
        }
        Stage::Sent => {
            "luoctl: luod has been asked to cancel and has not answered, so the agent goes on \
             without luoctl: it cancels unless the machine has jumped by then; `luoctl history` \
             says what came of it"
        }
        Stage::Cancelled | Stage::Gone | Stage::Refused => {
            "luoctl: luod has answered; `luoctl history` says what came of it"
        }
    });
    std::process::exit(i32::from(Exit::Interrupted.code()));
}

fn ask(folder: &Path, cancel: &Cancel) {
    let cancelled = Admin::connect_to(folder).and_then(|mut admin| cancel_soon(&mut admin, cancel));
    cancel.set(match cancelled {
        Ok(()) => Stage::Cancelled,
        // The jump may have ended the connection: the end of the update says so.
        Err(Error::AgentGone) => Stage::Gone,
        Err(why) => {
            complain(format_args!("luoctl: it could not be cancelled: {why}"));
            Stage::Refused
        }
    });
}

/// Cancels. If no update is under way, the agent may be about to read the very call that is
/// to be cancelled, so this asks again for a while.
fn cancel_soon(admin: &mut Admin, cancel: &Cancel) -> std::result::Result<(), Error<Refusal>> {
    /// The time in which an agent begins an update at the latest.
    const PATIENCE: Duration = Duration::from_secs(5);
    /// How often it is asked.
    const EACH: Duration = Duration::from_millis(20);
    let begun = Instant::now();
    loop {
        admin.send_cancel(Some("interrupted by ^C in luoctl"))?;
        cancel.set(Stage::Sent);
        match admin.cancelled() {
            Err(Error::Refused(Refusal::Illegal { phase, .. }))
                if phase == Phase::Normal && begun.elapsed() < PATIENCE =>
            {
                std::thread::sleep(EACH);
            }
            done => return done,
        }
    }
}
