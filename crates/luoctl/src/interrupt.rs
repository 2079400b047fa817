// SPDX-License-Identifier: MIT OR Apache-2.0
//! ^C while an update is under way: the first cancels it, the second leaves.
//!
//! Other signals end luoctl alone: the agent goes on with the update.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use luo_client::agent::{Admin, Error};
use luo_varlink::Phase;
use luo_varlink::admin::Error as Refusal;
use signal_hook::consts::SIGINT;
use signal_hook::iterator::{Handle, Signals};

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::complain;

/// As long as this value is there, ^C cancels.
pub struct Cancels(Handle);

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
        let mut signals = Signals::new([SIGINT])?;
        let handle = signals.handle();
        let folder = folder.to_owned();
        std::thread::Builder::new()
            .name("interrupt".to_owned())
            .spawn(move || {
                let mut is_first = true;
                for _ in &mut signals {
                    if !is_first {
                        complain("luoctl: the agent goes on; `luoctl status` says where it is");
                        std::process::exit(i32::from(Exit::Interrupted.code()));
                    }
                    is_first = false;
                    // The cancel waits until all is undone. The next ^C must not wait.
                    let folder = folder.clone();
                    std::thread::spawn(move || cancel(&folder));
                    complain("luoctl: cancelling; ^C once more leaves");
                }
            })?;
        Ok(Self(handle))
    }
}

impl Drop for Cancels {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn cancel(folder: &Path) {
    let cancelled = Admin::connect_to(folder).and_then(|mut admin| cancel_soon(&mut admin));
    if let Err(why) = cancelled {
        complain(format_args!("luoctl: it could not be cancelled: {why}"));
    }
}

/// Cancels. If no update is under way, the agent may be about to read the very call that is
/// to be cancelled, so this asks again for a while.
fn cancel_soon(admin: &mut Admin) -> std::result::Result<(), Error<Refusal>> {
    /// The time in which an agent begins an update at the latest.
    const PATIENCE: Duration = Duration::from_secs(5);
    /// How often it is asked.
    const EACH: Duration = Duration::from_millis(20);
    let begun = Instant::now();
    loop {
        let cancelled = admin.cancel(Some("interrupted by ^C in luoctl"));
        match cancelled {
            Err(Error::Refused(Refusal::Illegal { phase, .. }))
                if phase == Phase::Normal && begun.elapsed() < PATIENCE =>
            {
                std::thread::sleep(EACH);
            }
            done => return done,
        }
    }
}
