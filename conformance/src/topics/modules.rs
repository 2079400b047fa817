// SPDX-License-Identifier: MIT OR Apache-2.0
//! A handler that is written in Rust, in a module: its files, and how long they keep it.

use std::fs::File;

use anyhow::{Result, ensure};
use luo_sys::{Device, Errno, Needed, ParticipantKind, Session, State, Token};

use super::tools::{FIRST, enter, incoming, memory, retrieve, session, state_is};
use crate::case::{Case, Context, alone, here};
use crate::check::{device, kept, refused, refused_file, same};
use crate::difference::{Differs, Expect, absent, simulated};
use crate::kmsg::Reader;
use crate::slot::{self, Module};

/// Neither has a driver that needs this orchestrator.
const DIFFERS: &[Differs] = &[
    absent("drivers in Rust have files for this project's orchestrator only"),
    simulated(Expect::Absent("the simulator loads no modules")),
];

pub(super) const CASES: &[Case] = &[
    here("its-handler-is-there-while-it-is-loaded", listed).but(DIFFERS),
    here("a-preserved-file-keeps-it", keeps).but(DIFFERS),
    here("a-cancelled-update-leaves-a-file-as-it-is", cancelled).but(DIFFERS),
    here("what-a-file-needs-is-a-dependency", needs).but(DIFFERS),
    alone("a-file-comes-back", &[leave, arrive]).but(DIFFERS),
    alone("what-a-file-needs-comes-back-first", &[leave_both, first]).but(DIFFERS),
    alone("damaged-data-is-refused-alone", &[leave_damaged, damaged]).but(DIFFERS),
    alone(
        "what-waits-keeps-it-and-goes-on",
        &[leave, nobody_comes, arrive],
    )
    .but(DIFFERS),
];

/// The session of those that go over: of cases that are alone.
const SESSION: &str = "modules";

/// A slot that holds a number.
fn holding(number: u64) -> Result<File> {
    let slot = slot::open()?;
    slot::set(&slot, number)?;
    Ok(slot)
}

/// Asserts that the module cannot be unloaded.
fn is_kept(module: &Module) -> Result<()> {
    refused_file(module.unload(), Errno::EAGAIN)
}

fn is_listed(device: &Device) -> Result<bool> {
    let mut listed = device.list_participants()?.into_iter();
    Ok(listed
        .any(|entry| entry.kind == ParticipantKind::FileHandler && entry.name == slot::HANDLER))
}

fn listed(context: &mut Context<'_>) -> Result<()> {
    let module = Module::load(context)?;
    let device = device()?;
    ensure!(is_listed(&device)?, "it is not listed");
    module.unload()?;
    ensure!(!is_listed(&device)?, "it is still listed");
    let module = Module::load(context)?;
    ensure!(is_listed(&device)?, "it is not listed again");
    Ok(module.unload()?)
}

/// The open file keeps it as well, so what is preserved is closed.
fn keeps(context: &mut Context<'_>) -> Result<()> {
    let module = Module::load(context)?;
    let session = session(&device()?, "modules", 0)?;
    session.preserve_fd(holding(1)?, FIRST)?;
    is_kept(&module)?;
    session.unpreserve_fd(FIRST)?;
    module.unload()?;
    let module = Module::load(context)?;
    session.preserve_fd(holding(1)?, FIRST)?;
    is_kept(&module)?;
    drop(session);
    Ok(module.unload()?)
}

fn cancelled(context: &mut Context<'_>) -> Result<()> {
    let _module = Module::load(context)?;
    let device = device()?;
    let session = session(&device, "modules", 0)?;
    let slot = holding(1)?;
    session.preserve_fd(&slot, FIRST)?;
    refused(session.preserve_fd(&slot, Token(2)), Errno::EBUSY)?;
    enter(&device, State::Frozen)?;
    slot::set(&slot, 2)?;
    device.cancel()?;
    state_is(&device, State::Normal)?;
    same("the number", slot::number(&slot)?, 2)?;
    session.unpreserve_fd(FIRST)?;
    Ok(session.preserve_fd(&slot, FIRST)?)
}

fn needed_by(session: &Session, token: u64) -> Result<Vec<u64>> {
    let entries = session.list_dependencies(Token(token))?;
    Ok(entries.into_iter().map(|entry| entry.token.0).collect())
}

fn needs(context: &mut Context<'_>) -> Result<()> {
    let module = Module::load(context)?;
    let device = device()?;
    let session = session(&device, "modules", 0)?;
    let (memory, slot) = (memory("modules", 1)?, holding(1)?);
    slot::need(&slot, &memory)?;
    // Not without it.
    refused(session.preserve_fd(&slot, Token(2)), Errno::ENOENT)?;
    session.preserve_fd(&memory, Token(1))?;
    session.preserve_fd(&slot, Token(2))?;
    same("what 2 needs", needed_by(&session, 2)?, vec![1])?;
    let back = session.add_dependency(Token(1), Needed::Here(Token(2)));
    refused(back, Errno::ELOOP)?;
    session.unpreserve_fd(Token(1))?;
    refused(device.prepare(), Errno::ENOLINK)?;
    drop((session, slot));
    Ok(module.unload()?)
}

/// Leaves a slot, whose number changes once more after it is preserved.
fn leave(context: &mut Context<'_>) -> Result<()> {
    let module = Module::load(context)?;
    let session = session(&*context.device()?, SESSION, 0)?;
    let slot = holding(76)?;
    session.preserve_fd(&slot, FIRST)?;
    slot::set(&slot, 77)?;
    context.hold(session);
    context.hold(slot);
    context.hold(module);
    Ok(())
}

fn arrive(context: &mut Context<'_>) -> Result<()> {
    let module = Module::load(context)?;
    let session = incoming(SESSION)?;
    let slot = File::from(session.retrieve_fd(FIRST)?);
    kept("the number", slot::number(&slot)?, 77)?;
    slot::set(&slot, 78)?;
    session.finish()?;
    // It is a file like any other of the device: used, and preserved again.
    same("the number", slot::number(&slot)?, 78)?;
    session_again(&slot)?;
    is_kept(&module)?;
    drop((session, slot));
    state_is(&device()?, State::Normal)?;
    Ok(module.unload()?)
}

fn session_again(slot: &File) -> Result<()> {
    let session = session(&device()?, "modules again", 0)?;
    Ok(session.preserve_fd(slot, FIRST)?)
}

/// The kernel itself takes it back and preserves it again.
fn nobody_comes(context: &mut Context<'_>) -> Result<()> {
    let module = Module::load(context)?;
    state_is(&device()?, State::Updated)?;
    is_kept(&module)?;
    context.hold(module);
    Ok(())
}

fn leave_both(context: &mut Context<'_>) -> Result<()> {
    let module = Module::load(context)?;
    let session = session(&*context.device()?, SESSION, 0)?;
    let (memory, slot) = (memory(SESSION, 1)?, holding(77)?);
    slot::need(&slot, &memory)?;
    session.preserve_fd(&memory, Token(1))?;
    session.preserve_fd(&slot, Token(2))?;
    context.hold(session);
    context.hold(module);
    Ok(())
}

/// The slot has the file again: that very one is what it needs from then on.
fn first(context: &mut Context<'_>) -> Result<()> {
    let module = Module::load(context)?;
    let arrived = incoming(SESSION)?;
    let slot = File::from(arrived.retrieve_fd(Token(2))?);
    kept("the number", slot::number(&slot)?, 77)?;
    let memory_back = retrieve(&arrived, SESSION, 1)?;
    arrived.finish()?;
    let session = session(&device()?, "modules again", 0)?;
    session.preserve_fd(memory(SESSION, 1)?, Token(5))?;
    refused(session.preserve_fd(&slot, Token(7)), Errno::ENOENT)?;
    session.preserve_fd(&memory_back, Token(6))?;
    session.preserve_fd(&slot, Token(7))?;
    same("what 7 needs", needed_by(&session, 7)?, vec![6])?;
    drop((arrived, session, slot));
    Ok(module.unload()?)
}

fn leave_damaged(context: &mut Context<'_>) -> Result<()> {
    let module = Module::load(context)?;
    let session = session(&*context.device()?, SESSION, 0)?;
    let (damaged, good) = (holding(76)?, holding(77)?);
    slot::spoil(&damaged)?;
    session.preserve_fd(damaged, Token(1))?;
    session.preserve_fd(good, Token(2))?;
    context.hold(session);
    context.hold(module);
    Ok(())
}

fn damaged(context: &mut Context<'_>) -> Result<()> {
    let module = Module::load(context)?;
    let session = incoming(SESSION)?;
    let mut log = Reader::from_now()?;
    for _ in 0..2 {
        refused(session.retrieve_fd(Token(1)), Errno::EINVAL)?;
    }
    let told = log.read()?.into_iter();
    let told = told.filter(|message| message.text.starts_with("luo_slot: what a slot has left"));
    same("lines of the log", told.count(), 1)?;
    let slot = File::from(session.retrieve_fd(Token(2))?);
    kept("the number", slot::number(&slot)?, 77)?;
    session.finish()?;
    drop((session, slot));
    Ok(module.unload()?)
}
