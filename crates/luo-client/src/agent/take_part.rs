// SPDX-License-Identifier: MIT OR Apache-2.0
//! The life of a workload between two updates.

use core::time::Duration;

use luo_varlink::client::Error as Refusal;
use luo_varlink::{Event, EventKind};

use super::error::{Error, Result};
use super::workload::Workload;

/// The pause before connecting again to an agent that was lost before it asked for
/// anything.
const PAUSE: Duration = Duration::from_secs(1);

/// How far things had come when the agent was lost.
#[derive(Debug, Default)]
struct Life {
    /// The update that is under way, as far as this workload was told.
    update: Option<String>,
    /// Whether the agent has sent anything since it was connected to.
    has_heard: bool,
}

impl Workload {
    /// Takes part in updates for as long as the program runs: waits for each event, has
    /// `act` do what it asks for, and answers. For programs that have a thread for it;
    /// others have [`Workload::try_event`].
    ///
    /// `act` does what [`EventKind`] says of the event. For a prepare and a freeze `Ok`
    /// means that it is done, and an error is a veto with that reason. The result for a
    /// cancel is ignored.
    ///
    /// If the agent is lost, this connects again, for as long as `within` (see
    /// [`Workload::reconnect`]); if the agent was lost in an update, the update is off, and
    /// `act` gets a cancel first. An answer that crosses with a cancel is no error.
    ///
    /// # Errors
    /// This returns only if it could not connect to the agent again. The program still has
    /// its sessions then, and can call this again; if it ends instead, sessions that only
    /// it holds are lost.
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
                // The result for a cancel is ignored.
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

    /// Waits for one event, and answers it.
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
            // The answer was late: a cancel is the next event.
            Err(Error::Refused(Refusal::NotExpected { .. })) => Ok(()),
            answered => answered,
        }
    }
}
