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

/// Lists all sessions that the agent and the kernel know.
///
/// Those of the running kernel and those of the last, also those of programs that do not take
/// part by the agent. Of one that its workload does not have it says whom it waits for, or who
/// has left it: it is given to nobody else. Takes root.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {}

pub(super) fn run(context: &mut Context, _: &Args) -> Result {
    let sessions = context.asks(|| Ok(context.admin()?.sessions()?))?;
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
        let of_user = || user(&session.name).map(|user| format!("(user {user})"));
        table.row([
            session.name.clone(),
            session
                .workload
                .clone()
                .or_else(of_user)
                .unwrap_or_else(unknown),
            held_by(session),
            from(session).to_owned(),
            session
                .files
                .map_or_else(unknown, |files| files.to_string()),
            session.bytes.map_or_else(unknown, bytes),
        ]);
    }
    table.render(paint)
}

/// The user that a session is known to be of by its name, as the kernel lists it.
fn user(name: &str) -> Option<u32> {
    let (user, _) = name.strip_prefix("uid:")?.split_once(':')?;
    user.parse().ok()
}

/// Who has a session, and, if its workload has not, who that is.
pub(super) fn held_by(session: &SessionInfo) -> String {
    let holder = match (session.custody, &session.workload) {
        (Custody::Shared, Some(_)) => return "workload".to_owned(),
        (Custody::Shared, None) => return "a program".to_owned(),
        (Custody::Agent, _) => "agent",
        (Custody::Kernel, _) => "kernel",
    };
    let how = match session.left {
        Some(true) => "left by",
        _ => "for",
    };
    let identity = session.identity.as_ref();
    identity.map_or_else(
        || holder.to_owned(),
        |identity| format!("{holder}, {how} {identity}"),
    )
}

pub(super) fn from(session: &SessionInfo) -> &'static str {
    if session.incoming {
        "previous kernel"
    } else {
        "this kernel"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_session_is_told_as_such() {
        assert_eq!(user("uid:1000:vm"), Some(1000));
        for other in ["vm", "uid:", "uid:x:vm", "uid:1000"] {
            assert_eq!(user(other), None, "{other}");
        }
        let session = SessionInfo {
            name: "uid:1000:vm".to_owned(),
            workload: None,
            custody: Custody::Kernel,
            incoming: true,
            files: None,
            bytes: None,
            identity: None,
            left: None,
        };
        let table = table(&[session], Paint::default());
        assert!(table.contains("(user 1000)"), "{table}");
    }
}
