// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl cancel`

use luo_varlink::Phase;

use super::context::Context;
use super::dry;
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
    context.admin()?.cancel(args.reason.as_deref())?;
    context.done("cancel", "the update is off; all workloads go on")
}
