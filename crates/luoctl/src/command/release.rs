// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl release`

use luo_client::agent::Error;
use luo_preflight::system::System;
use luo_varlink::admin::Error as Refusal;
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
    /// One of the previous kernel that nobody has claimed and that luod knows nothing of:
    /// another program's. It comes before one that luod has of that name.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(context: &mut Context, args: &Args) -> Result {
    let name = plain(&args.session);
    if context.dry_run {
        return rehearse(context, args);
    }
    let mut admin = context.admin()?;
    let released = match args.force {
        true => admin.release_by_force(&args.session),
        false => admin.release(&args.session),
    };
    if let Err(why) = released {
        let is_unknown = matches!(&why, Error::Refused(Refusal::NoSuchSession { .. }));
        let held = match is_unknown {
            true => held_by_others(&admin.sessions()?, &args.session),
            false => None,
        };
        return Err(held.unwrap_or_else(|| why.into()));
    }
    context.done("release", &format!("session '{name}' is released"))
}

/// That a program has a session which is no workload, and which program that is.
fn held_by_others(sessions: &[SessionInfo], name: &str) -> Option<Failure> {
    let mut named = sessions.iter().filter(|known| known.name == name);
    named.find(|known| known.workload.is_none() && known.custody == Custody::Shared)?;
    let holders = System::default().holders_of_session(name);
    let by = match holders.as_slice() {
        [] => "a program".to_owned(),
        holders => holders.join(", "),
    };
    let message = format!(
        "session '{}' is held by {}, which is no workload of luod's",
        plain(name),
        plain(&by)
    );
    Some(Failure::new(Exit::Refused, "held", message).next(
        "end that program, and the session ends with its last descriptor; until then an update \
         takes it along",
    ))
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
    let may_go = |known: &SessionInfo| {
        let owner = known.workload.as_ref();
        owner.is_some_and(|owner| !is_there(owner))
    };
    let named = || sessions.iter().filter(|known| known.name == args.session);
    let foreign = named().find(|known| {
        args.force && known.incoming && known.workload.is_none() && known.custody == Custody::Kernel
    });
    let found = foreign.or_else(|| named().find(|known| may_go(known)));
    let Some(found) = found else {
        if let Some(held) = held_by_others(&sessions, &args.session) {
            return Err(held);
        }
        let message = format!("there is no session '{name}' in the agent's custody");
        return Err(Failure::new(Exit::NotFound, "no-such-session", message)
            .next("`luoctl sessions` lists all"));
    };
    // Until the update is over the owner of what has come along is waited for.
    let is_awaited = found.workload.is_some() && found.incoming && found.left != Some(true);
    if is_awaited && status.phase == Phase::Updated {
        return dry::step(context, "release", &[Phase::Normal]);
    }
    let which = match &found.workload {
        Some(_) => "",
        None => " of the previous kernel, whose owner luod does not know,",
    };
    let text = format!("session '{name}'{which} would be released; nothing was done");
    context.done("release", &text)
}
