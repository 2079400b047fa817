// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The engine's part of the reboot system call, before a kexec.
//!
//! | in the state | this is done |
//! |---|---|
//! | NORMAL | prepare and freeze |
//! | PREPARED | freeze |
//! | FROZEN | what was frozen with all others is unfrozen, and all is frozen |
//! | UPDATED | sessions that nobody has claimed are carried on; prepare and freeze |

use luo_abi::rfc::{Event, State};

use crate::engine::outgoing::Whose;
use crate::failure::Failure;
use crate::lock::Lock;
use crate::losses::Losses;
use crate::update::carry::{carry, uncarry, Unclaimed};
use crate::update::end::end_if_all_finished;
use crate::update::event::{close_orphans, fail};
use crate::update::files::unfreeze_files;
use crate::update::freeze::{freeze_all, Asked};
use crate::update::image::{Image, Legacy};
use crate::update::loss::{lose_what_is_in_hands, regain, tell_the_rest, trim_lost, Obstacle};
use crate::update::transition::{begin_reboot, prepare_all, undo_all, unfreeze_all};
use crate::update::Report;

/// The administrator's choices about a reboot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The fate of the reboot when something cannot go.
    pub obstacle: Obstacle,
    /// Whether sessions that nobody has claimed can be such an obstacle.
    pub unclaimed: Unclaimed,
    /// The fate of the reboot when the image takes nothing over.
    pub legacy: Legacy,
}

/// Gets everything ready for the next kernel, which is in `image`. What cannot go is lost
/// alone, and the host is told of each, or fails the reboot.
///
/// # Errors
/// [`Failure`]: the kexec does not take place; the state is the one it was in, or
/// NORMAL if it was PREPARED or FROZEN, with everything usable. EAGAIN if the caller was
/// killed while it waited for a transition, [`crate::Error::Busy`] if it waited in vain for
/// another transition, or, with [`Obstacle::Vetoes`], for a call on a session of the
/// administrator's.
/// [`Failure::Image`]: the state is the one it was in, and nobody was asked. With
/// [`Obstacle::IsLost`] a file or a subsystem that cannot go is no error, nor is what a call
/// that does not end has in its hands.
pub fn reboot<H: Lock>(host: &H, policy: Policy, image: Image) -> Result<Report, Failure> {
    // The last session may have been finished while the reboot waited.
    let from = begin_reboot(host, policy.obstacle).inspect_err(|_| end_if_all_finished(host))?;
    policy
        .legacy
        .decide(host, image)
        .inspect_err(|why| refuse(host, from, why))?;
    let mut report = Report::new(None, from);
    let done = match from {
        State::Frozen | State::Prepared => {
            // Programs may have changed files since they were frozen: all are frozen once more, and
            // that is handed over. Who has had its session frozen before the others is done with it.
            unfreeze_files(host, Whose::FrozenTogether);
            regain(host);
            lose_what_is_in_hands(host);
            freeze_and_write(host, policy.obstacle).inspect_err(|_| uncarry(host))
        }
        State::Normal | State::Updated => get_all_ready(host, policy, &mut report),
    };
    tell_the_rest(host);
    match done {
        Ok(()) => {
            host.now(|engine| {
                report.to = engine.update.end_sealed();
                engine.count_outgoing(&mut report);
                engine.count_left(&mut report);
                report.losses = engine.losses;
            });
            host.transition_ended(&report);
            Ok(report)
        }
        Err(why) if matches!(from, State::Prepared | State::Frozen) => {
            Err(fail(host, Event::Freeze, why))
        }
        Err(why) => {
            // Also what was frozen before the others, and what calls have in their hands: everything
            // is to be usable again.
            unfreeze_all(host);
            regain(host);
            let state = host.now(|engine| engine.update.fail(None, why));
            host.transition_failed(None, state, &why);
            close_orphans(host);
            Err(why)
        }
    }
}

/// Ends a reboot for which nothing was done.
fn refuse<H: Lock>(host: &H, state: State, why: &Failure) {
    host.now(|engine| engine.update.refuse(None, *why));
    host.transition_failed(None, state, why);
    // The last session may have been finished while the reboot waited.
    end_if_all_finished(host);
}

fn get_all_ready<H: Lock>(host: &H, policy: Policy, report: &mut Report) -> Result<(), Failure> {
    host.now(|engine| {
        engine.losses = Losses::NONE;
        engine.ready()
    })?;
    lose_what_is_in_hands(host);
    let of_carried = match policy.unclaimed {
        Unclaimed::Carry => policy.obstacle,
        Unclaimed::Discard => Obstacle::IsLost,
    };
    carry(host, of_carried, report)?;
    let done = prepare_all(host, policy.obstacle);
    let done = done.and_then(|()| freeze_and_write(host, policy.obstacle));
    done.inspect_err(|_| uncarry(host))
}

/// Freezes everything and writes it for the next kernel; if that fails, nothing of an
/// update is left.
fn freeze_and_write<H: Lock>(host: &H, obstacle: Obstacle) -> Result<(), Failure> {
    let frozen = freeze_all(host, Asked::ByReboot(obstacle));
    let written = frozen.and_then(|()| {
        trim_lost(host);
        Ok(host.now(|engine| {
            engine.losses.unread = engine.leaves_unread();
            engine.losses.sessions = engine.count_lost_sessions();
            engine.write_all()
        })?)
    });
    written.inspect_err(|_| {
        host.now(|engine| {
            engine.write_empty();
        });
        undo_all(host);
    })
}
