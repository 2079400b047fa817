// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl release`

use luo_varlink::Custody;

use super::context::Context;
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
    /// of: another program's.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(context: &mut Context, args: &Args) -> Result {
    let name = plain(&args.session);
    let mut admin = context.admin()?;
    if context.dry_run {
        let sessions = admin.sessions()?;
        let is_held = |known: &luo_varlink::SessionInfo| {
            let is_foreign = known.workload.is_none() && known.custody == Custody::Kernel;
            let is_held = known.custody == Custody::Agent || args.force && is_foreign;
            known.name == args.session && is_held
        };
        if !sessions.iter().any(is_held) {
            let message = format!("there is no session '{name}' in the agent's custody");
            return Err(Failure::new(Exit::NotFound, "no-such-session", message)
                .next("`luoctl sessions` lists all"));
        }
        let text = format!("session '{name}' would be released; nothing was done");
        return context.done("release", &text);
    }
    match args.force {
        true => admin.release_by_force(&args.session)?,
        false => admin.release(&args.session)?,
    }
    context.done("release", &format!("session '{name}' is released"))
}
