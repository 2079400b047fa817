// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luoctl hold` and `luoctl take`: sessions for scripts, and for programs that run once.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use luo_client::agent::{self, Agent, EventKind, Workload};
use luo_client::{Session, SessionName};
use luo_varlink::client::Error as Refusal;

use super::context::Context;
use super::passed_on::PassedOn;
use super::waiting::Waiting;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::complain;
use crate::text::plain;

/// How often it is looked whether the command has ended, while luod is listened to.
const EACH: Duration = Duration::from_millis(50);

/// How long one attempt takes to connect to luod again while the command runs.
const ATTEMPT: Duration = Duration::from_secs(2);

/// How long luod may be gone, or an update take to be undone, when the command has ended.
const BACK: Duration = Duration::from_secs(60);

/// Makes a session for a command, and leaves it with luod.
///
/// The command has the session as its standard input; it is left when the command has succeeded,
/// and dropped if it has failed. ^C and the signals INT, TERM, HUP and QUIT are for the command:
/// luoctl waits for its end. The session goes through each update that comes, until
/// `luoctl take` or `luoctl release`; until then there is no other one of its name. luod may be
/// started again meanwhile. Takes the right to the name, as for any workload.
#[derive(clap::Args, Clone, Debug)]
pub struct Hold {
    /// The name of the workload and of its session.
    name: String,
    /// The command, which preserves files in the session.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Takes a session back that was left with luod, for a command.
///
/// The command has the session as its standard input. When it has succeeded, the session is over;
/// else it is kept, also if luoctl itself is killed. ^C and the signals INT, TERM, HUP and QUIT are
/// for the command: luoctl waits for its end.
///
/// Nobody sees whether the command has retrieved anything. If it succeeds without, what is in the
/// session is lost: so a script has to fail where one of its steps does (`set -e`).
#[derive(clap::Args, Clone, Debug)]
pub struct Take {
    /// The name of the workload and of its session.
    name: String,
    /// The command, which retrieves the files of the session.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

pub(super) fn hold(context: &mut Context, args: &Hold) -> Result {
    let name = session_name(&args.name)?;
    if context.dry_run {
        let text = format!("session '{name}' would be made; nothing was done");
        return context.done("hold", &text);
    }
    let mut workload = register(context, &args.name)?;
    if workload.registered().claimable.contains(&args.name) {
        return Err(already_left(&name));
    }
    let session = patiently(context, || workload.create_session(&name));
    let session = session.map_err(|why| not_made(&name, why))?;
    let ended = run(&mut workload, &args.command, &session);
    drop(session);
    if let Err(why) = ended {
        // A session that is dropped with its workload is dropped all the same.
        let _ = workload.drop_session(&name);
        return Err(why.next("nothing is left with luod"));
    }
    let command = &args.command;
    patiently(context, || {
        surely(&mut workload, command, |workload| {
            between_updates(workload, command, Workload::detach)
        })
    })?;
    context.done("hold", &format!("session '{name}' is left with luod"))
}

pub(super) fn take(context: &mut Context, args: &Take) -> Result {
    let name = session_name(&args.name)?;
    if context.dry_run {
        let text = format!("session '{name}' would be taken back; nothing was done");
        return context.done("take", &text);
    }
    let mut workload = register(context, &args.name)?;
    let claim = patiently(context, || workload.claim(&name))?;
    let ended = run(&mut workload, &args.command, &claim.session);
    drop(claim.session);
    let command = &args.command;
    if let Err(why) = ended {
        // luod keeps it until somebody says that it is over.
        return Err(why.next(kept(&name, claim.incoming)));
    }
    patiently(context, || {
        if claim.incoming {
            surely(&mut workload, command, Workload::restored)?;
            surely(&mut workload, command, |workload| {
                between_updates(workload, command, |workload| workload.finish_session(&name))
            })
        } else {
            surely(&mut workload, command, |workload| {
                between_updates(workload, command, |workload| workload.drop_session(&name))
            })
        }
    })?;
    context.done("take", &format!("session '{name}' is taken back, and over"))
}

/// What to do about a session whose command has failed. No kernel carries on what was taken from it.
fn kept(name: &SessionName, incoming: bool) -> String {
    let kept = format!("session '{name}' is kept: take it once more, or `luoctl release {name}`");
    match incoming {
        true => format!("{kept}; no update begins before that"),
        false => kept,
    }
}

/// It was left once, and not taken since; or its workload is gone, and is waited for.
fn already_left(name: &SessionName) -> Failure {
    let message = format!("session '{name}' is with luod already; nothing was done");
    Failure::new(Exit::Refused, "session-exists", message).next(format!(
        "`luoctl take {name} -- COMMAND` takes it back, `luoctl release {name}` gives it up with all \
         that is in it"
    ))
}

/// Why a session could not be made: that another program has it is no fault of the kernel's.
fn not_made(name: &SessionName, why: agent::Error<Refusal>) -> Failure {
    let is_there = matches!(
        &why,
        agent::Error::Refused(Refusal::Kernel { errno, .. })
            if *errno == rustix::io::Errno::EXIST.raw_os_error()
    );
    match is_there {
        true => {
            let message = format!("there is a session '{name}' already; nothing was done");
            Failure::new(Exit::Refused, "session-exists", message)
                .next("`luoctl sessions` says whose it is; another name will do")
        }
        false => why.into(),
    }
}

fn session_name(name: &str) -> Result<SessionName> {
    SessionName::new(name).map_err(|why| {
        let message = format!("'{}' is no session's name: {why}", plain(name));
        Failure::new(Exit::Usage, "bad-name", message)
    })
}

/// Waits for luod, and says what that waits for in turn. Not while the command runs, whose output
/// is its own.
fn patiently<T>(context: &Context, call: impl FnOnce() -> T) -> T {
    let _waiting = Waiting::begin(context);
    call()
}

fn register(context: &Context, name: &str) -> Result<Workload> {
    let _impatience = context.impatient();
    let mut agent = Agent::connect_within(&context.folder, context.timeout)?;
    agent.set_timeout(Some(context.timeout));
    Ok(agent.register(name, &[])?)
}

/// Runs a command to its end. An update that comes meanwhile is refused: what the command
/// preserves is not whole yet. A luod that is gone is waited for while the command runs on.
fn run(workload: &mut Workload, command: &[String], session: &Session) -> Result<()> {
    let mut signals = PassedOn::begin()?;
    let mut child = start(command, session)?;
    let mut is_gone = false;
    let mut is_told = false;
    loop {
        let ended = child.try_wait().map_err(|why| failed(command, &why))?;
        match ended {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(failed(command, &status)),
            None => signals.pass_on(&child),
        }
        if is_gone {
            match workload.reconnect(ATTEMPT) {
                Ok(_) => is_gone = false,
                // The command is not left alone: it is waited for, and then luod once more.
                Err(_) => std::thread::sleep(EACH),
            }
        } else if let Err(why) = refuse_updates(workload, command) {
            is_gone = true;
            if !std::mem::replace(&mut is_told, true) {
                let word = first(command);
                complain(format_args!(
                    "luoctl: {why}; '{word}' runs on, and luod is connected to again"
                ));
            }
        }
    }
}

/// Refuses an update, if one comes in a while.
fn refuse_updates(workload: &mut Workload, command: &[String]) -> agent::Result<()> {
    let event = workload.next_event_within(EACH)?;
    let Some(event) = event.filter(|event| event.kind != EventKind::Cancel) else {
        return Ok(());
    };
    match workload.veto(&event, &reason(command)) {
        // The update is over by now.
        Err(agent::Error::Refused(Refusal::NotExpected { .. })) => Ok(()),
        answered => answered,
    }
}

/// Makes a call that no update allows. One that has begun in the moment of the command's end is
/// refused as those before, and its end is waited for.
fn between_updates(
    workload: &mut Workload,
    command: &[String],
    mut call: impl FnMut(&mut Workload) -> agent::Result<()>,
) -> agent::Result<()> {
    let begun = Instant::now();
    loop {
        match call(workload) {
            Err(agent::Error::Refused(
                Refusal::UpdateUnderWay { .. } | Refusal::NotExpected { .. },
            )) if begun.elapsed() < BACK => refuse_updates(workload, command)?,
            ended => return ended,
        }
    }
}

/// Makes a call when the command has ended. A luod that is gone may be back soon.
fn surely(
    workload: &mut Workload,
    command: &[String],
    mut call: impl FnMut(&mut Workload) -> agent::Result<()>,
) -> Result<()> {
    let lost = match call(workload) {
        Ok(()) => return Ok(()),
        Err(why @ (agent::Error::Refused(_) | agent::Error::Unknown { .. })) => {
            return Err(why.into());
        }
        Err(lost) => lost,
    };
    let word = first(command);
    complain(format_args!("luoctl: {lost}; luod is waited for"));
    let again = workload.reconnect(BACK).map(drop);
    again
        .and_then(|()| workload.surely(BACK, call))
        .map_err(|why| {
            let message = format!(
                "'{word}' has ended, and luod could not be told: {why}; nobody keeps its session \
             any more, unless luod has it from before"
            );
            Failure::new(Exit::Unavailable, "agent-gone", message).next(
                "`luoctl sessions` says what there is when luod is back; run the command again",
            )
        })
}

fn start(command: &[String], session: &Session) -> Result<Child> {
    let copy = session.try_clone().map_err(|why| failed(command, &why))?;
    let mut words = command.iter();
    Command::new(words.next().map_or("", String::as_str))
        .args(words)
        .stdin(Stdio::from(copy.into_fd()))
        .spawn()
        .map_err(|why| failed(command, &why))
}

/// Why an update is refused meanwhile. Everybody may read that, and arguments may be secrets.
fn reason(command: &[String]) -> String {
    format!("'{}' runs still", first(command))
}

/// The first word of a command: the others may be nobody's business.
fn first(command: &[String]) -> String {
    plain(command.first().map(String::as_str).unwrap_or_default())
}

fn failed(command: &[String], why: &dyn std::fmt::Display) -> Failure {
    let message = format!("{}: {why}", first(command));
    Failure::new(Exit::Refused, "command", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_from_the_previous_kernel_keeps_updates_from_beginning() {
        let name = SessionName::new("p").unwrap();
        let [incoming, ours] = [true, false].map(|incoming| kept(&name, incoming));
        for text in [&incoming, &ours] {
            assert!(
                text.starts_with("session 'p' is kept: take it once more"),
                "{text}"
            );
        }
        assert!(
            incoming.ends_with("no update begins before that"),
            "{incoming}"
        );
        assert!(!ours.contains("update"), "{ours}");
    }

    #[test]
    fn everybody_may_read_a_veto_and_it_has_no_secrets() {
        let command = ["curl", "-u", "user:secret", "http://a"].map(str::to_owned);
        assert_eq!(reason(&command), "'curl' runs still");
        assert!(!format!("{:?}", failed(&command, &"gone")).contains("secret"));
    }
}
