// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl plan`

use luo_varlink::{Plan, Step};

use super::context::Context;
use crate::exit::Exit;
use crate::failure::Result;
use crate::output::{Paint, Tone};
use crate::text::{list, plain};

/// Shows in which order an update would ask, and what stands in the way.
///
/// Nothing is changed, and nobody is asked. Takes root.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {}

pub(super) fn run(context: &mut Context, _: &Args) -> Result {
    let plan = context.asks(|| Ok(context.admin()?.plan()?))?;
    if context.json {
        context.out.document(&plan)?;
    } else {
        let text = render(&plan, context.out.paint);
        context.out.text(&text)?;
    }
    Ok(verdict(&plan))
}

/// How a plan ends the command.
pub(super) fn verdict(plan: &Plan) -> Exit {
    if plan.obstacles.is_empty() {
        Exit::Done
    } else {
        Exit::Refused
    }
}

/// A plan as text.
pub(super) fn render(plan: &Plan, paint: Paint) -> String {
    if plan.steps.is_empty() && plan.obstacles.is_empty() {
        return "no workload takes part: an update would jump at once\n".to_owned();
    }
    let mut text = String::new();
    let mut number = 0;
    let mut line = |what: String| {
        number += 1;
        text += &format!("{number:>3}  {what}\n");
    };
    line("check, and try to load the kernel".to_owned());
    let mut is_prepared = false;
    for step in &plan.steps {
        if step.step == Step::Freeze && !is_prepared {
            is_prepared = true;
            line("the kernel prepares".to_owned());
            line("load the kernel to jump into".to_owned());
        }
        let workloads = list(&step.workloads);
        line(match step.step {
            Step::Prepare => format!("prepare {workloads}"),
            Step::Freeze => format!("freeze  {workloads}"),
        });
    }
    line("the kernel freezes, and the machine jumps".to_owned());
    for obstacle in &plan.obstacles {
        text += &format!("{}\n", paint.tone(Tone::Bad, plain(obstacle)));
    }
    text
}
