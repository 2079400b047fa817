// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What the reboot system call does before a kexec.
//!
//! | state | is done |
//! |---|---|
//! | NORMAL | prepare and freeze |
//! | PREPARED | freeze |
//! | FROZEN | what is frozen is unfrozen, and all is frozen |
//! | UPDATED | sessions that nobody has claimed are carried on; prepare and freeze |

use luo_abi::rfc::{Event, State as MachineState};

use crate::engine::Engine;
use crate::failure::Failure;
use crate::handover::Handover;
use crate::host::Host;
use crate::lock::Lock;
use crate::update::carry::{carry, uncarry, Unclaimed};
use crate::update::event::{close_orphans, fail};
use crate::update::freeze::{freeze_all, unfreeze_files, Whose};
use crate::update::transition::{begin_reboot, prepare_all, undo_all};
use crate::update::Report;

/// Gets everything ready for the next kernel, or nothing.
///
/// # Errors
/// [`Failure`]: the kexec does not take place; the state is the one it was in, or
/// NORMAL if it was PREPARED or FROZEN, with everything usable. EAGAIN if the caller was
/// killed while it waited for a transition.
pub fn reboot<H: Lock>(host: &H, unclaimed: Unclaimed) -> Result<Report, Failure> {
    let from = begin_reboot(host)?;
    let mut report = Report::new(None, from);
    let done = match from {
        MachineState::Frozen | MachineState::Prepared => {
            // What a handler saw before user space was gone is not what is handed over.
            unfreeze_files(host);
            freeze_and_write(host).inspect_err(|_| uncarry(host))
        }
        MachineState::Normal | MachineState::Updated => get_all_ready(host, unclaimed, &mut report),
    };
    match done {
        Ok(()) => {
            host.now(|engine| {
                report.to = engine.update.end_sealed();
                engine.count_outgoing(&mut report);
                engine.count_lost(&mut report);
            });
            host.transition_ended(&report);
            Ok(report)
        }
        Err(why) if matches!(from, MachineState::Prepared | MachineState::Frozen) => {
            Err(fail(host, Event::Freeze, why))
        }
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
    let done = prepare_all(host).and_then(|()| freeze_and_write(host));
    done.inspect_err(|_| uncarry(host))
}

/// Freezes everything and writes it for the next kernel; if that fails, nothing of an
/// update is left.
fn freeze_and_write<H: Lock>(host: &H) -> Result<(), Failure> {
    let frozen = freeze_all(host, Whose::All);
    let written = frozen.and_then(|()| Ok(host.now(|engine| engine.write_all())?));
    written.inspect_err(|_| {
        host.now(|engine| {
            engine.write_empty();
        });
        undo_all(host);
    })
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
