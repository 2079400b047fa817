// SPDX-License-Identifier: MIT OR Apache-2.0
//! What comes when everybody has agreed to an update already: mainline's calls work at
//! any time. What took part in the prepare does not change.

use std::io::{Seek as _, SeekFrom};

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Device, Errno, Needed, Session, State, Token};

use super::tools::{
    NO_DEPENDENCIES, NO_EVENTS, enter, incoming, is_free, is_held, memory, retrieve, session,
    state_is, verify,
};
use crate::case::{Case, Context, alone, here};
use crate::check::{device, name, refused, same};
use crate::child::{Child, Role};
use crate::difference::missing;
use crate::forge::{self, Fault};
use crate::patience::until;
use crate::vmm;

pub(super) const CASES: &[Case] = &[
    here("session-in-prepared-is-its-owners", |context| {
        own(context, State::Prepared)
    })
    .but(&[missing(NO_EVENTS)]),
    here("session-in-frozen-is-its-owners", |context| {
        own(context, State::Frozen)
    })
    .but(&[missing(NO_EVENTS)]),
    here("file-beside-one-that-took-part", beside).but(&[missing(NO_EVENTS)]),
    here("survives-a-cancel", survives).but(&[missing(NO_EVENTS)]),
    here("stays-with-a-closed-session", closed).but(&[missing(NO_EVENTS)]),
    here("a-closed-ones-name-is-free", |context| {
        started_anew(context, State::Prepared)
    })
    .but(&[missing(NO_EVENTS)]),
    here("a-closed-ones-name-is-free-in-frozen", |context| {
        started_anew(context, State::Frozen)
    })
    .but(&[missing(NO_EVENTS)]),
    alone(
        "one-in-a-closed-ones-place-goes-over",
        &[leave_again, arrived_again],
    )
    .but(&[missing(NO_EVENTS)]),
    here("is-not-asked-by-the-event", not_asked).but(&[missing(NO_EVENTS)]),
    here("needs-what-took-part", needs).but(&[missing(NO_EVENTS)]),
    alone("goes-over-from-prepared", &[leave_prepared, arrived]).but(&[missing(NO_EVENTS)]),
    alone("goes-over-from-frozen", &[leave_frozen, arrived]).but(&[missing(NO_EVENTS)]),
    alone("dependency-goes-over", &[leave_dependent, dependent]).but(&[missing(NO_DEPENDENCIES)]),
    here("what-it-misses-fails-no-event", misses).but(&[missing(NO_DEPENDENCIES)]),
    alone("what-it-misses-loses-it-alone", &[leave_missing, missed])
        .but(&[missing(NO_DEPENDENCIES)]),
    alone(
        "a-client-of-cpr-luos-shape-in-normal",
        &[vmm_in_normal, vmm_arrived],
    ),
    alone(
        "a-client-of-cpr-luos-shape-in-prepared",
        &[vmm_in_prepared, vmm_arrived],
    )
    .but(&[missing(NO_EVENTS)]),
    alone(
        "a-client-of-cpr-luos-shape-in-frozen",
        &[vmm_in_frozen, vmm_arrived],
    )
    .but(&[missing(NO_EVENTS)]),
    alone("sessions-of-the-previous-kernel", &[leave_stuck, taken]).but(&[missing(NO_EVENTS)]),
    alone("frozen-anew-by-the-reboot", &[leave_moved, moved]).but(&[missing(NO_EVENTS)]),
];

/// As in any other state: preserved at once, taken back, and undone at the close.
fn own(_: &mut Context<'_>, state: State) -> Result<()> {
    let device = device()?;
    let before = session(&device, "before", 1)?;
    enter(&device, state)?;
    let files = [memory("late", 1)?, memory("late", 2)?];
    let late = device.create_session(&name("late"))?;
    for (file, token) in files.iter().zip(1..) {
        late.preserve_fd(file, Token(token))?;
        is_held(file)?;
    }
    late.unpreserve_fd(Token(1))?;
    is_free(&files[0])?;
    drop(late);
    is_free(&files[1])?;
    device.create_session(&name("late"))?;
    state_is(&device, state)?;
    drop(before);
    Ok(device.cancel()?)
}

fn beside(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "beside", 1)?;
    enter(&device, State::Prepared)?;
    let file = memory("beside", 2)?;
    session.preserve_fd(&file, Token(2))?;
    refused(session.unpreserve_fd(Token(1)), Errno::EBUSY)?;
    session.unpreserve_fd(Token(2))?;
    is_free(&file)?;
    Ok(device.cancel()?)
}

/// Then it is one like any other, and takes part the next time.
fn survives(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let before = session(&device, "before", 1)?;
    for state in [State::Prepared, State::Frozen] {
        enter(&device, state)?;
        let files = [memory("survives", 1)?, memory("survives", 2)?];
        let late = device.create_session(&name("late"))?;
        late.preserve_fd(&files[0], Token(1))?;
        before.preserve_fd(&files[1], Token(2))?;
        device.cancel()?;
        is_held(&files[0])?;
        is_held(&files[1])?;
        enter(&device, State::Prepared)?;
        refused(late.unpreserve_fd(Token(1)), Errno::EBUSY)?;
        refused(before.unpreserve_fd(Token(2)), Errno::EBUSY)?;
        device.cancel()?;
        before.unpreserve_fd(Token(2))?;
    }
    Ok(())
}

/// A session that took part is kept when it is closed, with all that is in it.
fn closed(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "closed", 1)?;
    enter(&device, State::Prepared)?;
    let file = memory("closed", 2)?;
    session.preserve_fd(&file, Token(2))?;
    drop(session);
    is_held(&file)?;
    device.cancel()?;
    is_free(&file)
}

/// Who has died since everybody agreed, and is started anew, has its name and its memory again,
/// as on mainline.
fn started_anew(_: &mut Context<'_>, state: State) -> Result<()> {
    let device = device()?;
    let file = memory("anew", 1)?;
    let before = session(&device, "anew", 0)?;
    before.preserve_fd(&file, Token(1))?;
    let other = session(&device, "other", 1)?;
    enter(&device, state)?;
    refused(device.create_session(&name("anew")), Errno::EEXIST)?;
    drop(before);
    let again = device.create_session(&name("anew"))?;
    is_free(&file)?;
    again.preserve_fd(&file, Token(1))?;
    is_held(&file)?;
    state_is(&device, state)?;
    device.cancel()?;
    is_held(&file)?;
    // What others need is not let go of.
    again.unpreserve_fd(Token(1))?;
    again.preserve_fd(&file, Token(1))?;
    other.add_dependency(Token(1), Needed::In(name("anew"), Token(1)))?;
    enter(&device, state)?;
    drop(again);
    refused(device.create_session(&name("anew")), Errno::EEXIST)?;
    is_held(&file)?;
    Ok(device.cancel()?)
}

fn leave_again(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let before = session(&device, "again", 2)?;
    context.hold(session(&device, "before", 1)?);
    enter(&device, State::Frozen)?;
    drop(before);
    context.hold(session(&device, "again", 1)?);
    Ok(())
}

fn arrived_again(_: &mut Context<'_>) -> Result<()> {
    for text in ["before", "again"] {
        let session = incoming(text)?;
        same("its files", session.list_files()?.len(), 1)?;
        retrieve(&session, text, 1)?;
        session.finish()?;
    }
    Ok(())
}

/// A file that comes late is frozen by the reboot alone, and cannot veto the event.
fn not_asked(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "asked", 0)?;
    session.preserve_fd(forge::open()?, Token(1))?;
    enter(&device, State::Prepared)?;
    session.preserve_fd(forge::open()?, Token(2))?;
    device.freeze()?;
    same("preserved and frozen", forge::counts()?, (2, 1))?;
    device.cancel()?;
    same("preserved and frozen", forge::counts()?, (2, 0))
}

fn needs(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "needs", 1)?;
    enter(&device, State::Prepared)?;
    session.preserve_fd(memory("needs", 2)?, Token(2))?;
    session.add_dependency(Token(2), Needed::Here(Token(1)))?;
    let back = session.add_dependency(Token(1), Needed::Here(Token(2)));
    refused(back, Errno::EBUSY)?;
    session.drop_dependency(Token(2), Needed::Here(Token(1)))?;
    Ok(device.cancel()?)
}

fn leave(context: &mut Context<'_>, state: State) -> Result<()> {
    let device = device()?;
    let before = session(&device, "before", 1)?;
    enter(&device, state)?;
    before.preserve_fd(memory("before", 2)?, Token(2))?;
    context.hold(session(&device, "late", 2)?);
    context.hold(before);
    Ok(())
}

fn leave_prepared(context: &mut Context<'_>) -> Result<()> {
    leave(context, State::Prepared)
}

fn leave_frozen(context: &mut Context<'_>) -> Result<()> {
    leave(context, State::Frozen)
}

fn arrived(_: &mut Context<'_>) -> Result<()> {
    for text in ["before", "late"] {
        let session = incoming(text)?;
        retrieve(&session, text, 1)?;
        retrieve(&session, text, 2)?;
        session.finish()?;
    }
    Ok(())
}

fn leave_dependent(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let before = session(&device, "before", 1)?;
    // What mainline lacks is said first.
    before.list_dependencies(Token(1))?;
    enter(&device, State::Prepared)?;
    let late = session(&device, "late", 1)?;
    late.add_dependency(Token(1), Needed::In(name("before"), Token(1)))?;
    context.hold(late);
    context.hold(before);
    Ok(())
}

fn dependent(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let late = device.retrieve_session(&name("late"))?;
    let needs = late.list_dependencies(Token(1))?;
    ensure!(needs.len() == 1, "it needs {needs:?}");
    let before = device.retrieve_session(&name("before"))?;
    retrieve(&before, "before", 1)?;
    retrieve(&late, "late", 1)?;
    late.finish()?;
    Ok(before.finish()?)
}

/// A late session needs a file of another that goes. What took part stands beside them.
fn missing_one(device: &Device) -> Result<[Session; 2]> {
    let before = session(device, "before", 1)?;
    // What mainline lacks is said first.
    before.list_dependencies(Token(1))?;
    enter(device, State::Prepared)?;
    let late = session(device, "late", 2)?;
    let other = session(device, "other", 1)?;
    late.add_dependency(Token(1), Needed::In(name("other"), Token(1)))?;
    let needs = late.list_dependencies(Token(1))?;
    same("what it needs", needs.len(), 1)?;
    drop(other);
    Ok([before, late])
}

/// What a late file needs is looked for when the reboot freezes. The event FREEZE does not ask
/// late files.
fn misses(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let [before, late] = missing_one(&device)?;
    device.freeze()?;
    refused(Err::<(), _>(context.refused_kexec()?), Errno::ENOLINK)?;
    let failure = device.failure()?;
    same("whose it is", failure.session, Some(name("late")))?;
    state_is(&device, State::Normal)?;
    same("files that took part", before.list_files()?.len(), 1)?;
    same("files that came late", late.list_files()?.len(), 2)
}

fn leave_missing(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    context.hold(missing_one(&device)?);
    Ok(device.freeze()?)
}

fn missed(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    same("lost files", device.info()?.lost_files, 1)?;
    let late = device.retrieve_session(&name("late"))?;
    refused(late.retrieve_fd(Token(1)), Errno::ENOTRECOVERABLE)?;
    let files = late.list_files()?;
    let lost = files.iter().find(|file| file.token == Token(1));
    let why = lost.and_then(|file| file.error);
    same("why it is lost", why, Some(Errno::ENOLINK))?;
    retrieve(&late, "late", 2)?;
    late.finish()?;
    let before = device.retrieve_session(&name("before"))?;
    retrieve(&before, "before", 1)?;
    Ok(before.finish()?)
}

/// The session of the program that is like QEMU.
const VMM: &str = "qemu";

/// The program comes when the machine is in a state already, and writes until the processors
/// stop.
fn vmm(context: &mut Context<'_>, state: State) -> Result<()> {
    let before = if state == State::Normal {
        None
    } else {
        let device = device()?;
        let before = session(&device, "before", 1)?;
        enter(&device, state)?;
        Some(before)
    };
    let block = vmm::shared_block()?;
    let mut child = Child::start(Role::Vmm, VMM, block.try_clone()?)?;
    child.ready()?;
    is_held(&block)?;
    // The guest goes on, whatever the machine is in.
    let begun = vmm::steps(&block)?;
    until("a step", || Ok(vmm::steps(&block)? > begun + 1))?;
    context.note("steps", vmm::steps(&block)?);
    context.hold((before, child));
    Ok(())
}

fn vmm_in_normal(context: &mut Context<'_>) -> Result<()> {
    vmm(context, State::Normal)
}

fn vmm_in_prepared(context: &mut Context<'_>) -> Result<()> {
    vmm(context, State::Prepared)
}

fn vmm_in_frozen(context: &mut Context<'_>) -> Result<()> {
    vmm(context, State::Frozen)
}

fn vmm_arrived(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(VMM)?;
    vmm::verify(&session, context.noted("steps")?)?;
    Ok(session.finish()?)
}

fn leave_stuck(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let session = session(&device, "stuck", 0)?;
    session.preserve_fd(forge::open()?, Token(7))?;
    context.hold(session);
    Ok(())
}

/// A session that outlives the event FINISH is retrieved from and finished while the
/// machine is frozen.
fn taken(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let fault = Fault::FinishRefusals(9).inject()?;
    drop(device.retrieve_session(&name("stuck"))?);
    device.finish_update()?;
    drop(fault);
    enter(&device, State::Frozen)?;
    let session = device.retrieve_session(&name("stuck"))?;
    session.retrieve_fd(Token(7))?;
    session.finish()?;
    drop(session);
    device.cancel()?;
    state_is(&device, State::Normal)
}

const MOVED: u64 = 777;

/// What a handler saw at the event is not what arrives: its owner was still there.
fn leave_moved(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let mut file = memory("moved", 1)?;
    let session = session(&device, "moved", 0)?;
    session.preserve_fd(&file, Token(1))?;
    enter(&device, State::Frozen)?;
    file.seek(SeekFrom::Start(MOVED))?;
    context.hold((session, file));
    Ok(())
}

fn moved(_: &mut Context<'_>) -> Result<()> {
    let session = incoming("moved")?;
    let mut file = std::fs::File::from(session.retrieve_fd(Token(1))?);
    same("the position", file.stream_position()?, MOVED)?;
    verify(&file, "moved", 1).context("the content")?;
    Ok(session.finish()?)
}
