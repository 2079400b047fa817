// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl prepare`

use luo_varlink::Check;

use super::context::Context;
use super::vigil::Vigil;
use super::waiting::Waiting;
use super::{dry, target};
use crate::document::Prepared;
use crate::exit::Exit;
use crate::failure::Result;
use crate::holder;
use crate::interrupt::Cancels;
use crate::output::complain;

/// Checks, tries whether the kernel can be loaded, and asks all workloads to get ready.
///
/// It returns when all are ready, or when all is undone. They run on, and no kernel is loaded yet:
/// `luoctl freeze` loads it. ^C cancels. Takes root.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    target: target::Args,
}

pub(super) fn run(context: &mut Context, args: &Args) -> Result {
    let target = args.target.target()?;
    if context.dry_run {
        return dry::update(context, &target);
    }
    let mut admin = context.admin_awake()?;
    let cancels = Cancels::on_interrupt(&context.folder)?;
    let waiting = Waiting::begin(context);
    let vigil = Vigil::begin(context);
    let prepared = admin.prepare_and_warn(&target).map_err(holder::named)?;
    drop((waiting, vigil));
    cancels.settled("all are ready")?;
    let (update, warnings) = (prepared.update, prepared.warnings.unwrap_or_default());
    if context.json {
        context.out.document(&Prepared { update, warnings })?;
    } else {
        for Check {
            name,
            found,
            remedy,
            ..
        } in &warnings
        {
            complain(format_args!("luoctl: warning: {name}: {found}"));
            if let Some(remedy) = remedy {
                complain(format_args!("  {remedy}"));
            }
        }
        context.out.line(format_args!(
            "all are ready: update {update}; next `luoctl freeze`, or `luoctl cancel`"
        ))?;
    }
    Ok(Exit::Done)
}
