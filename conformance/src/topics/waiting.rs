// SPDX-License-Identifier: MIT OR Apache-2.0
//! While a transition is under way: who is answered, who waits, and what for.
//!
//! The test driver holds one of its callbacks up, so that each case has all the
//! time it needs; nothing here depends on how long something takes.

use std::fs::{self, File};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope, scope};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use luo_abi::{contract, rfc, uapi};
use luo_sys::{
    Cause, Device, Errno, Event, FileStatus, Needed, Session, SessionName, SessionState, State,
    Token, Which, unanswered::Unanswered,
};
use rustix::process::Signal;

use super::tools::{NO_EVENTS, NO_RFC, enter, is_free, is_held, memory, session, state_is};
use crate::case::{Case, Context, alone, here, shared};
use crate::check::{Absent, device, name, refused, same};
use crate::child::{Child, Role, TOKEN, send};
use crate::difference::{Differs, Expect, missing, simulated};
use crate::forge::{self, Fault, Hold, ODD, Subsystems};
use crate::look;
use crate::patience::{PATIENCE, until};
use crate::user::{Delegated, USERS, as_user};
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

/// A transition that is held up.
#[derive(Clone, Copy)]
struct Transition {
    event: Event,
    /// Where it begins, and where it leads.
    from: State,
    to: State,
    /// The callback of a file, and what makes it fail.
    callback: &'static str,
    fault: Fault,
}

const PREPARE: Transition = Transition {
    event: Event::Prepare,
    from: State::Normal,
    to: State::Prepared,
    callback: "preserve",
    fault: Fault::Preserve(ODD),
};

const FREEZE: Transition = Transition {
    event: Event::Freeze,
    from: State::Prepared,
    to: State::Frozen,
    callback: "freeze",
    fault: Fault::Freeze(ODD),
};

/// A call that is begun while a transition is held up, and what it is called.
type Begun<'scope> = (&'static str, u32, Caller<'scope, luo_sys::Result<()>>);

/// The machine where the transition begins, with a file of the driver registered on
/// the device; gives the file's number.
fn ready(device: &Device, transition: Transition) -> Result<u32> {
    state_is(device, State::Normal)?;
    let file = forge::open()?;
    device.fd_preserve(&file)?;
    enter(device, transition.from)?;
    forge::id(&file)
}

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

/// Freeze, asked for while prepare is under way, follows it.
fn second(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let id = ready(&device, PREPARE)?;
    let child = during_prepare(&device, id, Event::Freeze, |child, hold| {
        hold.holds()?;
        Ok(child)
    })?;
    same("what it got", child.ended()?.code(), Some(0))?;
    state_is(&device, State::Frozen)?;
    Ok(device.cancel()?)
}

/// Holds prepare up; once another process waits with its event, `meanwhile` runs.
fn during_prepare<T>(
    device: &Device,
    id: u32,
    event: Event,
    meanwhile: impl FnOnce(Child, &Hold) -> Result<T>,
) -> Result<T> {
    scope(|scope| {
        let hold = Hold::on(format!("preserve:{id}"))?;
        let prepare = Caller::begin(scope, || device.prepare())?;
        hold.reached()?;
        let child = Child::ask(device, event)?;
        child.waits()?;
        let result = meanwhile(child, &hold)?;
        drop(hold);
        prepare.outcome()?.context("the transition")?;
        Ok(result)
    })
}

/// Its event has not happened, and its end did not wait for the transition's.
fn killed(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let id = ready(&device, PREPARE)?;
    during_prepare(&device, id, Event::Freeze, |child, hold| {
        child.signal(Signal::KILL)?;
        let status = child.ended()?;
        ensure!(!status.success(), "it was not killed");
        hold.holds()
    })?;
    state_is(&device, State::Prepared)?;
    device.freeze()?;
    device.cancel()?;
    device.prepare()?;
    Ok(device.cancel()?)
}

/// Kills a program that waits behind a transition which is held up. The program is gone while
/// the transition is still held up.
fn kill_waiting(child: Child, hold: &Hold) -> Result<()> {
    child.waits()?;
    child.signal(Signal::KILL)?;
    let status = child.ended()?;
    ensure!(status.code().is_none(), "it was not killed: {status}");
    hold.holds()
}

/// A program that is killed while its call waits for a transition has done nothing.
fn killed_calls(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let session = session(&device, "killed", 0)?;
    let id = ready(&device, PREPARE)?;
    scope(|scope| {
        let hold = Hold::on(format!("preserve:{id}"))?;
        let prepare = Caller::begin(scope, || device.prepare())?;
        hold.reached()?;
        let create = device.as_fd().try_clone_to_owned()?;
        let preserve = session.as_fd().try_clone_to_owned()?;
        for (role, input) in [(Role::Create, create), (Role::Preserve, preserve)] {
            let child = Child::start(role, "late", input)?;
            kill_waiting(child, &hold).with_context(|| role.to_string())?;
        }
        drop(hold);
        prepare.outcome()?.context("the transition")
    })?;
    same("files", session.list_files()?.len(), 0)?;
    session.preserve_fd(memory("killed", 1)?, TOKEN)?;
    drop(device.create_session(&name("late"))?);
    Ok(device.cancel()?)
}

/// A file of the driver's.
fn leave_stuck(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let session = session(&device, "stuck", 0)?;
    session.preserve_fd(forge::open()?, TOKEN)?;
    context.hold(session);
    Ok(())
}

/// The session has outlived the update it came with, and the machine is prepared anew. A
/// RETRIEVE_FD that waits for that can be killed, and the handler has not been asked.
fn killed_retrieve(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let fault = Fault::FinishRefusals(9).inject()?;
    drop(device.retrieve_session(&name("stuck"))?);
    device.finish_update()?;
    drop(fault);
    let session = device.retrieve_session(&name("stuck"))?;
    let id = ready(&device, PREPARE)?;
    forge::clear_calls()?;
    scope(|scope| {
        let hold = Hold::on(format!("preserve:{id}"))?;
        let prepare = Caller::begin(scope, || device.prepare())?;
        hold.reached()?;
        let input = session.as_fd().try_clone_to_owned()?;
        kill_waiting(Child::start(Role::Retrieve, "", input)?, &hold)?;
        drop(hold);
        prepare.outcome()?.context("the transition")
    })?;
    let calls = forge::calls()?;
    let asked = calls.iter().any(|call| call.starts_with("retrieve:"));
    ensure!(!asked, "the handler was asked: {calls:?}");
    session.retrieve_fd(TOKEN)?;
    session.finish()?;
    Ok(device.cancel()?)
}

/// A number of the kernel's that is another until it is dropped.
struct Sysctl {
    path: String,
    before: String,
}

impl Sysctl {
    fn path(name: &str) -> String {
        format!("/proc/sys/kernel/{name}")
    }

    fn set(name: &str, number: u32) -> Result<Self> {
        let path = Self::path(name);
        let before = fs::read_to_string(&path).with_context(|| path.clone())?;
        fs::write(&path, number.to_string())?;
        Ok(Self { path, before })
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        let _ = fs::write(&self.path, self.before.trim());
    }
}

/// Tasks that were taken for hung since boot.
fn taken_for_hung() -> Result<u64> {
    let count = fs::read_to_string(Sysctl::path("hung_task_detect_count"))?;
    Ok(count.trim().parse()?)
}

/// For how long a task has to stand still to be taken for hung, in seconds.
const HUNG: u32 = 1;

/// A close and calls that wait for others as long as they like are no hung tasks.
fn not_hung(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    if !context.implementation.is_kernel() {
        return Err(Absent("the detector of hung tasks".to_owned()).into());
    }
    let session = session(&device, "closed", 1)?;
    let other = device.create_session(&name("other"))?;
    let id = ready(&device, PREPARE)?;
    // The detector counts what it finds, and is silent.
    let _silent = Sysctl::set("hung_task_warnings", 0)?;
    let _soon = Sysctl::set("hung_task_timeout_secs", HUNG)?;
    let before = taken_for_hung()?;
    let (device, other) = (&device, &other);
    scope(|scope| {
        let hold = Hold::on(format!("preserve:{id}"))?;
        let prepare = Caller::begin(scope, || device.prepare())?;
        hold.reached()?;
        let closed = session.into_fd();
        let fd = closed.as_raw_fd();
        let close = Caller::begin(scope, move || drop(closed))?;
        let file = memory("hung", 1)?;
        let preserve = Caller::begin(scope, move || other.preserve_fd(&file, Token(1)))?;
        let freeze = Caller::begin(scope, || device.freeze())?;
        close.waits_in(Call::Close(fd))?;
        preserve.waits_in(Call::Ioctl(uapi::SESSION_PRESERVE_FD))?;
        freeze.waits_in(Call::Ioctl(rfc::EVENT_FREEZE))?;
        // Nothing is waited for here: this is the time in which they must not be found.
        thread::sleep(Duration::from_secs(4 * u64::from(HUNG)));
        hold.holds()?;
        let after = taken_for_hung()?;
        drop(hold);
        prepare.outcome()?.context("the transition")?;
        close.outcome()?;
        preserve.outcome()??;
        freeze.outcome()??;
        same("tasks that were taken for hung", after, before)
    })?;
    device.cancel()?;
    looks_for_hung_tasks(before)
}

/// The detector is on, because it finds a task that does hang: a write that waits for the lock
/// of a file. Another write has the lock, and the memory that it reads is not there.
fn looks_for_hung_tasks(before: u64) -> Result<()> {
    let file = memory("hung", 2)?;
    let unanswered = Unanswered::new()?;
    let over = AtomicBool::new(false);
    scope(|scope| {
        let first = Caller::begin(scope, || unanswered.write_to(&file))?;
        let second = Caller::begin(scope, || -> Result<()> {
            // The first write has the lock from some time on; this one hangs then.
            while !over.load(Ordering::Relaxed) {
                file.write_all_at(b"x", 0)?;
            }
            Ok(())
        });
        let found = until("a hung task", || Ok(taken_for_hung()? > before));
        over.store(true, Ordering::Relaxed);
        unanswered.answer();
        first.outcome()??;
        second?.outcome()??;
        found
    })
}

/// A preservation is under way. An event waits for its end, and others for that of
/// the event: if it is killed they need not wait any more.
fn killed_first(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let session = session(&device, "slow", 0)?;
    let file = forge::open()?;
    let id = forge::id(&file)?;
    scope(|scope| {
        let hold = Hold::on(format!("preserve:{id}"))?;
        let preserve = Caller::begin(scope, || session.preserve_fd(&file, Token(1)))?;
        hold.reached()?;
        let child = Child::ask(&device, Event::Prepare)?;
        child.waits()?;
        let create = Caller::begin(scope, || device.create_session(&name("late")))?;
        create.waits_in(Call::Ioctl(uapi::CREATE_SESSION))?;
        child.signal(Signal::KILL)?;
        ensure!(!child.ended()?.success(), "it was not killed");
        create
            .outcome()?
            .context("behind the one that was killed")?;
        hold.holds()?;
        drop(hold);
        Ok(preserve.outcome()??)
    })?;
    same("files", session.list_files()?.len(), 1)?;
    enter(&device, State::Frozen)?;
    Ok(device.cancel()?)
}

/// It is stopped while it waits, and its event comes about all the same.
fn stopped(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let id = ready(&device, PREPARE)?;
    let child = during_prepare(&device, id, Event::Freeze, |child, _| {
        child.signal(Signal::STOP)?;
        Ok(child)
    })?;
    until("the event of the one that is stopped", || {
        Ok(device.state()? == State::Frozen || !device.wait_for_change(PATIENCE)?)
    })?;
    state_is(&device, State::Frozen)?;
    child.signal(Signal::CONT)?;
    same("what it got", child.ended()?.code(), Some(0))?;
    Ok(device.cancel()?)
}

/// So that the cases need not wait for long.
fn impatient_wanted(context: &mut Context<'_>) -> Result<()> {
    context.boot_with("liveupdate_patience", "1");
    Ok(())
}

/// Holds a call up in the callback of a file. An event that waits for it is told that it waits
/// in vain, and for whom; what waited behind the event goes on.
fn in_vain(
    device: &Device,
    file: u32,
    call: impl Fn() -> luo_sys::Result<()> + Copy + Send,
    event: Event,
    whose: Option<SessionName>,
) -> Result<()> {
    scope(|scope| {
        let hold = Hold::on(format!("preserve:{file}"))?;
        let held = Caller::begin(scope, call)?;
        hold.reached()?;
        let waits = Caller::begin(scope, move || send(device, event))?;
        refused(waits.outcome()?, Errno::EBUSY)?;
        let failure = Caller::begin(scope, || device.failure())?.outcome()??;
        same("the cause", failure.cause, Cause::Busy)?;
        same("whose call it is", failure.session, whose)?;
        if whose.is_some() {
            let behind = Caller::begin(scope, || device.create_session(&name("behind")))?;
            behind.outcome()?.context("behind the event")?;
        }
        hold.holds()?;
        drop(hold);
        Ok(held.outcome()??)
    })
}

/// A call on a session does not end.
fn busy(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "slow", 0)?;
    let file = forge::open()?;
    let preserve = || session.preserve_fd(&file, Token(1));
    let whose = Some(name("slow"));
    in_vain(&device, forge::id(&file)?, preserve, Event::Prepare, whose)?;
    enter(&device, State::Frozen)?;
    Ok(device.cancel()?)
}

/// A user's call does not end: each event passes over it, and it goes on afterwards.
fn of_a_user(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let [user, _] = USERS;
    let file = forge::open()?;
    let delegated = Delegated::new()?;
    let session = as_user(user, || Ok(Device::open()?.create_session(&name("slow"))?))?;
    drop(delegated);
    let callback = format!("preserve:{}", forge::id(&file)?);
    let device = &device;
    scope(|scope| {
        let hold = Hold::on(callback)?;
        let preserve = || as_user(user, || Ok(session.preserve_fd(&file, Token(1))?));
        let held = Caller::begin(scope, preserve)?;
        hold.reached()?;
        let events = [Event::Prepare, Event::Freeze, Event::Cancel, Event::Prepare];
        for event in events {
            let sent = Caller::begin(scope, move || send(device, event))?;
            sent.outcome()?.with_context(|| format!("{event:?}"))?;
        }
        hold.holds()?;
        drop(hold);
        held.outcome()?
    })?;
    // It was not there when the others had agreed: its owner may take it back.
    same("files", session.list_files()?.len(), 1)?;
    session.unpreserve_fd(Token(1))?;
    Ok(device.cancel()?)
}

/// A handler does not return from the prepare: who wants to cancel is told.
fn twice(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let id = ready(&device, PREPARE)?;
    in_vain(&device, id, || device.prepare(), Event::Cancel, None)?;
    state_is(&device, State::Prepared)?;
    Ok(device.cancel()?)
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
