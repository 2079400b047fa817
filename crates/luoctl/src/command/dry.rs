// SPDX-License-Identifier: MIT OR Apache-2.0
//! Dry runs: they say what a command would do, and change nothing.

use luo_varlink::{Phase, Status, Step, Target, admin};

use super::context::Context;
use super::{check, plan};
use crate::document::Checked;
use crate::exit::Exit;
use crate::failure::{Failure, Refusal, Result, due};
use crate::text::list;

/// A dry run of prepare and update: what a check finds, and the plan.
pub(super) fn update(context: &mut Context, target: &Target) -> Result {
    let mut admin = context.admin_awake()?;
    let status = context.asks(|| Ok(context.status()?.get()?))?;
    let report = check::ask(context, &mut admin, target)?;
    let plan = context.asks(|| Ok(admin.plan()?))?;
    let exit = match (check::verdict(&report), plan::verdict(&plan)) {
        (Exit::Done, Exit::Done) => Exit::Done,
        _ => Exit::Refused,
    };
    let paint = context.out.paint;
    if context.json {
        context.out.document(&Checked {
            report,
            plan: Some(plan),
        })?;
    } else {
        let text = format!(
            "{}\n{}",
            check::render(&report, paint),
            plan::render(&plan, paint)
        );
        context.out.text(&text)?;
    }
    if status.phase != Phase::Normal {
        return Err(impossible("an update", &status));
    }
    Ok(exit)
}

/// A dry run of a step that is possible in some phases only.
pub(super) fn step(context: &mut Context, command: &str, phases: &[Phase]) -> Result {
    let status = context.asks(|| Ok(context.status()?.get()?))?;
    let phase = status.phase;
    // Connecting as an administrator checks that this user is allowed to.
    let mut admin = context.asks(|| context.admin())?;
    if !phases.contains(&phase) {
        return Err(impossible(command, &status));
    }
    let asked = match command {
        "freeze" => {
            let steps = context.asks(|| Ok(admin.plan()?))?.steps.into_iter();
            let steps = steps.filter(|step| step.step == Step::Freeze);
            let steps: Vec<_> = steps.map(|step| list(&step.workloads)).collect();
            format!("; it would ask {}", steps.join(", then "))
        }
        _ => String::new(),
    };
    let text = format!("{command} is possible while {phase}{asked}; nothing was done");
    context.done(command, &text)
}

fn impossible(what: &str, status: &Status) -> Failure {
    let phase = status.phase;
    if let Some(reason) = status.unreadable.clone() {
        // What to do is what there is to be done about that.
        let why = admin::Error::Unreadable { reason };
        let message = format!("{what} is not possible while {phase}: {why}");
        let (exit, kind, next) = why.told();
        return Failure::new(exit, kind, message).next(next.unwrap_or_default());
    }
    let message = format!("{what} is not possible while {phase}");
    Failure::new(Exit::Refused, "illegal", message).next(due(what, phase))
}
