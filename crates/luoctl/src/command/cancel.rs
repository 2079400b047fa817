// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl cancel`

use luo_varlink::Phase;

use super::context::Context;
use super::dry;
use super::vigil::Vigil;
use crate::failure::Result;

/// Ends an update before the jump. All workloads go on. It returns when all is undone.
/// Takes root.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Why, for the timeline and the workloads.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) fn run(context: &mut Context, args: &Args) -> Result {
    if context.dry_run {
        let phases = [
            Phase::Preparing,
            Phase::Prepared,
            Phase::Freezing,
            Phase::Frozen,
        ];
        return dry::step(context, "cancel", &phases);
    }
    let mut admin = {
        let _impatience = context.impatient();
        context.admin()?
    };
    let vigil = Vigil::with_end(context, &admin);
    // One that hangs is asked, too: it reads this before it jumps.
    let cancelled = admin.cancel(args.reason.as_deref());
    let left = "it has been asked to cancel, and does so as soon as it goes on, unless the \
                machine has jumped by then";
    let next = "`luoctl status` and `luoctl history` say what came of it";
    vigil.outcome(cancelled, left, next)?;
    context.done("cancel", "the update is off; all workloads go on")
}
