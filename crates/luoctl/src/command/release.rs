// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl release`

use luo_varlink::{Custody, Phase, SessionInfo};

use super::context::Context;
use super::dry;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::text::plain;

/// Releases a session that the agent holds for a workload that has left.
///
/// All that is in it is released, too, and cannot be had back. Takes root.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The session.
    session: String,
    /// Also one of the previous kernel that nobody has claimed and that luod knows nothing
    /// of: another program's; and one that luod has, and whose note is gone.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(context: &mut Context, args: &Args) -> Result {
    let name = plain(&args.session);
    if context.dry_run {
        return rehearse(context, args);
    }
    let mut admin = context.admin()?;
    match args.force {
        true => admin.release_by_force(&args.session)?,
        false => admin.release(&args.session)?,
    }
    context.done("release", &format!("session '{name}' is released"))
}

/// A dry run: it ends as the command would now.
fn rehearse(context: &mut Context, args: &Args) -> Result {
    let name = plain(&args.session);
    let sessions = context.admin()?.sessions()?;
    let status = context.status()?.get()?;
    let phases = [Phase::Normal, Phase::Updated];
    if !phases.contains(&status.phase) {
        return dry::step(context, "release", &phases);
    }
    let is_there = |owner: &String| {
        let mut workloads = status.workloads.iter();
        workloads.any(|workload| workload.name == *owner && workload.connected)
    };
    let may_go = |known: &SessionInfo| match &known.workload {
        Some(owner) => !is_there(owner),
        // Another program that has one has to give it up itself.
        None => args.force && known.custody != Custody::Shared,
    };
    let mut sessions = sessions.iter();
    let found = sessions.find(|known| known.name == args.session && may_go(known));
    let Some(found) = found else {
        let message = format!("there is no session '{name}' in the agent's custody");
        return Err(Failure::new(Exit::NotFound, "no-such-session", message)
            .next("`luoctl sessions` lists all"));
    };
    // Until the update is over the owner of what has come along is waited for.
    let is_awaited = found.workload.is_some() && found.incoming && found.left != Some(true);
    if is_awaited && status.phase == Phase::Updated {
        return dry::step(context, "release", &[Phase::Normal]);
    }
    let text = format!("session '{name}' would be released; nothing was done");
    context.done("release", &text)
}
