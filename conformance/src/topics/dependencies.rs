// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files that need others.

use anyhow::{Context as _, Result, ensure};
use luo_abi::contract::{self, DEPENDENCY_ON_DEVICE, Dependency};
use luo_sys::{Cause, Errno, FileStatus, Needed, Session, State, Token, Tried, raw};
use zerocopy::IntoBytes;

use super::tools::{NO_DEPENDENCIES, enter, incoming, memory, retrieve, session, state_is};
use crate::case::{Case, Context, here, shared};
use crate::check::{device, name, refused, same};
use crate::difference::missing;

/// Files of a chain: enough to show a recursion, little enough for each run.
const CHAIN: u64 = 500;

pub(super) const CASES: &[Case] = &[
    here("declared-ones-are-listed", listed).but(&[missing(NO_DEPENDENCIES)]),
    here("across-sessions-and-the-device", across).but(&[missing(NO_DEPENDENCIES)]),
    here("itself-is-eloop", itself).but(&[missing(NO_DEPENDENCIES)]),
    here("cycle-is-eloop", cycle).but(&[missing(NO_DEPENDENCIES)]),
    here("cycle-across-sessions-is-eloop", cycle_across).but(&[missing(NO_DEPENDENCIES)]),
    here("unknown-is-enoent", unknown).but(&[missing(NO_DEPENDENCIES)]),
    here("twice-is-eexist", twice).but(&[missing(NO_DEPENDENCIES)]),
    here("dropped-ones-are-gone", dropped).but(&[missing(NO_DEPENDENCIES)]),
    here("odd-flags-are-einval", flags).but(&[missing(NO_DEPENDENCIES)]),
    here("prepared-is-ebusy", prepared).but(&[missing(NO_DEPENDENCIES)]),
    here("a-missing-one-fails-prepare", missing_one).but(&[missing(NO_DEPENDENCIES)]),
    here("a-closed-session-is-missed", closed).but(&[missing(NO_DEPENDENCIES)]),
    here("preserved-again-is-another-file", again).but(&[missing(NO_DEPENDENCIES)]),
    here("dropping-the-dependent-mends", dependent_goes).but(&[missing(NO_DEPENDENCIES)]),
    here("a-long-chain-is-prepared", chain).but(&[missing(NO_DEPENDENCIES)]),
    shared(
        "retrieve-restores-what-is-needed",
        leave_chain,
        needed_first,
    )
    .but(&[missing(NO_DEPENDENCIES)]),
    shared("anothers-is-not-restored", leave_pair, others_wait).but(&[missing(NO_DEPENDENCIES)]),
    shared("finish-waits-for-dependents", leave_pair, finish_waits)
        .but(&[missing(NO_DEPENDENCIES)]),
    shared("close-waits-for-dependents", leave_pair, close_waits).but(&[missing(NO_DEPENDENCIES)]),
    shared("incoming-is-einval", leave_pair, incoming_fixed).but(&[missing(NO_DEPENDENCIES)]),
];

fn here_is(token: u64) -> Needed {
    Needed::Here(Token(token))
}

fn in_session(session: &str, token: u64) -> Needed {
    Needed::In(name(session), Token(token))
}

/// What a file needs, as tokens with their status, in order of the tokens.
fn needs(session: &Session, token: u64) -> Result<Vec<(u64, FileStatus)>> {
    let entries = session.list_dependencies(Token(token))?;
    let mut needs: Vec<_> = entries
        .into_iter()
        .map(|entry| (entry.token.0, entry.status))
        .collect();
    needs.sort_by_key(|&(token, _)| token);
    Ok(needs)
}

fn listed(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "listed", 3)?;
    session.add_dependency(Token(1), here_is(2))?;
    session.add_dependency(Token(1), in_session("listed", 3))?;
    session.add_dependency(Token(2), here_is(3))?;
    let preserved = FileStatus::Preserved;
    same(
        "what 1 needs",
        needs(&session, 1)?,
        vec![(2, preserved), (3, preserved)],
    )?;
    same("what 2 needs", needs(&session, 2)?, vec![(3, preserved)])?;
    same("what 3 needs", needs(&session, 3)?, vec![])?;
    refused(session.list_dependencies(Token(4)), Errno::ENOENT)?;
    let counts: Vec<_> = session
        .list_files()?
        .iter()
        .map(|file| (file.token.0, file.dependencies, file.dependents))
        .collect();
    same("the counts", counts, vec![(1, 2, 0), (2, 1, 1), (3, 0, 2)])
}

fn across(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let (first, second) = (session(&device, "one", 1)?, session(&device, "two", 1)?);
    let registered = [
        device.fd_preserve(memory("across", 1)?)?,
        device.fd_preserve(memory("across", 2)?)?,
    ];
    first.add_dependency(Token(1), in_session("two", 1))?;
    second.add_dependency(Token(1), Needed::OnDevice(registered[0]))?;
    device.add_dependency(registered[0], Needed::Here(registered[1]))?;
    let entry = &first.list_dependencies(Token(1))?[0];
    same("the session", entry.session, Some(name("two")))?;
    ensure!(!entry.on_device, "it is in a session");
    let entry = &second.list_dependencies(Token(1))?[0];
    ensure!(entry.on_device, "it is on the device");
    same("the token", entry.token, registered[0])?;
    same("the status", entry.status, FileStatus::Registered)?;
    let entry = &device.list_dependencies(registered[0])?[0];
    same("the token", entry.token, registered[1])?;
    // The circle closes over three owners.
    refused(
        device.add_dependency(registered[1], in_session("one", 1)),
        Errno::ELOOP,
    )?;
    enter(&device, State::Frozen)?;
    Ok(device.cancel()?)
}

fn itself(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "itself", 1)?;
    refused(session.add_dependency(Token(1), here_is(1)), Errno::ELOOP)?;
    refused(
        session.add_dependency(Token(1), in_session("itself", 1)),
        Errno::ELOOP,
    )
}

fn cycle(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "cycle", 4)?;
    for token in 1..4 {
        session.add_dependency(Token(token), here_is(token + 1))?;
    }
    for token in 1..4 {
        refused(
            session.add_dependency(Token(4), here_is(token)),
            Errno::ELOOP,
        )?;
    }
    // What was refused has left no trace.
    session.drop_dependency(Token(1), here_is(2))?;
    Ok(session.add_dependency(Token(4), here_is(1))?)
}

fn cycle_across(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let (first, second) = (session(&device, "one", 1)?, session(&device, "two", 1)?);
    first.add_dependency(Token(1), in_session("two", 1))?;
    refused(
        second.add_dependency(Token(1), in_session("one", 1)),
        Errno::ELOOP,
    )
}

fn unknown(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "unknown", 2)?;
    session.add_dependency(Token(1), here_is(2))?;
    for (token, on) in [
        (9, here_is(1)),
        (1, here_is(9)),
        (1, in_session("nobody", 1)),
        (1, in_session("unknown", 9)),
        (1, Needed::OnDevice(Token(9))),
    ] {
        refused(session.add_dependency(Token(token), on), Errno::ENOENT)
            .with_context(|| format!("{token:#x} needs {on}"))?;
    }
    refused(device.add_dependency(Token(1), here_is(1)), Errno::ENOENT)
}

fn twice(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "twice", 2)?;
    session.add_dependency(Token(1), here_is(2))?;
    refused(session.add_dependency(Token(1), here_is(2)), Errno::EEXIST)?;
    refused(
        session.add_dependency(Token(1), in_session("twice", 2)),
        Errno::EEXIST,
    )
}

fn dropped(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "dropped", 2)?;
    session.add_dependency(Token(1), here_is(2))?;
    session.drop_dependency(Token(1), here_is(2))?;
    same("what 1 needs", needs(&session, 1)?, vec![])?;
    refused(session.drop_dependency(Token(1), here_is(2)), Errno::ENOENT)?;
    // The other way round is no circle now.
    Ok(session.add_dependency(Token(2), here_is(1))?)
}

fn flags(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "flags", 2)?;
    session.add_dependency(Token(1), here_is(2))?;
    session.drop_dependency(Token(1), here_is(2))?;
    for (flags, on_session) in [
        (4, [0; 64]),
        (1 << 31, [0; 64]),
        (DEPENDENCY_ON_DEVICE, *name("flags").as_field()),
        (0, [b'x'; 64]),
    ] {
        let mut argument = Dependency {
            size: size_of::<Dependency>() as u32,
            flags,
            token: 1,
            on_token: 2,
            on_session,
            session_fd: 0,
            reserved: 0,
        };
        let result = raw::ioctl(&session, contract::ADD_DEPENDENCY, argument.as_mut_bytes());
        refused(result, Errno::EINVAL).with_context(|| format!("flags {flags:#x}"))?;
    }
    Ok(())
}

fn prepared(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "prepared", 3)?;
    session.add_dependency(Token(1), here_is(2))?;
    for state in [State::Prepared, State::Frozen] {
        enter(&device, state)?;
        refused(session.add_dependency(Token(1), here_is(3)), Errno::EBUSY)?;
        refused(session.drop_dependency(Token(1), here_is(2)), Errno::EBUSY)?;
        device.cancel()?;
    }
    session.add_dependency(Token(1), here_is(3))?;
    Ok(session.drop_dependency(Token(1), here_is(2))?)
}

/// Asserts that prepare fails because `token` of one session misses a file of
/// another, and says so.
fn fails(device: &luo_sys::Device, one: (&str, u64), other: (&str, u64)) -> Result<()> {
    refused(device.prepare(), Errno::ENOLINK)?;
    state_is(device, State::Normal)?;
    let failure = device.failure()?;
    same("the event", failure.event, Tried::Prepare)?;
    same("the error", failure.error, Some(Errno::ENOLINK))?;
    same("the cause", failure.cause, Cause::Dependency)?;
    same("the session", failure.session, Some(name(one.0)))?;
    same("the token", failure.token, Token(one.1))?;
    same("its session", failure.on_session, Some(name(other.0)))?;
    same("the needed token", failure.on_token, Token(other.1))
}

fn missing_one(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "missing", 3)?;
    session.add_dependency(Token(1), here_is(2))?;
    session.add_dependency(Token(2), here_is(3))?;
    enter(&device, State::Prepared)?;
    device.cancel()?;
    // The owner of a file can always take it back.
    session.unpreserve_fd(Token(3))?;
    same(
        "what 2 needs",
        needs(&session, 2)?,
        vec![(3, FileStatus::Missing)],
    )?;
    for _ in 0..2 {
        fails(&device, ("missing", 2), ("missing", 3))?;
    }
    session.drop_dependency(Token(2), here_is(3))?;
    enter(&device, State::Frozen)?;
    Ok(device.cancel()?)
}

fn closed(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let (first, second) = (session(&device, "one", 1)?, session(&device, "two", 2)?);
    first.add_dependency(Token(1), in_session("two", 2))?;
    drop(second);
    fails(&device, ("one", 1), ("two", 2))?;
    first.drop_dependency(Token(1), in_session("two", 2))?;
    enter(&device, State::Prepared)?;
    Ok(device.cancel()?)
}

fn again(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "again", 2)?;
    session.add_dependency(Token(1), here_is(2))?;
    session.unpreserve_fd(Token(2))?;
    session.preserve_fd(memory("again", 2)?, Token(2))?;
    fails(&device, ("again", 1), ("again", 2))?;
    session.drop_dependency(Token(1), here_is(2))?;
    session.add_dependency(Token(1), here_is(2))?;
    enter(&device, State::Prepared)?;
    Ok(device.cancel()?)
}

fn dependent_goes(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "dependent", 2)?;
    session.add_dependency(Token(1), here_is(2))?;
    session.unpreserve_fd(Token(2))?;
    fails(&device, ("dependent", 1), ("dependent", 2))?;
    session.unpreserve_fd(Token(1))?;
    enter(&device, State::Prepared)?;
    Ok(device.cancel()?)
}

fn chain(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "chain", 0)?;
    for token in 0..CHAIN {
        let file = luo_sys::memfd::create("link", 0)?;
        session.preserve_fd(file, Token(token))?;
        if let Some(previous) = token.checked_sub(1) {
            session.add_dependency(Token(previous), here_is(token))?;
        }
    }
    refused(
        session.add_dependency(Token(CHAIN - 1), here_is(0)),
        Errno::ELOOP,
    )?;
    enter(&device, State::Frozen)?;
    Ok(device.cancel()?)
}

/// A name for each of the cases that leave a pair.
fn pair_name(context: &mut Context<'_>) -> Result<[String; 2]> {
    let number = context.noted("pair")?;
    Ok([format!("dependent-{number}"), format!("needed-{number}")])
}

/// A session whose file 1 needs file 1 of another.
fn leave_pair(context: &mut Context<'_>) -> Result<()> {
    let device = context.device()?;
    // The first number that is free.
    let mut number = 0;
    let dependent = loop {
        match device.create_session(&name(&format!("dependent-{number}"))) {
            Ok(session) => break session,
            Err(error) if error.errno() == Errno::EEXIST => number += 1,
            Err(error) => return Err(error.into()),
        }
    };
    context.note("pair", number);
    let [dependent_name, needed_name] = pair_name(context)?;
    dependent.preserve_fd(memory(&dependent_name, 1)?, Token(1))?;
    let needed = session(&device, &needed_name, 2)?;
    dependent.add_dependency(Token(1), in_session(&needed_name, 1))?;
    context.hold(dependent);
    context.hold(needed);
    Ok(())
}

/// Two sessions; file 1 of the first needs its file 2, and that one needs file
/// 1 of the second.
fn leave_chain(context: &mut Context<'_>) -> Result<()> {
    let device = context.device()?;
    let first = session(&device, "chain-first", 3)?;
    let second = session(&device, "chain-second", 2)?;
    first.add_dependency(Token(1), here_is(2))?;
    first.add_dependency(Token(2), in_session("chain-second", 1))?;
    context.hold(first);
    context.hold(second);
    Ok(())
}

fn statuses(session: &Session) -> Result<Vec<FileStatus>> {
    Ok(session
        .list_files()?
        .iter()
        .map(|file| file.status)
        .collect())
}

fn needed_first(_: &mut Context<'_>) -> Result<()> {
    use FileStatus::{Incoming, Retrieved};
    let first = incoming("chain-first")?;
    same("before", statuses(&first)?, vec![Incoming; 3])?;
    same("what 1 needs", needs(&first, 1)?, vec![(2, Incoming)])?;
    let second = incoming("chain-second")?;
    retrieve(&second, "chain-second", 1)?;
    // What is needed of the same session comes with it.
    retrieve(&first, "chain-first", 1)?;
    same(
        "after",
        statuses(&first)?,
        vec![Retrieved, Retrieved, Incoming],
    )?;
    same("what 2 needs", needs(&first, 2)?, vec![(1, Retrieved)])?;
    same("after", statuses(&second)?, vec![Retrieved, Incoming])?;
    retrieve(&first, "chain-first", 2)?;
    first.finish()?;
    Ok(second.finish()?)
}

/// A call restores files of its own session alone: who needs one of another waits until
/// that one's holder has taken it back, and is told so.
fn others_wait(context: &mut Context<'_>) -> Result<()> {
    use FileStatus::{Incoming, Retrieved};
    let [dependent_name, needed_name] = pair_name(context)?;
    let dependent = incoming(&dependent_name)?;
    let error = |of: &Session| -> Result<_> { Ok(of.list_files()?[0].error) };
    same("before", error(&dependent)?, None)?;
    for _ in 0..2 {
        refused(dependent.retrieve_fd(Token(1)), Errno::ENOTCONN)?;
    }
    same("the file", statuses(&dependent)?, vec![Incoming])?;
    same("its error", error(&dependent)?, Some(Errno::ENOTCONN))?;
    same("what it needs", needs(&dependent, 1)?, vec![(1, Incoming)])?;
    let needed = incoming(&needed_name)?;
    same("the others", statuses(&needed)?, vec![Incoming; 2])?;
    retrieve(&needed, &needed_name, 1)?;
    same("what it needs", needs(&dependent, 1)?, vec![(1, Retrieved)])?;
    retrieve(&dependent, &dependent_name, 1)?;
    same("its error", error(&dependent)?, None)?;
    dependent.finish()?;
    Ok(needed.finish()?)
}

fn finish_waits(context: &mut Context<'_>) -> Result<()> {
    let [dependent_name, needed_name] = pair_name(context)?;
    let needed = incoming(&needed_name)?;
    refused(needed.finish(), Errno::EBUSY)?;
    retrieve(&needed, &needed_name, 1)?;
    let dependent = incoming(&dependent_name)?;
    refused(needed.finish(), Errno::EBUSY)?;
    retrieve(&dependent, &dependent_name, 1)?;
    refused(needed.finish(), Errno::EBUSY)?;
    dependent.finish()?;
    Ok(needed.finish()?)
}

fn close_waits(context: &mut Context<'_>) -> Result<()> {
    let [dependent_name, needed_name] = pair_name(context)?;
    drop(incoming(&needed_name)?);
    let is = |wanted: Option<luo_sys::SessionState>| -> Result<()> {
        let found = crate::look::session(&device()?, luo_sys::Which::Incoming, &needed_name)?;
        same("the session", found.map(|session| session.state), wanted)
    };
    is(Some(luo_sys::SessionState::Unfinished))?;
    // It is nobody's any more, so its file is restored for who needs it.
    let dependent = incoming(&dependent_name)?;
    retrieve(&dependent, &dependent_name, 1)?;
    dependent.finish()?;
    is(None)
}

fn incoming_fixed(context: &mut Context<'_>) -> Result<()> {
    let [dependent_name, needed_name] = pair_name(context)?;
    let dependent = incoming(&dependent_name)?;
    let on = in_session(&needed_name, 2);
    refused(dependent.add_dependency(Token(1), on), Errno::EINVAL)?;
    let on = in_session(&needed_name, 1);
    refused(dependent.drop_dependency(Token(1), on), Errno::EINVAL)?;
    dependent.finish()?;
    Ok(incoming(&needed_name)?.finish()?)
}
