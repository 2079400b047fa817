// SPDX-License-Identifier: MIT OR Apache-2.0
//! The life of a workload between two updates.

use core::time::Duration;

use luo_varlink::client::Error as Refusal;
use luo_varlink::{Event, EventKind};

use super::error::{Error, Result};
use super::workload::Workload;

/// The pause before an agent is connected to again that was lost before it asked for
/// anything.
const PAUSE: Duration = Duration::from_secs(1);

/// What went on when the agent was lost.
#[derive(Debug, Default)]
struct Life {
    /// The update that is under way, as far as this workload was told.
    update: Option<String>,
    /// The agent has said something since it was connected to.
    has_heard: bool,
}

impl Workload {
    /// Takes part in updates for as long as the program runs: waits for each event, has
    /// `act` do what it asks for, and answers. For programs that have a thread for it;
    /// others have [`Workload::try_event`].
    ///
    /// `act` does what [`EventKind`] says of the event. For a prepare and a freeze `Ok`
    /// means that it is done, and an error is a veto with that reason. Of a cancel nobody
    /// hears the result.
    ///
    /// An agent that is lost is connected to again, for as long as `within` (see
    /// [`Workload::reconnect`]); if that was in an update, the update is off, and `act`
    /// hears of a cancel first. An answer that crosses with a cancel is no error.
    ///
    /// # Errors
    /// It gives something back only if the agent could not be connected to again. The
    /// sessions are still this program's then, and it can be called again: who ends loses
    /// what only he has.
    pub fn take_part(
        &mut self,
        within: Duration,
        mut act: impl FnMut(&Event) -> core::result::Result<(), String>,
    ) -> Error {
        let mut life = Life::default();
        loop {
            let Err(_lost) = self.turn(&mut life, &mut act) else {
                continue;
            };
            if let Some(update) = life.update.take() {
                let reason = "the agent was lost, and with it the update";
                // Nobody hears of what comes of it.
                let _ = act(&Event {
                    kind: EventKind::Cancel,
                    update,
                    deadline_ms: 0,
                    reason: Some(reason.into()),
                });
            }
            if !core::mem::take(&mut life.has_heard) {
                std::thread::sleep(PAUSE);
            }
            if let Err(why) = self.reconnect(within) {
                return why;
            }
        }
    }

    /// One event, and the answer to it.
    fn turn(
        &mut self,
        life: &mut Life,
        act: &mut impl FnMut(&Event) -> core::result::Result<(), String>,
    ) -> Result<()> {
        let event = self.next_event()?;
        life.has_heard = true;
        life.update = match event.kind {
            EventKind::Cancel => None,
            EventKind::Prepare | EventKind::Freeze => Some(event.update.clone()),
        };
        let acted = act(&event);
        let answered = match (event.kind, acted) {
            (EventKind::Cancel, _) => return Ok(()),
            (_, Ok(())) => self.ready(&event),
            (_, Err(reason)) => self.veto(&event, &reason),
        };
        match answered {
            // It was late: a cancel is the next event.
            Err(Error::Refused(Refusal::NotExpected { .. })) => Ok(()),
            answered => answered,
        }
    }
}
