// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What the reboot system call does before a kexec.
//!
//! | state | is done |
//! |---|---|
//! | NORMAL | prepare and freeze |
//! | PREPARED | freeze |
//! | FROZEN | nothing: a reboot that did not come about may be tried again |
//! | UPDATED | sessions that nobody has claimed are carried on; prepare and freeze |

use luo_abi::rfc::{Event, State as MachineState};

use crate::engine::Engine;
use crate::failure::Failure;
use crate::handover::Handover;
use crate::host::Host;
use crate::lock::Lock;
use crate::update::carry::{carry, uncarry, Unclaimed};
use crate::update::event::{close_orphans, fail};
use crate::update::transition::{begin_reboot, freeze_all, prepare_all, undo_all};
use crate::update::Report;

/// Gets everything ready for the next kernel, or nothing.
///
/// # Errors
/// [`Failure`]: the kexec does not take place; the state is the one it was in, or
/// NORMAL if it was PREPARED, with everything usable. EAGAIN if the caller was
/// killed while it waited for a transition.
pub fn reboot<H: Lock>(host: &H, unclaimed: Unclaimed) -> Result<Report, Failure> {
    let from = begin_reboot(host)?;
    let mut report = Report::new(None, from);
    let done = match from {
        MachineState::Frozen => Ok(()),
        MachineState::Prepared => freeze_all(host).inspect_err(|_| undo_all(host)),
        MachineState::Normal | MachineState::Updated => get_all_ready(host, unclaimed, &mut report),
    };
    match done {
        Ok(()) => {
            report.to = host.now(|engine| {
                engine.count_outgoing(&mut report);
                engine.count_lost(&mut report);
                engine.update.end(MachineState::Frozen)
            });
            host.transition_ended(&report);
            Ok(report)
        }
        Err(why) if from == MachineState::Prepared => Err(fail(host, Event::Freeze, why)),
        Err(why) => {
            let state = host.now(|engine| engine.update.fail(None, why));
            host.transition_failed(None, state, &why);
            close_orphans(host);
            Err(why)
        }
    }
}

fn get_all_ready<H: Lock>(
    host: &H,
    unclaimed: Unclaimed,
    report: &mut Report,
) -> Result<(), Failure> {
    let armed = host.now(|engine| engine.ready());
    armed?;
    carry(host, unclaimed, report)?;
    let done = prepare_all(host).and_then(|()| freeze_all(host).inspect_err(|_| undo_all(host)));
    done.inspect_err(|_| uncarry(host))
}

impl<H: Host> Engine<H> {
    /// Counts the incoming sessions that end with this kernel.
    fn count_lost(&self, report: &mut Report) {
        let mut session = self.incoming.first;
        while let Some((id, current)) = session.and_then(|id| Some((id, self.sessions.get(id)?))) {
            if !current.is_finished() && self.carrier_of(id).is_none() {
                report.lost = report.lost.saturating_add(1);
            }
            session = current.links.next;
        }
        report.unread = match self.handover {
            Handover::Nothing | Handover::Working | Handover::Taken => false,
            Handover::Refused(_) => true,
            Handover::Waiting { fields, .. } | Handover::Incomplete { fields, .. } => {
                fields.sessions != 0
            }
        };
    }
}
