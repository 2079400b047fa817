// SPDX-License-Identifier: MIT OR Apache-2.0
//! What comes of an update whose luod is lost when the machine was about to jump. It may be
//! the jump that has ended luod, or something else: then a luod that is started again undoes
//! the update, and says so.

use std::time::{Duration, Instant};

use luo_client::agent::Status;
use luo_varlink::{HistoryEntry, Outcome, Phase};

use super::context::Context;
use crate::document::{Jumping, Line};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::interrupt::Cancels;
use crate::text::plain;

/// How long luod is looked for. systemd and `luod supervise` start it again within a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often.
const EACH: Duration = Duration::from_millis(200);

/// What has become of it.
enum Fate {
    /// Nobody is there to be asked: nearly always because the machine is on its way.
    Probable,
    /// A luod says that the machine is on its way.
    Sure,
    /// A luod says that it is over.
    Over(Box<HistoryEntry>),
}

/// Ends a command whose connection was lost as the machine was about to jump.
pub(super) fn tell(context: &mut Context, cancels: &Cancels, update: Option<String>) -> Result {
    let fate = look(context, update.as_deref());
    if let Fate::Over(entry) = &fate {
        return over(context, entry);
    }
    cancels.tell_of_the_jump();
    let probably = matches!(fate, Fate::Probable);
    if context.json {
        context
            .out
            .record(&Line::Jumping(Jumping { update, probably }))?;
        return Ok(Exit::Done);
    }
    context.out.line(match probably {
        true => {
            "luod is gone, so the machine probably jumps; `luoctl history` tells more when it is \
             up again"
        }
        false => "the machine jumps; `luoctl history` tells more when it is up again",
    })?;
    Ok(Exit::Done)
}

/// Looks for a luod that knows, for some seconds.
fn look(context: &Context, update: Option<&str>) -> Fate {
    let begun = Instant::now();
    loop {
        if let Some(fate) = ask(context, update) {
            return fate;
        }
        if begun.elapsed() >= PATIENCE {
            return Fate::Probable;
        }
        std::thread::sleep(EACH);
    }
}

/// Asks the luod that is there, if one is.
fn ask(context: &Context, update: Option<&str>) -> Option<Fate> {
    let mut luod = Status::connect_within(&context.folder, PATIENCE).ok()?;
    luod.set_timeout(Some(PATIENCE));
    let status = luod.get().ok()?;
    if status.phase == Phase::Jumping {
        return Some(Fate::Sure);
    }
    let updates = luod.past(10).ok()?.updates;
    let is_it = |entry: &HistoryEntry| update.is_none_or(|update| entry.update == update);
    let entry = updates.into_iter().find(is_it)?;
    // One that is being undone, or that luod has not come to yet, is asked for again.
    match (entry.outcome.is_over(), status.phase) {
        (true, _) => Some(Fate::Over(Box::new(entry))),
        (false, Phase::Updated) => Some(Fate::Sure),
        (false, _) => None,
    }
}

/// The update is over.
fn over(context: &mut Context, entry: &HistoryEntry) -> Result {
    let exit = match entry.outcome {
        Outcome::Cancelled | Outcome::Refused => Exit::Refused,
        Outcome::Lost => Exit::Damaged,
        Outcome::Completed | Outcome::Incomplete | Outcome::Unfrozen | Outcome::UnderWay => {
            if context.json {
                let (update, probably) = (Some(entry.update.clone()), false);
                let jumping = Jumping { update, probably };
                context.out.record(&Line::Jumping(jumping))?;
            } else {
                let text = "the machine has jumped; `luoctl history last` tells more";
                context.out.line(text)?;
            }
            return Ok(Exit::Done);
        }
    };
    let reason = entry.reason.as_deref().unwrap_or("nobody knows why");
    let message = format!("the update is {}: {}", entry.outcome.word(), plain(reason));
    Err(Failure::new(exit, entry.outcome.word(), message)
        .next("`luoctl history last` says how far it was"))
}
