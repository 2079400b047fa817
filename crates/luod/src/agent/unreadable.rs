// SPDX-License-Identifier: MIT OR Apache-2.0
//! The previous kernel's record is there, and this agent cannot read it: another version has
//! written it, or it is damaged.
//!
//! Nobody knows then which sessions have come along, and whose they are. A workload that
//! registered would be told that it has none, would begin afresh, and would make new sessions
//! beside its old ones. So no workload is let in, and no update begins, until a luod is started
//! that can read the record, or an administrator gives it up.

use luo_varlink::{Phase, client};

use super::Agent;
use crate::decide::plan::Obstacle;

/// The remedy.
pub(super) const REMEDY: &str = "if another version of luod wrote it, start that one, which gives all \
                                 back: put it in this one's place and have luod alone started \
                                 again (`systemctl restart luod`; kill luod, and not a `luod \
                                 supervise`, with which the record may go); or give the record up with `luoctl finish --release`: the \
                                 sessions stay in the kernel then until `luoctl release --force \
                                 NAME` gives up each";

/// That a record cannot be read, and what that means.
fn words(why: &str) -> String {
    format!(
        "the previous kernel's record cannot be read: {why}. So luod does not know which sessions \
         came along and whose they are: it touches none of them, lets no workload in, and begins \
         no update"
    )
}

impl Agent {
    /// Waits, from here on, for an administrator.
    pub(super) fn cannot_read(&self, why: &str) {
        tracing::error!("{}: {REMEDY}", words(why));
        self.state.borrow_mut().unreadable = Some(why.to_owned());
        self.enter(Phase::Updated);
        self.changed.notify_waiters();
    }

    /// That the record cannot be read, in words, if that is so.
    pub(super) fn unreadable(&self) -> Option<String> {
        self.state.borrow().unreadable.as_deref().map(words)
    }

    /// Why it cannot be read, if that is so.
    pub fn why_unreadable(&self) -> Option<String> {
        self.state.borrow().unreadable.clone()
    }

    /// The same, as an obstacle to an update.
    pub(super) fn unreadable_obstacle(&self) -> Option<Obstacle> {
        self.unreadable().map(|found| Obstacle {
            found,
            remedy: REMEDY.to_owned(),
        })
    }

    /// Lets no workload in while the record cannot be read.
    ///
    /// # Errors
    /// It cannot be read. A workload that the notes know may run, and have lost its connection
    /// alone: it is told to try again. Any other is told why.
    pub(super) fn let_in(&self, workload: &str) -> Result<(), client::Error> {
        let Some(words) = self.unreadable() else {
            return Ok(());
        };
        let state = self.state.borrow();
        match state.workloads.contains_key(workload) {
            true => Err(client::Error::UpdateUnderWay {
                phase: state.phase.0,
            }),
            false => Err(client::Error::Denied {
                reason: format!("{words}: {REMEDY}"),
            }),
        }
    }
}
