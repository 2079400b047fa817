// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl sessions`

use luo_varlink::{Custody, SessionInfo};

use super::context::Context;
use crate::document::Sessions;
use crate::exit::Exit;
use crate::failure::Result;
use crate::output::Paint;
use crate::table::Table;
use crate::text::bytes;

/// Lists all sessions that the agent and the kernel know. Takes root.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {}

pub(super) fn run(context: &mut Context, _: &Args) -> Result {
    let sessions = context.admin()?.sessions()?;
    if context.json {
        context.out.document(&Sessions { sessions })?;
    } else {
        let text = table(&sessions, context.out.paint);
        context.out.text(&text)?;
    }
    Ok(Exit::Done)
}

pub(super) fn table(sessions: &[SessionInfo], paint: Paint) -> String {
    if sessions.is_empty() {
        return "there is no session\n".to_owned();
    }
    let head = ["SESSION", "WORKLOAD", "HELD BY", "FROM", ">FILES", ">BYTES"];
    let mut table = Table::new(&head);
    for session in sessions {
        let unknown = || "-".to_owned();
        table.row([
            session.name.clone(),
            session.workload.clone().unwrap_or_else(unknown),
            held_by(session).to_owned(),
            from(session).to_owned(),
            session
                .files
                .map_or_else(unknown, |files| files.to_string()),
            session.bytes.map_or_else(unknown, bytes),
        ]);
    }
    table.render(paint)
}

pub(super) fn held_by(session: &SessionInfo) -> &'static str {
    match (session.custody, &session.workload) {
        (Custody::Shared, Some(_)) => "workload",
        (Custody::Shared, None) => "a program",
        (Custody::Agent, _) => "agent",
        (Custody::Kernel, _) => "kernel",
    }
}

pub(super) fn from(session: &SessionInfo) -> &'static str {
    if session.incoming {
        "previous kernel"
    } else {
        "this kernel"
    }
}
