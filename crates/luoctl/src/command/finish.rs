// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl finish`

use luo_client::agent::Error;
use luo_varlink::{Custody, Phase, SessionInfo, admin};

use super::context::Context;
use super::dry;
use super::vigil::Vigil;
use super::waiting::Waiting;
use crate::document::Finished;
use crate::exit::Exit;
use crate::failure::Result;
use crate::text::{list, plain};

/// After the jump: ends the update before its deadline.
///
/// Sessions that nobody has claimed are an obstacle, unless they are to be released. Takes root.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Releases sessions that nobody has claimed, with all that is in them.
    #[arg(long)]
    release: bool,
}

pub(super) fn run(context: &mut Context, args: &Args) -> Result {
    if context.dry_run {
        return rehearse(context, args.release);
    }
    let mut admin = context.admin_awake()?;
    let waiting = Waiting::begin(context);
    let vigil = Vigil::with_end(context, &admin);
    let finished = admin.finish(args.release);
    drop(waiting);
    let left = "it has the call, and carries it out as soon as it goes on";
    let next = "`luoctl status` says whether the update is over";
    let released = vigil.outcome(finished, left, next)?;
    drop(vigil);
    if context.json {
        context.out.document(&Finished { released })?;
    } else {
        let text = match released.as_slice() {
            [] => "the update is over".to_owned(),
            names => format!("the update is over; released: {}", list(names)),
        };
        context.out.line(text)?;
    }
    Ok(Exit::Done)
}

/// A dry run: the sessions that a finish would meet now.
fn rehearse(context: &mut Context, release: bool) -> Result {
    let unclaimed = unclaimed(context)?;
    let status = context.asks(|| Ok(context.status()?.get()?))?;
    let phase = status.phase;
    if let Some(reason) = status.unreadable {
        if !release {
            return Err(Error::Refused(admin::Error::Unreadable { reason }).into());
        }
        let text = format!(
            "the previous kernel's record cannot be read ({}), and would be given up: the sessions \
             stay in the kernel until `luoctl release --force` gives up each; nothing was done",
            plain(&reason)
        );
        return context.done("finish", &text);
    }
    if phase == Phase::Updated && !unclaimed.is_empty() && !release {
        let sessions = unclaimed;
        return Err(Error::Refused(admin::Error::Unclaimed { sessions }).into());
    }
    if !unclaimed.is_empty() && !context.json {
        let names = list(&unclaimed);
        context
            .out
            .line(format_args!("unclaimed, and would be released: {names}"))?;
    }
    dry::step(context, "finish", &[Phase::Updated])
}

/// Sessions of the previous kernel whose owners are not there, by name.
fn unclaimed(context: &Context) -> Result<Vec<String>> {
    let sessions = context
        .asks(|| Ok(context.admin()?.sessions()?))?
        .into_iter();
    let workloads = context.asks(|| Ok(context.status()?.get()?))?.workloads;
    let is_there = |name: &str| {
        let owner = workloads.iter().find(|workload| workload.name == name);
        owner.is_some_and(|owner| owner.connected)
    };
    let is_unclaimed = |session: &SessionInfo| {
        // The agent leaves sessions alone that belong to no workload.
        let owner = session.workload.as_deref();
        let is_held = session.custody != Custody::Kernel;
        // Nobody is expected to come for what was left.
        let is_waited_for = session.incoming && session.left != Some(true);
        is_waited_for && owner.is_some_and(|owner| !(is_held && is_there(owner)))
    };
    Ok(sessions
        .filter(is_unclaimed)
        .map(|session| session.name)
        .collect())
}
