// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether the disk would take an update that is over now. The status tells it. Everybody may ask
//! for the status, and often, so it is tried now and then only, and by one thread at a time.

use std::time::Duration;

use luo_varlink::Phase;

use super::Agent;
use super::clock::after;

/// How long what was found counts as fresh.
const FRESH: Duration = Duration::from_secs(2);

/// How long whoever looks waits for the disk.
const PATIENCE: Duration = Duration::from_secs(2);

impl Agent {
    /// Why the disk would not take an update that is over now, if so.
    pub(super) async fn history_fails(&self) -> Option<String> {
        self.try_history();
        tokio::select! {
            biased;
            () = self.until(|agent| !agent.tried.is_under_way.get()) => {
                self.tried.why_not.borrow().clone()
            }
            () = after(PATIENCE) => Some("the disk does not answer".to_owned()),
        }
    }

    fn try_history(&self) {
        let at = self.tried.at.get();
        let is_fresh = at.is_some_and(|at| at.elapsed() < FRESH);
        // In the middle of an update the disks have other things to do.
        let is_calm = matches!(
            self.state.borrow().phase.0,
            Phase::Normal | Phase::Prepared | Phase::Updated
        );
        if is_fresh || !is_calm || self.tried.is_under_way.replace(true) {
            return;
        }
        self.begin_task(async |agent| {
            let history = agent.history.clone();
            let tried = tokio::task::spawn_blocking(move || history.is_writable()).await;
            let why_not = match tried {
                Ok(tried) => tried.err().map(|why| why.to_string()),
                Err(why) => Some(why.to_string()),
            };
            agent.tried.found(why_not);
            agent.tried.is_under_way.set(false);
            agent.changed.notify_waiters();
        });
    }
}
