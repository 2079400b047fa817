// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl status`

use std::path::PathBuf;

use luo_varlink::{Orchestrator, Phase, Status, WorkloadState};

use super::context::Context;
use super::waiting::at_work;
use crate::exit::Exit;
use crate::failure::Result;
use crate::fleet::store;
use crate::output::{Paint, Tone};
use crate::table::Table;
use crate::text::{list, plain};

/// Shows where the agent is, and how the workloads stand.
///
/// It tells the phase, who is waited for and until when, and what the agent warns of; to root also
/// whether the machine has a slot of its fleet, and what stands in the way of giving it back.
/// Everybody may.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Luod's configuration, for the slot.
    #[arg(long, value_name = "FILE", default_value = luod::command::CONFIG)]
    config: PathBuf,
}

pub(super) fn run(context: &mut Context, args: &Args) -> Result {
    let status = context.asks(|| Ok(context.status()?.get()?))?;
    if context.json {
        context.out.document(&status)?;
    } else {
        let paint = context.out.paint;
        let mut text = head(&status, paint);
        if let Some(words) = store::words(&args.config) {
            text += &format!("{} {}\n", paint.tone(Tone::Warn, "fleet  "), plain(&words));
        }
        text.push('\n');
        text += &workloads(&status, paint);
        context.out.text(&text)?;
    }
    Ok(Exit::Done)
}

/// The facts of the whole machine.
pub(super) fn head(status: &Status, paint: Paint) -> String {
    let tone = match status.phase {
        Phase::Normal => Tone::Good,
        _ => Tone::Warn,
    };
    let mut text = format!("phase   {}", paint.tone(tone, status.phase));
    if let Some(update) = &status.update {
        text += &format!(", update {}", plain(update));
    }
    if let Some(work) = &status.work {
        text += &format!(", {}", at_work(work));
    }
    let release = plain(&status.kernel_release);
    text += &match (status.orchestrator, &status.kernel_state) {
        (Orchestrator::None, _) => format!(
            "\nkernel  {release}, {}",
            paint.tone(Tone::Bad, "without live update")
        ),
        (Orchestrator::Mainline, _) => {
            format!("\nkernel  {release}, with mainline's live update")
        }
        (Orchestrator::Contract, state) => {
            let state = state.as_deref().map_or_else(|| "unknown".to_owned(), plain);
            format!("\nkernel  {release}, with live update, {state}")
        }
    };
    text += &format!("\nagent   luod {}\n", plain(&status.version));
    for warning in status.warnings.iter().flatten() {
        text += &format!("{} {}\n", paint.tone(Tone::Warn, "warning"), plain(warning));
    }
    text
}

fn workloads(status: &Status, paint: Paint) -> String {
    if status.workloads.is_empty() {
        return "no workload is registered\n".to_owned();
    }
    let mut table = Table::new(&["WORKLOAD", "STATE", "NEEDS", "SESSIONS", "IDENTITY"]);
    for workload in &status.workloads {
        let mut state = workload.state.to_string();
        let is_away = matches!(
            workload.state,
            WorkloadState::Left | WorkloadState::Lost | WorkloadState::Waiting
        );
        if !workload.connected && !is_away {
            state += ", not connected";
        }
        if let Some(left_ms) = workload.left_ms {
            state += &format!(", {} s left", left_ms.div_ceil(1000));
        }
        table.row([
            (workload.name.clone(), Tone::Plain),
            (state, tone(workload.state)),
            (list(&workload.needs), Tone::Plain),
            (list(&workload.sessions), Tone::Plain),
            (workload.identity.to_string(), Tone::Plain),
        ]);
    }
    table.render(paint)
}

pub(super) fn tone(state: WorkloadState) -> Tone {
    match state {
        WorkloadState::Running | WorkloadState::Restored => Tone::Good,
        WorkloadState::Lost => Tone::Bad,
        _ => Tone::Warn,
    }
}
