// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl release`

use luo_client::agent::Error;
use luo_preflight::system::System;
use luo_varlink::admin::Error as Refusal;
use luo_varlink::{Custody, Phase, SessionInfo, Status};

use super::context::Context;
use super::dry;
use super::vigil::Vigil;
use super::waiting::Waiting;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::complain;
use crate::text::plain;

/// Releases a session that the agent holds for a workload that has left, or all of a user.
///
/// All that is in it is released, too, and cannot be had back. Takes root.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The session.
    #[arg(required_unless_present = "user")]
    session: Option<String>,
    /// All sessions of a user whose workloads are not connected.
    #[arg(long, value_name = "UID", conflicts_with_all = ["session", "force"])]
    user: Option<u32>,
    /// Also one of the previous kernel that nobody has claimed and that luod knows nothing of:
    /// another program's; it comes before one that luod has of that name. And one that luod has,
    /// and whose note is gone.
    #[arg(long)]
    force: bool,
}

/// How things stand when luod was given up, and what to do then.
const LEFT: &str = "it has the call, and carries it out as soon as it goes on";
const NEXT: &str = "`luoctl sessions` says what there is still";

pub(super) fn run(context: &mut Context, args: &Args) -> Result {
    match (&args.session, args.user) {
        (Some(session), _) => one(context, session, args.force),
        (None, Some(user)) => all_of(context, user),
        // The definition of the command line lets nobody do this.
        (None, None) => Ok(Exit::Usage),
    }
}

fn one(context: &mut Context, session: &str, force: bool) -> Result {
    if context.dry_run {
        return rehearse(context, session, force);
    }
    let mut admin = context.admin_awake()?;
    let waiting = Waiting::begin(context);
    let vigil = Vigil::with_end(context, &admin);
    let released = match force {
        true => admin.release_by_force(session),
        false => admin.release(session),
    };
    drop(waiting);
    if let Err(Error::Refused(Refusal::NoSuchSession { .. })) = &released
        && let Some(held) = held_by_others(&admin.sessions()?, session)
    {
        return Err(held);
    }
    vigil.outcome(released, LEFT, NEXT)?;
    drop(vigil);
    let name = plain(session);
    context.done("release", &format!("session '{name}' is released"))
}

/// Whether the workload of a session is not connected.
fn is_away(status: &Status, owner: &str) -> bool {
    let mut workloads = status.workloads.iter();
    !workloads.any(|workload| workload.name == owner && workload.connected)
}

/// Releases what a user has left. One that cannot be released keeps no other.
fn all_of(context: &mut Context, user: u32) -> Result {
    let mut admin = context.admin_awake()?;
    let _waiting = Waiting::begin(context);
    let vigil = Vigil::with_end(context, &admin);
    let status = context.status()?.get()?;
    let sessions = admin.sessions()?;
    let left = sessions.iter().filter(|known| {
        let owner = known.workload.as_deref();
        let is_its = known
            .identity
            .as_ref()
            .is_some_and(|owner| owner.uid == user);
        is_its && owner.is_some_and(|owner| is_away(&status, owner))
    });
    let left: Vec<_> = left.map(|known| known.name.clone()).collect();
    let whose = format!("sessions of user {user}");
    if left.is_empty() {
        let message = format!("there are no {whose} in the agent's custody");
        return Err(Failure::new(Exit::NotFound, "no-such-session", message)
            .next("`luoctl sessions` lists all"));
    }
    let count = left.len();
    if context.dry_run {
        let text = format!("{count} {whose} would be released; nothing was done");
        return context.done("release", &text);
    }
    let mut released: usize = 0;
    let mut first = None;
    for name in &left {
        match admin.release(name) {
            Ok(()) => released += 1,
            // There is nobody to be asked for the others.
            gone @ Err(Error::AgentGone) => {
                vigil.outcome(gone, LEFT, NEXT)?;
            }
            // It has gone, or its workload has come, since the list was made.
            Err(Error::Refused(Refusal::NoSuchSession { .. })) => {}
            Err(why) => {
                complain(format_args!(
                    "luoctl: session '{}': {}",
                    plain(name),
                    plain(&why.to_string())
                ));
                first.get_or_insert_with(|| Failure::from(why));
            }
        }
    }
    match first {
        Some(why) => Err(why),
        None => context.done("release", &format!("{released} {whose} are released")),
    }
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
fn rehearse(context: &mut Context, session: &str, force: bool) -> Result {
    let name = plain(session);
    let sessions = context.asks(|| Ok(context.admin()?.sessions()?))?;
    let status = context.asks(|| Ok(context.status()?.get()?))?;
    let phases = [Phase::Normal, Phase::Updated];
    if !phases.contains(&status.phase) {
        return dry::step(context, "release", &phases);
    }
    let may_go = |known: &SessionInfo| match &known.workload {
        Some(owner) => is_away(&status, owner),
        // Another program that has one has to give it up itself.
        None => force && known.custody != Custody::Shared,
    };
    let named = || sessions.iter().filter(|known| known.name == session);
    let foreign = named().find(|known| {
        force && known.incoming && known.workload.is_none() && known.custody == Custody::Kernel
    });
    let found = foreign.or_else(|| named().find(|known| may_go(known)));
    let Some(found) = found else {
        if let Some(held) = held_by_others(&sessions, session) {
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
