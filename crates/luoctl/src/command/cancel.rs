// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl cancel`

use luo_client::agent::Error;
use luo_varlink::Phase;
use luo_varlink::admin::Error as Refusal;

use super::context::Context;
use super::dry;
use super::vigil::Vigil;
use super::waiting::Waiting;
use crate::exit::Exit;
use crate::failure::{Failure, Result};

/// Ends an update before the jump. All workloads go on.
///
/// It returns when all is undone. Takes root.
///
/// A kernel that is prepared or frozen, and not by this luod, stays so without `--force`: the
/// program that has it so may be about to jump.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Why, for the timeline and the workloads.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Also what another program has had the kernel prepare or freeze, or a luod that is gone.
    /// The kernel that is loaded for it is unloaded.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(context: &mut Context, args: &Args) -> Result {
    if context.dry_run {
        if args.force
            && let Some(state) = foreign(context)?
        {
            let text = format!("the kernel is {state}, and would cancel that; nothing was done");
            return context.done("cancel", &text);
        }
        let phases = [
            Phase::Preparing,
            Phase::Prepared,
            Phase::Freezing,
            Phase::Frozen,
        ];
        return dry::step(context, "cancel", &phases);
    }
    let reason = args.reason.as_deref();
    let mut admin = context.asks(|| context.admin())?;
    let waiting = Waiting::begin(context);
    let vigil = Vigil::with_end(context, &admin);
    // One that hangs is asked, too: it reads this before it jumps.
    let cancelled = match args.force {
        true => admin.cancel_by_force(reason),
        false => admin.cancel(reason),
    };
    drop(waiting);
    if let Err(Error::Refused(Refusal::Illegal { .. })) = &cancelled
        && let Some(state) = foreign(context)?
    {
        let message = format!("the kernel is {state}, and not by this luod");
        return Err(Failure::new(Exit::Refused, "foreign", message)
            .next("if no other program is about to jump: `luoctl cancel --force`"));
    }
    let left = "it has been asked to cancel, and does so as soon as it goes on, unless the \
                machine has jumped by then";
    let next = "`luoctl status` and `luoctl history` say what came of it";
    vigil.outcome(cancelled, left, next)?;
    context.done("cancel", "the update is off; all workloads go on")
}

/// The state of a kernel that is in an update that luod is not in.
fn foreign(context: &Context) -> Result<Option<String>> {
    let status = context.asks(|| Ok(context.status()?.get()?))?;
    let is_at_rest = matches!(status.phase, Phase::Normal | Phase::Updated);
    let state = status.kernel_state.filter(|_| is_at_rest);
    Ok(state.filter(|state| matches!(state.as_str(), "prepared" | "frozen")))
}
