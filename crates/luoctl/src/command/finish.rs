// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl finish`

use luo_varlink::{Custody, Phase};

use super::context::Context;
use super::dry;
use crate::document::Finished;
use crate::exit::Exit;
use crate::failure::Result;
use crate::text::list;

/// After the jump: ends the update before its deadline. Sessions that nobody has
/// claimed are an obstacle, unless they are to be released. Takes root.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Releases sessions that nobody has claimed, with all that is in them.
    #[arg(long)]
    release: bool,
}

pub(super) fn run(context: &mut Context, args: &Args) -> Result {
    if context.dry_run {
        return rehearse(context);
    }
    let released = context.admin()?.finish(args.release)?;
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

fn rehearse(context: &mut Context) -> Result {
    let sessions = context.admin()?.sessions()?.into_iter();
    let waiting = sessions.filter(|known| known.incoming && known.custody != Custody::Shared);
    let waiting: Vec<_> = waiting.map(|known| known.name).collect();
    if !waiting.is_empty() && !context.json {
        context.out.line(format_args!(
            "unclaimed, and released by --release only: {}",
            list(&waiting)
        ))?;
    }
    dry::step(context, "finish", &[Phase::Updated])
}
