// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory of virtual machines (guest_memfd), and the machines that it needs.

use std::os::fd::OwnedFd;

use anyhow::{Result, ensure};
use kvm_ioctls::VmFd;
use luo_sys::kvm::{self, descriptor};
use luo_sys::{Cause, Errno, FileStatus, MappedFile, Session, State, Token};

use super::tools::{
    FROM, SHARED, SIZE, TO, enable, fallocate, fill, give, is_filled, load, machine, map, memory,
    open, run, touch, word,
};
use crate::case::Context;
use crate::check::{device, kept, refused, refused_file, same};
use crate::forge::{self, Fault, ODD};
use crate::topics::tools::{enter, incoming, session, state_is};

/// The tokens of a machine and of its memory.
const MACHINE: Token = Token(1);
const MEMORY: Token = Token(2);

/// Pages that are written to, one that is allocated only, and one that is not there.
const WRITTEN: [usize; 3] = [0, 5, 6];
const ALLOCATED: usize = 9;
const HOLE: usize = 12;

/// What a case about one kernel has.
struct Guest {
    machine: VmFd,
    memory: OwnedFd,
    map: MappedFile,
}

impl Guest {
    fn new(context: &Context<'_>) -> Result<Self> {
        let machine = machine(context)?;
        let memory = memory(&machine)?;
        let map = map(&memory)?;
        fill(&map, &WRITTEN)?;
        fallocate(&memory, ALLOCATED, false)?;
        Ok(Self {
            machine,
            memory,
            map,
        })
    }

    fn preserve(&self, session: &Session) -> Result<()> {
        session.preserve_fd(descriptor(&self.machine), MACHINE)?;
        Ok(session.preserve_fd(&self.memory, MEMORY)?)
    }
}

fn needs(session: &Session) -> Result<Vec<u64>> {
    let entries = session.list_dependencies(MEMORY)?;
    Ok(entries.into_iter().map(|entry| entry.token.0).collect())
}

pub(super) fn alone_refused(context: &mut Context<'_>) -> Result<()> {
    let guest = Guest::new(context)?;
    let device = device()?;
    let (session, other) = (
        session(&device, "memory", 0)?,
        session(&device, "other", 0)?,
    );
    refused(session.preserve_fd(&guest.memory, MEMORY), Errno::ENOENT)?;
    // A machine that it is not of, or one in another session, is none.
    let wrong = machine(context)?;
    session.preserve_fd(descriptor(&wrong), Token(3))?;
    refused(session.preserve_fd(&guest.memory, MEMORY), Errno::ENOENT)?;
    other.preserve_fd(descriptor(&guest.machine), MACHINE)?;
    refused(session.preserve_fd(&guest.memory, MEMORY), Errno::ENOENT)?;
    other.preserve_fd(&guest.memory, MEMORY)?;
    same("what it needs", needs(&other)?, vec![MACHINE.0])
}

/// What it needs is a dependency: an update without it fails, and names both.
pub(super) fn missing_one(context: &mut Context<'_>) -> Result<()> {
    let guest = Guest::new(context)?;
    let device = device()?;
    let session = session(&device, "memory", 0)?;
    guest.preserve(&session)?;
    same("what it needs", needs(&session)?, vec![MACHINE.0])?;
    session.unpreserve_fd(MACHINE)?;
    let names_both = || {
        let failure = device.failure()?;
        same("the cause", failure.cause, Cause::Dependency)?;
        same("the file", failure.token, MEMORY)?;
        same("what it misses", failure.on_token, MACHINE)
    };
    // Whether the reboot itself freezes, or the update is announced.
    refused(Err::<(), _>(context.refused_kexec()?), Errno::ENOLINK)?;
    names_both()?;
    refused(device.prepare(), Errno::ENOLINK)?;
    names_both()?;
    // Both anew, and all is well.
    session.unpreserve_fd(MEMORY)?;
    guest.preserve(&session)?;
    enter(&device, State::Frozen)?;
    device.cancel()?;
    state_is(&device, State::Normal)
}

pub(super) fn private(context: &mut Context<'_>) -> Result<()> {
    let guest = Guest::new(context)?;
    let session = session(&device()?, "memory", 0)?;
    session.preserve_fd(descriptor(&guest.machine), MACHINE)?;
    for flags in [0, kvm::MEMORY_MMAP, kvm::MEMORY_INIT_SHARED] {
        let memory = kvm::create_memory(&guest.machine, SIZE, flags)?;
        refused(session.preserve_fd(&memory, MEMORY), Errno::EOPNOTSUPP)?;
    }
    let memory = kvm::create_memory(&guest.machine, SIZE, SHARED)?;
    Ok(session.preserve_fd(&memory, MEMORY)?)
}

/// No page goes while it is preserved, and what is in it can be changed.
pub(super) fn held(context: &mut Context<'_>) -> Result<()> {
    let guest = Guest::new(context)?;
    let session = session(&device()?, "memory", 0)?;
    guest.preserve(&session)?;
    refused_file(fallocate(&guest.memory, WRITTEN[0], true), Errno::EPERM)?;
    refused_file(fallocate(&guest.memory, HOLE, false), Errno::EPERM)?;
    fill(&guest.map, &[HOLE, ALLOCATED])?;
    ensure!(is_filled(&guest.map, WRITTEN[1])?, "its contents are gone");
    session.unpreserve_fd(MEMORY)?;
    fallocate(&guest.memory, WRITTEN[0], true)?;
    same("what was punched out", guest.map.load(0)?, 0)?;
    Ok(fallocate(&guest.memory, WRITTEN[0], false)?)
}

/// No page comes that was not there: neither by a program nor by the guest.
pub(super) fn frozen(context: &mut Context<'_>) -> Result<()> {
    let guest = Guest::new(context)?;
    load(&guest.map)?;
    give(&guest.machine, &guest.memory)?;
    let device = device()?;
    // To be declared for kernels without events: before anything is preserved.
    device.state()?;
    let session = session(&device, "memory", 0)?;
    guest.preserve(&session)?;
    enter(&device, State::Frozen)?;
    refused(touch(&guest.map, HOLE), Errno::EFAULT)?;
    let stopped = run(&guest.machine, 0)?;
    same("what the guest meets", stopped, Err(Errno::EBUSY.get()))?;
    // What was there is there.
    touch(&guest.map, ALLOCATED)?;
    fill(&guest.map, &WRITTEN)?;
    device.cancel()?;
    state_is(&device, State::Normal)?;
    touch(&guest.map, HOLE)?;
    same("what the guest says", run(&guest.machine, 1)?, Ok(1))
}

pub(super) fn vetoed(context: &mut Context<'_>) -> Result<()> {
    let guest = Guest::new(context)?;
    let session = session(&device()?, "memory", 0)?;
    guest.preserve(&session)?;
    session.preserve_fd(forge::open()?, Token(3))?;
    let fault = Fault::Freeze(ODD).inject()?;
    same("the error", context.refused_kexec()?.errno(), ODD)?;
    drop(fault);
    touch(&guest.map, HOLE)?;
    ensure!(is_filled(&guest.map, WRITTEN[1])?, "its contents are gone");
    Ok(())
}

/// Leaves a machine and its memory; they stay open.
fn leave_it(context: &mut Context<'_>, guest: Guest) -> Result<()> {
    let session = session(&*context.device()?, context.own_name(), 0)?;
    guest.preserve(&session)?;
    context.hold(session);
    context.hold(guest);
    Ok(())
}

pub(super) fn leave(context: &mut Context<'_>) -> Result<()> {
    let guest = Guest::new(context)?;
    leave_it(context, guest)
}

pub(super) fn as_it_was(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let memory = session.retrieve_fd(MEMORY)?;
    session.finish()?;
    let map = map(&memory)?;
    let size = rustix::fs::fstat(&memory)?.st_size;
    kept("the size", u64::try_from(size)?, SIZE)?;
    for page in WRITTEN {
        kept("a page", is_filled(&map, page)?, true)?;
    }
    for page in [ALLOCATED, HOLE] {
        kept("what nobody has written", map.load(page * 4096)?, 0)?;
    }
    // It is as memory of a machine is: it can be filled, and punched.
    fill(&map, &[HOLE])?;
    fallocate(&memory, WRITTEN[0], true)?;
    same("what was punched out", map.load(0)?, 0)
}

/// The memory alone is asked for: its machine is restored with it, and no other.
pub(super) fn first(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let memory = session.retrieve_fd(MEMORY)?;
    for file in session.list_files()? {
        same("the status of a file", file.status, FileStatus::Retrieved)?;
    }
    let found = session.retrieve_fd(MACHINE)?;
    session.finish()?;
    let found = kvm::machine(&open(context)?, found)?;
    let other = machine(context)?;
    ensure!(give(&other, &memory).is_err(), "it is another machine's");
    give(&found, &memory)
}

pub(super) fn leave_late(context: &mut Context<'_>) -> Result<()> {
    let guest = Guest::new(context)?;
    let map = map(&guest.memory)?;
    leave_it(context, guest)?;
    fill(&map, &[WRITTEN[0], ALLOCATED, HOLE])
}

pub(super) fn late(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let memory = session.retrieve_fd(MEMORY)?;
    session.finish()?;
    let map = map(&memory)?;
    for page in [WRITTEN[0], WRITTEN[1], ALLOCATED, HOLE] {
        kept("a page", is_filled(&map, page)?, true)?;
    }
    Ok(())
}

/// A guest that has run once, and says so.
pub(super) fn leave_guest(context: &mut Context<'_>) -> Result<()> {
    let guest = Guest::new(context)?;
    enable(&guest.machine, kvm_bindings::KVM_CAP_MAX_VCPU_ID, 3)?;
    load(&guest.map)?;
    guest.map.store(FROM * 4096, 40)?;
    give(&guest.machine, &guest.memory)?;
    same("what the guest says", run(&guest.machine, 0)?, Ok(41))?;
    same("what it has written", guest.map.load(TO * 4096)?, 41)?;
    guest.map.store(FROM * 4096, 76)?;
    leave_it(context, guest)
}

/// The guest's program, its memory and its machine are there: on a new processor it goes on.
pub(super) fn guest(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let (found, memory) = (session.retrieve_fd(MACHINE)?, session.retrieve_fd(MEMORY)?);
    session.finish()?;
    let (found, map) = (kvm::machine(&open(context)?, found)?, map(&memory)?);
    kept("what the guest had written", map.load(TO * 4096)?, 41)?;
    kept("a page", map.load(WRITTEN[1] * 4096)?, word(WRITTEN[1]))?;
    give(&found, &memory)?;
    same("what the guest says", run(&found, 2)?, Ok(77))?;
    same("what it has written", map.load(TO * 4096)?, 77)?;
    ensure!(found.create_vcpu(3).is_err(), "the capability is gone");
    Ok(())
}

pub(super) fn unwanted(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    session.finish()?;
    refused(session.retrieve_fd(MEMORY), Errno::ENOENT)
}
