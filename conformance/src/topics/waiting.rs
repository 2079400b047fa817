// SPDX-License-Identifier: MIT OR Apache-2.0
//! While a transition is under way: who is answered, who waits, and what for.
//!
//! The test driver holds one of its callbacks up, so that each case has all the
//! time it needs; nothing here depends on how long something takes.

mod hung;
mod killed;
mod line;
mod stage;
mod vain;

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::thread::{Scope, scope};

use anyhow::{Context as _, Result, ensure};
use luo_abi::{contract, rfc, uapi};
use luo_sys::{Device, Errno, FileStatus, Needed, Session, SessionState, State, Token, Which};

use self::hung::not_hung;
use self::killed::{
    killed, killed_calls, killed_first, killed_retrieve, leave_stuck, second, stopped,
};
use self::line::waits as in_line;
use self::stage::{FREEZE, PREPARE, Transition, ready};
use self::vain::{busy, impatient_wanted, of_a_user, twice};
use super::tools::{NO_EVENTS, NO_RFC, is_free, is_held, memory, session, state_is};
use crate::case::{Case, Context, alone, here, shared};
use crate::check::{device, name, refused, same};
use crate::child::send;
use crate::difference::{Differs, Expect, missing, simulated};
use crate::forge::{self, Hold, ODD, Subsystems};
use crate::look;
use crate::waiting::{Call, Caller};

pub(super) const CASES: &[Case] = &[
    here("prepare-keeps-no-query-waiting", |_| queries(PREPARE)).but(&[missing(NO_EVENTS)]),
    here("freeze-keeps-no-query-waiting", |_| queries(FREEZE)).but(&[missing(NO_EVENTS)]),
    here("a-subsystem-keeps-no-query-waiting", subsystem).but(&[missing(NO_EVENTS)]),
    here("changes-wait-for-a-prepare", |_| changes(PREPARE, false)).but(&[missing(NO_EVENTS)]),
    here("changes-wait-for-a-failing-prepare", |_| {
        changes(PREPARE, true)
    })
    .but(&[missing(NO_EVENTS)]),
    here("changes-wait-for-a-freeze", |_| changes(FREEZE, false)).but(&[missing(NO_EVENTS)]),
    here("changes-wait-for-a-failing-freeze", |_| {
        changes(FREEZE, true)
    })
    .but(&[missing(NO_EVENTS)]),
    here("a-close-during-prepare-keeps", |_| close(PREPARE, false)).but(UNSEEN_CLOSE),
    here("a-close-during-a-failing-prepare-undoes", |_| {
        close(PREPARE, true)
    })
    .but(UNSEEN_CLOSE),
    here("a-close-during-freeze-keeps", |_| close(FREEZE, false)).but(UNSEEN_CLOSE),
    here("a-close-during-a-failing-freeze-undoes", |_| {
        close(FREEZE, true)
    })
    .but(UNSEEN_CLOSE),
    here("an-event-waits-for-another", second).but(&[missing(NO_EVENTS)]),
    here("who-is-killed-waiting-is-gone", killed).but(&[missing(NO_EVENTS)]),
    here("a-call-that-is-killed-waiting-is-gone", killed_calls).but(&[missing(NO_EVENTS)]),
    alone(
        "a-retrieve-that-is-killed-waiting-is-gone",
        &[leave_stuck, killed_retrieve],
    )
    .but(&[missing(NO_EVENTS)]),
    here("no-wait-is-taken-for-hung", not_hung).but(&[
        missing(NO_EVENTS),
        simulated(Expect::Absent(
            "its calls wait in user space, where no kernel looks for hung tasks",
        )),
    ]),
    here(
        "no-line-is-taken-for-hung-nor-keeps-from-being-killed",
        in_line,
    )
    .but(&[
        missing(NO_EVENTS),
        simulated(Expect::Absent(
            "each call has a thread of its own, and there is no line",
        )),
    ]),
    here("who-is-killed-first-in-line-lets-others-go", killed_first).but(&[missing(NO_EVENTS)]),
    here("a-signal-that-does-not-kill-ends-no-wait", stopped).but(&[missing(NO_EVENTS)]),
    alone(
        "a-call-that-does-not-end-is-named",
        &[impatient_wanted, busy],
    )
    .but(&[missing(NO_EVENTS)]),
    alone(
        "an-event-that-does-not-end-is-told",
        &[impatient_wanted, twice],
    )
    .but(&[missing(NO_EVENTS)]),
    here("no-event-waits-for-a-users-call", of_a_user).but(&[missing(NO_EVENTS)]),
    shared("of-two-who-retrieve-both-get-it", leave_named, retrieve_two),
    shared(
        "of-two-who-restore-one-gets-it",
        leave_registered,
        restore_two,
    )
    .but(&[missing(NO_RFC)]),
];

/// The simulator does the same, and nobody sees the wait.
const UNSEEN_CLOSE: &[Differs] = &[
    missing(NO_EVENTS),
    simulated(Expect::Unseen(
        "close(2) does not come to it, and so waits for nothing; the close is done behind it",
    )),
];

/// A call that is begun while a transition is held up, and what it is called.
type Begun<'scope> = (&'static str, u32, Caller<'scope, luo_sys::Result<()>>);

/// Runs the transition, held up at the callback while `meanwhile` runs; then
/// `after` judges what that has begun.
fn held_up<'scope, T>(
    scope: &'scope Scope<'scope, '_>,
    device: &'scope Device,
    (transition, fails): (Transition, bool),
    callback: &str,
    meanwhile: impl FnOnce(&Hold) -> Result<T>,
    after: impl FnOnce(T) -> Result<()>,
) -> Result<()> {
    let fault = fails.then(|| transition.fault.inject()).transpose()?;
    // Dropped before the threads are joined, however this ends.
    let hold = Hold::on(callback)?;
    let event = Caller::begin(scope, move || send(device, transition.event))?;
    hold.reached()?;
    let begun = meanwhile(&hold)?;
    drop(hold);
    let outcome = event.outcome()?;
    drop(fault);
    if fails {
        refused(outcome, ODD).context("the transition")?;
    } else {
        outcome.context("the transition")?;
    }
    after(begun)?;
    state_is(device, if fails { State::Normal } else { transition.to })
}

fn queries(transition: Transition) -> Result<()> {
    let device = device()?;
    let id = ready(&device, transition)?;
    let callback = format!("{}:{id}", transition.callback);
    all_answer(&device, transition, &callback)
}

fn subsystem(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let _subsystems = Subsystems::register()?;
    ready(&device, PREPARE)?;
    all_answer(&device, PREPARE, "prepare:forge-b")
}

/// Every query is answered, with what was before the transition.
fn all_answer(device: &Device, transition: Transition, callback: &str) -> Result<()> {
    let at_file = !callback.contains("forge");
    let queries = move || -> Result<()> {
        let from = transition.from;
        state_is(device, from)?;
        let info = device.info()?;
        same("info", info.state, Some(from))?;
        same("the files", info.files, 1)?;
        let word = look::sysfs("state")?;
        same("sysfs", word.trim(), from.to_string().as_str())?;
        let sessions = device.list_sessions(Which::All)?;
        same("the sessions", sessions.len(), 1)?;
        let files = device.list_files()?;
        ensure!(files.len() == 1, "the files are {files:?}");
        if at_file {
            same("the file in hand", files[0].status, FileStatus::Busy)?;
        }
        same(
            "its needs",
            device.list_dependencies(files[0].token)?.len(),
            0,
        )?;
        ensure!(!device.list_participants()?.is_empty(), "nobody takes part");
        device.failure()?;
        Ok(())
    };
    scope(|scope| {
        let meanwhile = |hold: &Hold| {
            Caller::begin(scope, queries)?.outcome()??;
            hold.holds()
        };
        held_up(scope, device, (transition, false), callback, meanwhile, Ok)
    })?;
    Ok(device.cancel()?)
}

/// Whatever changes what is preserved waits, and gets the answer that belongs to
/// the state afterwards.
fn changes(transition: Transition, fails: bool) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let session = session(&device, "changed", 3)?;
    let token = device.fd_preserve(memory("changed", 9)?)?;
    let id = ready(&device, transition)?;
    let callback = format!("{}:{id}", transition.callback);
    scope(|scope| {
        let meanwhile = |hold: &Hold| {
            let begun = begin_changes(scope, &device, &session, token)?;
            for (call, command, caller) in &begun {
                let waits = caller.waits_in(Call::Ioctl(*command));
                waits.with_context(|| (*call).to_owned())?;
            }
            hold.holds()?;
            Ok(begun)
        };
        let after = |begun: Vec<Begun<'_>>| {
            for (call, _, caller) in begun {
                let outcome = caller.outcome().context(call)?;
                // What is made by mainline's calls comes late, and goes along.
                if fails || matches!(call, "CREATE_SESSION" | "PRESERVE_FD") {
                    outcome.with_context(|| format!("{call} afterwards"))?;
                } else {
                    refused(outcome, Errno::EBUSY).context(call)?;
                }
            }
            Ok(())
        };
        let kind = (transition, fails);
        held_up(scope, &device, kind, &callback, meanwhile, after)
    })?;
    if !fails {
        device.cancel()?;
    }
    let needs = session.list_dependencies(Token(2))?.len();
    same("needs of the second", needs, usize::from(fails))?;
    // One more, and one less if what took part may change.
    let files = if fails { 3 } else { 4 };
    same("the files", session.list_files()?.len(), files)?;
    let of_device = device.list_files()?.into_iter();
    let kept = of_device.filter(|file| file.token == token).count();
    same("the one to be taken back", kept, usize::from(!fails))
}

/// Begins one call of each kind. None concerns what another does.
fn begin_changes<'scope>(
    scope: &'scope Scope<'scope, '_>,
    device: &'scope Device,
    session: &'scope Session,
    token: Token,
) -> Result<Vec<Begun<'scope>>> {
    let (more, registered) = (memory("changed", 4)?, memory("changed", 8)?);
    let on = Needed::Here(Token(3));
    Ok(vec![
        (
            "CREATE_SESSION",
            uapi::CREATE_SESSION,
            Caller::begin(scope, || device.create_session(&name("late")).map(drop))?,
        ),
        (
            "PRESERVE_FD",
            uapi::SESSION_PRESERVE_FD,
            Caller::begin(scope, move || session.preserve_fd(&more, Token(4)))?,
        ),
        (
            "UNPRESERVE_FD",
            contract::UNPRESERVE_FD,
            Caller::begin(scope, || session.unpreserve_fd(Token(1)))?,
        ),
        (
            "ADD_DEPENDENCY",
            contract::ADD_DEPENDENCY,
            Caller::begin(scope, move || session.add_dependency(Token(2), on))?,
        ),
        (
            "FD_PRESERVE",
            rfc::FD_PRESERVE,
            Caller::begin(scope, move || device.fd_preserve(&registered).map(drop))?,
        ),
        (
            "FD_UNPRESERVE",
            rfc::FD_UNPRESERVE,
            Caller::begin(scope, move || device.fd_unpreserve(token))?,
        ),
    ])
}

/// The last descriptor of a session is closed: the close waits for the outcome.
fn close(transition: Transition, fails: bool) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let file = memory("closed", 1)?;
    let session = session(&device, "closed", 0)?;
    session.preserve_fd(&file, Token(1))?;
    let id = ready(&device, transition)?;
    let callback = format!("{}:{id}", transition.callback);
    // Told in the end: what comes of it is the same.
    let mut waited = Ok(());
    scope(|scope| {
        let meanwhile = |hold: &Hold| {
            let session = OwnedFd::from(session);
            let fd = session.as_raw_fd();
            let closed = Caller::begin(scope, move || drop(session))?;
            let waits = closed.waits_in(Call::Close(fd));
            hold.holds()?;
            Ok((closed, waits))
        };
        let kind = (transition, fails);
        let after = |(closed, waits): (Caller<'_, ()>, _)| {
            waited = waits;
            closed.outcome()
        };
        held_up(scope, &device, kind, &callback, meanwhile, after)
    })?;
    let entry = look::session(&device, Which::Outgoing, "closed")?;
    if fails {
        ensure!(entry.is_none(), "it is still there");
    } else {
        let entry = entry.context("it is not there any more")?;
        same("the session", entry.state, SessionState::Closed)?;
        is_held(&file)?;
        device.cancel()?;
    }
    is_free(&file)?;
    device.create_session(&name("closed"))?;
    waited
}

fn leave_named(context: &mut Context<'_>) -> Result<()> {
    let file = forge::open()?;
    context.note("id", forge::id(&file)?.into());
    let session = context.device()?.create_session(&name("two-retrieve"))?;
    session.preserve_fd(&file, Token(1))?;
    context.hold(session);
    Ok(())
}

fn leave_registered(context: &mut Context<'_>) -> Result<()> {
    let file = forge::open()?;
    let token = context.device()?.fd_preserve(&file)?;
    context.note("id", forge::id(&file)?.into());
    context.note("token", token.0);
    Ok(())
}

/// Two make a call at once; the first one's retrieve is held up until the second
/// waits, too. Gives what they got.
fn two<'env, T: Send>(
    id: u64,
    command: u32,
    call: impl Fn() -> T + Copy + Send + 'env,
) -> Result<[T; 2]> {
    forge::clear_calls()?;
    let callback = format!("retrieve:{id}");
    let outcomes = scope(|scope| {
        let hold = Hold::on(&callback)?;
        let first = Caller::begin(scope, call)?;
        hold.reached()?;
        let second = Caller::begin(scope, call)?;
        second.waits_in(Call::Ioctl(command))?;
        hold.holds()?;
        drop(hold);
        Ok::<_, anyhow::Error>([first.outcome()?, second.outcome()?])
    })?;
    same("the calls", forge::calls()?, vec![callback])?;
    Ok(outcomes)
}

fn retrieve_two(context: &mut Context<'_>) -> Result<()> {
    let session = device()?.retrieve_session(&name("two-retrieve"))?;
    let id = context.noted("id")?;
    let retrieve = || session.retrieve_fd(Token(1));
    for fd in two(id, uapi::SESSION_RETRIEVE_FD, retrieve)? {
        same("the file", forge::id(&File::from(fd?))?.into(), id)?;
    }
    Ok(session.finish()?)
}

fn restore_two(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let (id, token) = (context.noted("id")?, Token(context.noted("token")?));
    let outcomes = two(id, rfc::FD_RESTORE, || device.fd_restore(token))?;
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    same("who got it", won.len(), 1)?;
    for result in lost {
        refused(result, Errno::EINVAL)?;
    }
    for fd in won {
        same("the file", forge::id(&File::from(fd?))?.into(), id)?;
    }
    Ok(())
}
