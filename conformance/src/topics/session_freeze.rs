// SPDX-License-Identifier: MIT OR Apache-2.0
//! One session is frozen before the others, so that a slow one does not make the blackout of all
//! longer.

use std::fs::File;
use std::io::{Seek as _, SeekFrom};

use anyhow::{Context as _, Result, ensure};
use luo_abi::contract::{self, FEATURE_SESSION_FREEZE, SessionFreeze};
use luo_sys::{Device, Errno, Event, FileStatus, Needed, Session, State, Token, Which, raw};
use zerocopy::IntoBytes;

use super::tools::{
    FIRST, NO_CONTRACT, enter, incoming, is_free, is_held, memory, passed_over, retrieve, session,
    state_is, verify,
};
use crate::case::{Case, Context, alone, here, shared};
use crate::check::{device, name, refused, same};
use crate::child::{Child, Role, Step};
use crate::difference::missing;
use crate::forge::{self, Fault, ODD};
use crate::look;
use crate::user::{AllKinds, Delegated, USERS, as_user};

pub(super) const CASES: &[Case] = &[
    here("its-handlers-are-asked-once", asked_once).but(&[missing(NO_CONTRACT)]),
    here("it-does-not-change", fixed).but(&[missing(NO_CONTRACT)]),
    here("queries-go-on", queries).but(&[missing(NO_CONTRACT)]),
    here("short-argument-is-einval", short).but(&[missing(NO_CONTRACT)]),
    here("its-close-undoes-it", close).but(&[missing(NO_CONTRACT)]),
    here("a-cancel-undoes-it", cancel).but(&[missing(NO_CONTRACT)]),
    here("a-failing-freeze-undoes-it", failing_freeze).but(&[missing(NO_CONTRACT)]),
    here("a-refused-reboot-undoes-it", refused_reboot).but(&[missing(NO_CONTRACT)]),
    here("in-prepared-and-not-in-frozen", late).but(&[missing(NO_CONTRACT)]),
    here("a-veto-leaves-it-as-it-was", veto).but(&[missing(NO_CONTRACT)]),
    here("who-needs-it-is-first", needed).but(&[missing(NO_CONTRACT)]),
    here("a-missing-one-is-enolink", missing_one).but(&[missing(NO_CONTRACT)]),
    here("its-owner-is-killed", killed).but(&[missing(NO_CONTRACT)]),
    here("of-a-user-keeps-nobody-waiting", of_a_user).but(&[missing(NO_CONTRACT)]),
    here("a-user-keeps-nobodys-from-it", by_a_user).but(&[missing(NO_CONTRACT)]),
    shared("incoming-is-einval", leave, incoming_session).but(&[missing(NO_CONTRACT)]),
    alone("is-not-frozen-anew-by-the-reboot", &[leave_moved, moved]).but(&[missing(NO_CONTRACT)]),
    alone("goes-over-closed-from-prepared", &[leave_closed, arrived]).but(&[missing(NO_CONTRACT)]),
];

/// Files of the test driver that are preserved, and that are frozen.
fn counts(preserved: i32, frozen: i32) -> Result<()> {
    same(
        "preserved and frozen",
        forge::counts()?,
        (preserved, frozen),
    )
}

/// A session with files of the test driver under the tokens 1 to `files`.
fn forged(device: &Device, text: &str, files: u64) -> Result<Session> {
    let session = session(device, text, 0)?;
    for token in 1..=files {
        session.preserve_fd(forge::open()?, Token(token))?;
    }
    Ok(session)
}

fn statuses(session: &Session) -> Result<Vec<FileStatus>> {
    let files = session.list_files()?;
    Ok(files.iter().map(|file| file.status).collect())
}

fn is_frozen(device: &Device, text: &str) -> Result<bool> {
    let entry = look::session(device, Which::Outgoing, text)?;
    Ok(entry.context("there is no such session")?.frozen)
}

fn asked_once(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let early = forged(&device, "early", 2)?;
    let other = forged(&device, "other", 1)?;
    early.freeze()?;
    counts(3, 2)?;
    forge::clear_calls()?;
    enter(&device, State::Frozen)?;
    same("frozen by the event", forge::calls()?.len(), 1)?;
    counts(3, 3)?;
    device.cancel()?;
    counts(3, 0)?;
    drop((early, other));
    counts(0, 0)
}

fn fixed(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let early = session(&device, "early", 3)?;
    let other = session(&device, "other", 1)?;
    early.add_dependency(Token(1), Needed::Here(Token(2)))?;
    early.freeze()?;
    let file = memory("fixed", 9)?;
    refused(early.preserve_fd(&file, Token(9)), Errno::EBUSY)?;
    is_free(&file)?;
    refused(early.unpreserve_fd(Token(3)), Errno::EBUSY)?;
    let more = early.add_dependency(Token(1), Needed::Here(Token(3)));
    refused(more, Errno::EBUSY)?;
    let less = early.drop_dependency(Token(1), Needed::Here(Token(2)));
    refused(less, Errno::EBUSY)?;
    let on_it = other.add_dependency(Token(1), Needed::In(name("early"), Token(3)));
    refused(on_it, Errno::EBUSY)?;
    // The others go on.
    other.preserve_fd(&file, Token(2))?;
    Ok(other.unpreserve_fd(Token(1))?)
}

fn queries(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let early = session(&device, "early", 2)?;
    ensure!(!is_frozen(&device, "early")?, "nobody has frozen it");
    early.freeze()?;
    ensure!(is_frozen(&device, "early")?, "it is not shown as frozen");
    same("its name", early.name()?, name("early"))?;
    same("its files", statuses(&early)?, vec![FileStatus::Frozen; 2])?;
    early.list_dependencies(Token(1))?;
    let shown = look::fdinfo(&early)?;
    let frozen = shown.iter().filter(|(_, line)| line.contains("frozen"));
    same("lines of fdinfo", frozen.count(), 2)?;
    let features = device.info()?.features;
    ensure!(features & FEATURE_SESSION_FREEZE != 0, "no feature of it");
    state_is(&device, State::Normal)
}

fn short(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    session(&device, "first", 0)?.freeze()?;
    let session = session(&device, "short", 1)?;
    for size in [0, 4, 7] {
        let mut argument = SessionFreeze { size, reserved: 0 };
        let answer = raw::ioctl(&session, contract::SESSION_FREEZE, argument.as_mut_bytes());
        refused(answer, Errno::EINVAL).with_context(|| format!("size {size}"))?;
    }
    Ok(session.freeze()?)
}

fn close(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let early = forged(&device, "early", 2)?;
    early.freeze()?;
    counts(2, 2)?;
    drop(early);
    counts(0, 0)?;
    let file = memory("close", 1)?;
    let again = session(&device, "early", 0)?;
    again.preserve_fd(&file, FIRST)?;
    again.freeze()?;
    is_held(&file)?;
    drop(again);
    is_free(&file)
}

fn cancel(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    for state in [State::Prepared, State::Frozen] {
        let early = forged(&device, "early", 2)?;
        early.freeze()?;
        enter(&device, state)?;
        counts(2, 2)?;
        device.cancel()?;
        counts(2, 0)?;
        ensure!(!is_frozen(&device, "early")?, "it is frozen after {state}");
        // It is as if it had not been.
        early.unpreserve_fd(Token(1))?;
        early.freeze()?;
        counts(1, 1)?;
    }
    Ok(())
}

fn failing_freeze(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let early = forged(&device, "early", 1)?;
    early.freeze()?;
    let other = forged(&device, "other", 1)?;
    device.prepare()?;
    let fault = Fault::Freeze(ODD).inject()?;
    refused(device.freeze(), ODD)?;
    drop(fault);
    state_is(&device, State::Normal)?;
    counts(2, 0)?;
    early.unpreserve_fd(Token(1))?;
    drop(other);
    counts(0, 0)
}

fn refused_reboot(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let early = forged(&device, "early", 1)?;
    early.freeze()?;
    let (one, other) = (session(&device, "one", 1)?, session(&device, "other", 1)?);
    one.add_dependency(Token(1), Needed::In(name("other"), Token(1)))?;
    drop(other);
    refused(Err::<(), _>(context.refused_kexec()?), Errno::ENOLINK)?;
    state_is(&device, State::Normal)?;
    counts(1, 0)?;
    Ok(early.unpreserve_fd(Token(1))?)
}

fn late(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let (early, other) = (forged(&device, "early", 1)?, forged(&device, "other", 1)?);
    device.prepare()?;
    early.freeze()?;
    counts(2, 1)?;
    device.freeze()?;
    counts(2, 2)?;
    refused(other.freeze(), Errno::EBUSY)?;
    // What comes when all are frozen is not, until its owner says so, or the reboot comes.
    let late = forged(&device, "late", 1)?;
    counts(3, 2)?;
    late.freeze()?;
    counts(3, 3)?;
    device.cancel()?;
    counts(3, 0)
}

fn veto(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let early = forged(&device, "early", 3)?;
    let faults = [
        Fault::Freeze(ODD).inject()?,
        Fault::FreezePasses(1).inject()?,
    ];
    refused(early.freeze(), ODD)?;
    drop(faults);
    counts(3, 0)?;
    ensure!(!is_frozen(&device, "early")?, "it is frozen");
    let errors: Vec<_> = early.list_files()?.iter().map(|file| file.error).collect();
    same("whose veto it was", errors, vec![None, Some(ODD), None])?;
    early.preserve_fd(memory("veto", 4)?, Token(4))?;
    early.freeze()?;
    same("its files", statuses(&early)?, vec![FileStatus::Frozen; 4])
}

fn needed(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let (vm, disk) = (forged(&device, "vm", 1)?, forged(&device, "disk", 1)?);
    vm.add_dependency(Token(1), Needed::In(name("disk"), Token(1)))?;
    refused(disk.freeze(), Errno::EBUSY)?;
    counts(2, 0)?;
    vm.freeze()?;
    disk.freeze()?;
    counts(2, 2)
}

fn missing_one(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let (vm, disk) = (forged(&device, "vm", 1)?, forged(&device, "disk", 1)?);
    vm.add_dependency(Token(1), Needed::In(name("disk"), Token(1)))?;
    drop(disk);
    refused(vm.freeze(), Errno::ENOLINK)?;
    counts(1, 0)?;
    vm.drop_dependency(Token(1), Needed::In(name("disk"), Token(1)))?;
    Ok(vm.freeze()?)
}

/// Who has frozen its session is killed: it is undone as at any close.
fn killed(_: &mut Context<'_>) -> Result<()> {
    session(&device()?, "first", 0)?.freeze()?;
    let file = memory("killed", 1)?;
    let mut owner = Child::start(Role::Own(Step::FreezeSession), "owner", file.try_clone()?)?;
    owner.ready()?;
    is_held(&file)?;
    owner.kill()?;
    is_free(&file)?;
    let again = session(&device()?, "owner", 0)?;
    again.preserve_fd(&file, FIRST)?;
    Ok(again.freeze()?)
}

/// A session that a user makes on a device that is open to all.
fn users(user: u32, text: &str) -> Result<Session> {
    let delegated = Delegated::new()?;
    let session = as_user(user, || Ok(Device::open()?.create_session(&name(text))?))?;
    drop(delegated);
    Ok(session)
}

/// A user's freeze does not end: each event passes over it, and it goes on afterwards.
fn of_a_user(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    session(&device, "first", 0)?.freeze()?;
    let [user, _] = USERS;
    let session = users(user, "slow")?;
    let file = forge::open()?;
    let _kinds = AllKinds::new()?;
    as_user(user, || Ok(session.preserve_fd(&file, Token(1))?))?;
    let callback = format!("freeze:{}", forge::id(&file)?);
    let freeze = || as_user(user, || Ok(session.freeze()?));
    let events = [Event::Prepare, Event::Freeze, Event::Cancel];
    passed_over(&device, callback, freeze, &events)?;
    same("its files", statuses(&session)?, vec![FileStatus::Frozen])
}

/// The administrator's session does not wait until a user's file that needs it is frozen.
fn by_a_user(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let disk = session(&device, "disk", 1)?;
    session(&device, "first", 0)?.freeze()?;
    let [user, _] = USERS;
    let hers = users(user, "hers")?;
    let file = memory("hers", 1)?;
    as_user(user, || {
        hers.preserve_fd(&file, Token(1))?;
        // Shown the descriptor, it may.
        Ok(hers.add_dependency_of(Token(1), &disk, Token(1))?)
    })?;
    disk.freeze()?;
    as_user(user, || Ok(hers.freeze()?))
}

fn leave(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, "freeze-incoming", 2)?;
    session.freeze()?;
    context.hold(session);
    Ok(())
}

fn incoming_session(_: &mut Context<'_>) -> Result<()> {
    let session = incoming("freeze-incoming")?;
    refused(session.freeze(), Errno::EINVAL)?;
    for token in [1, 2] {
        retrieve(&session, "freeze-incoming", token)?;
    }
    refused(session.freeze(), Errno::EINVAL)?;
    Ok(session.finish()?)
}

const AT_FREEZE: u64 = 777;

/// What its handler saw when its owner froze it is what arrives.
fn leave_moved(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let mut held = Vec::new();
    for (text, early) in [("early", true), ("other", false)] {
        let session = session(&device, text, 0)?;
        let mut file = memory(text, 1)?;
        session.preserve_fd(&file, FIRST)?;
        file.seek(SeekFrom::Start(AT_FREEZE))?;
        if early {
            session.freeze()?;
        }
        file.seek(SeekFrom::Start(AT_FREEZE + 1))?;
        held.push((session, file));
    }
    enter(&device, State::Frozen)?;
    context.hold(held);
    Ok(())
}

fn moved(_: &mut Context<'_>) -> Result<()> {
    for (text, position) in [("early", AT_FREEZE), ("other", AT_FREEZE + 1)] {
        let session = incoming(text)?;
        let mut file = File::from(session.retrieve_fd(FIRST)?);
        same(text, file.stream_position()?, position)?;
        verify(&file, text, 1).context("the content")?;
        session.finish()?;
    }
    Ok(())
}

/// It took part in the prepare, so it stays when it is closed.
fn leave_closed(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let early = session(&device, "early", 2)?;
    context.hold(session(&device, "other", 1)?);
    device.prepare()?;
    early.freeze()?;
    drop(early);
    Ok(())
}

fn arrived(_: &mut Context<'_>) -> Result<()> {
    for (text, files) in [("early", 2), ("other", 1)] {
        let session = incoming(text)?;
        for token in 1..=files {
            retrieve(&session, text, token)?;
        }
        session.finish()?;
    }
    Ok(())
}
