// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl inspect`

use luo_varlink::{SessionInfo, Status};

use super::context::Context;
use super::{sessions, status};
use crate::document::{Inspected, Inspection};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::{Paint, Tone};
use crate::text::{bytes, list, plain};

/// Shows everything about a session or a workload, or about all.
///
/// Who it is, what it needs, how it stands, and the files of each session with their sizes, where
/// the kernel tells of them. Takes root.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// A session or a workload; both, if both have that name.
    #[arg(value_name = "SESSION|WORKLOAD")]
    name: Option<String>,
}

pub(super) fn run(context: &mut Context, args: &Args) -> Result {
    let all_sessions = context.asks(|| Ok(context.admin()?.sessions()?))?;
    let status = context.asks(|| Ok(context.status()?.get()?))?;
    let found = select(status, all_sessions, args.name.as_deref());
    if let Some(name) = &args.name
        && found.workloads.is_empty()
        && found.sessions.is_empty()
    {
        let message = format!("there is no session and no workload '{}'", plain(name));
        return Err(Failure::new(Exit::NotFound, "not-found", message)
            .next("`luoctl status` lists workloads, `luoctl sessions` sessions"));
    }
    if context.json {
        context.out.document(&found)?;
    } else {
        let text = render(&found, context.out.paint);
        context.out.text(&text)?;
    }
    Ok(Exit::Done)
}

fn select(status: Status, sessions: Vec<SessionInfo>, name: Option<&str>) -> Inspected {
    let is_wanted = |found: &str| name.is_none_or(|name| name == found);
    let inspection = |workload: &luo_varlink::Workload| Inspection {
        workload: workload.clone(),
        needed_by: status
            .workloads
            .iter()
            .filter(|other| other.needs.contains(&workload.name))
            .map(|other| other.name.clone())
            .collect(),
    };
    let workloads = status.workloads.iter();
    let workloads = workloads.filter(|workload| is_wanted(&workload.name));
    let workloads = workloads.map(inspection).collect();
    let sessions = sessions.into_iter();
    Inspected {
        workloads,
        sessions: sessions
            .filter(|session| is_wanted(&session.name))
            .collect(),
        agent: name.is_none().then(|| Status {
            workloads: Vec::new(),
            ..status
        }),
    }
}

fn render(found: &Inspected, paint: Paint) -> String {
    let mut parts = Vec::new();
    if let Some(agent) = &found.agent {
        parts.push(status::head(agent, paint));
    }
    parts.extend(found.workloads.iter().map(|found| workload(found, paint)));
    parts.extend(found.sessions.iter().map(|found| session(found, paint)));
    parts.join("\n")
}

fn workload(found: &Inspection, paint: Paint) -> String {
    let workload = &found.workload;
    let head = format!("workload {}", plain(&workload.name));
    let state = paint.tone(status::tone(workload.state), workload.state);
    let connected = if workload.connected { "yes" } else { "no" };
    let about = workload.about.as_deref();
    let about = about.map_or_else(String::new, |about| {
        format!("  about      {}\n", plain(about))
    });
    format!(
        "{}\n  state      {state}\n  connected  {connected}\n  identity   {}\n  needs      {}\n  \
         needed by  {}\n  sessions   {}\n{about}",
        paint.tone(Tone::Head, head),
        plain(&workload.identity.to_string()),
        list(&workload.needs),
        list(&found.needed_by),
        list(&workload.sessions),
    )
}

fn session(session: &SessionInfo, paint: Paint) -> String {
    let head = format!("session {}", plain(&session.name));
    let unknown = || "the kernel does not tell".to_owned();
    format!(
        "{}\n  workload   {}\n  held by    {}\n  from       {}\n  files      {}\n  memory     {}\n",
        paint.tone(Tone::Head, head),
        session
            .workload
            .as_deref()
            .map_or_else(|| "unknown to the agent".to_owned(), plain),
        plain(&sessions::held_by(session)),
        sessions::from(session),
        session
            .files
            .map_or_else(unknown, |files| files.to_string()),
        session.bytes.map_or_else(unknown, bytes),
    )
}
