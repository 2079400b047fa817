// SPDX-License-Identifier: MIT OR Apache-2.0
//! The update that is under way, as the history has it.

use luo_timeline::Moment;
use luo_varlink::{HistoryEntry, Outcome};

use super::Agent;
use super::state::State;
use super::timeline::lines;
use crate::kernel;

/// The entry of an update so far.
fn entry(state: &State, now: &Moment) -> Option<HistoryEntry> {
    let release = kernel::release();
    let entry = |update: &str, began_us| HistoryEntry {
        update: update.to_owned(),
        outcome: Outcome::UnderWay,
        reason: Some(format!(
            "it is {}; `luoctl status` says who is waited for",
            state.phase.0
        )),
        began_us,
        took_us: None,
        blackout_us: None,
        from_kernel: release.clone(),
        to_kernel: release.clone(),
        timeline: Vec::new(),
    };
    if let Some(update) = &state.update {
        return Some(HistoryEntry {
            took_us: Some(update.clock.elapsed_us()),
            timeline: lines(update.timeline.clone()),
            ..entry(&update.id, update.clock.wall_us)
        });
    }
    let restore = state.restore.as_ref()?;
    let record = &restore.record;
    Some(HistoryEntry {
        took_us: record.took_until(now),
        from_kernel: record.from_kernel.clone(),
        timeline: lines(restore.timeline.clone()),
        ..entry(&record.update, record.began_us)
    })
}

impl Agent {
    /// The entry of the update that is under way.
    pub(super) fn under_way(&self) -> Option<HistoryEntry> {
        entry(&self.state.borrow(), &self.moment())
    }
}
