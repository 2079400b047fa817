// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl watch`

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;
use luo_varlink::Phase;

use super::context::Context;
use super::vigil::Vigil;
use super::waiting::Waiting;
use crate::document::Line;
use crate::exit::Exit;
use crate::failure::Result;
use crate::timeline::{self, Since};

/// Shows what happens, as it happens.
///
/// The first line says where the agent is. While workloads are waited for, before the jump or
/// after it, it is said for whom and how long still. It goes on until ^C, or until the phase that
/// `--until` names. Everybody may.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Ends when the agent is in this phase.
    #[arg(long, value_name = "PHASE", value_parser = phase_parser())]
    until: Option<Phase>,
}

fn phase_parser() -> impl TypedValueParser<Value = Phase> {
    let words = Phase::ALL.iter().map(|phase| phase.word());
    PossibleValuesParser::new(words).map(|word| {
        let known = Phase::ALL.iter().find(|phase| phase.word() == word);
        // The parser lets no other word pass.
        known.copied().unwrap_or(Phase::Normal)
    })
}

pub(super) fn run(context: &mut Context, args: &Args) -> Result {
    let impatience = context.impatient();
    let mut status = context.status()?;
    // The first line is there at once, unless luod hangs; the next comes when something happens.
    status.set_patience(Some(context.timeout));
    let mut lines = status.watch()?;
    let first = lines.next();
    drop(impatience);
    lines.set_patience(None);
    let waiting = Waiting::begin(context);
    let _vigil = Vigil::of_a_watch(context);
    for event in first.into_iter().chain(lines) {
        waiting.heard();
        let event = event?;
        let phase = event.phase;
        if context.json {
            context.out.record(&Line::Event(event))?;
        } else {
            let line = timeline::line(&event, Since::Clock, context.out.paint);
            context.out.line(line)?;
        }
        if args.until == Some(phase) {
            break;
        }
    }
    Ok(Exit::Done)
}
