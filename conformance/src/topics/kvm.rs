// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual machines of KVM come back as new ones that are set up like the old ones, and their
//! memory (guest_memfd, in [`memory`]) as it was.

mod memory;
mod tools;

use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result, ensure};
use kvm_bindings::{
    KVM_CAP_HALT_POLL, KVM_CAP_MAX_VCPU_ID, KVM_CAP_SPLIT_IRQCHIP, KVM_CAP_X2APIC_API,
    KVM_PIT_SPEAKER_DUMMY, kvm_irqchip, kvm_pit_config,
};
use kvm_ioctls::VmFd;
use luo_sys::kvm::descriptor;
use luo_sys::{Errno, Session, State, Token, kvm};

use super::tools::{FIRST, NO_EVENTS, enter, incoming, session, state_is, untouched};
use crate::case::{Case, Context, alone, here, shared};
use crate::check::{device, refused, same};
use crate::child::{Child, Role};
use crate::difference::{Differs, Expect, answers, missing, simulated};
use crate::forge::{self, Fault, ODD};
use tools::{enable, kvm_refuses, machine, open};

const NOT_SIMULATED: Differs = simulated(Expect::Absent("the simulator has no virtual machines"));

const NO_KVM: &[Differs] = &[
    answers(Errno::ENOENT, "mainline has handlers of memfds only"),
    NOT_SIMULATED,
];

const NO_KVM_EVENTS: &[Differs] = &[missing(NO_EVENTS), NOT_SIMULATED];

pub(super) const CASES: &[Case] = &[
    here("one-machine-is-preserved-once", once).but(NO_KVM),
    here("taken-out-it-can-be-preserved-again", again).but(NO_KVM),
    here("it-is-usable-while-it-is-preserved", usable).but(NO_KVM),
    here("a-refused-kexec-leaves-it-as-it-is", vetoed).but(NO_KVM),
    here("a-cancelled-update-leaves-it-as-it-is", cancelled).but(NO_KVM_EVENTS),
    here("set-up-by-too-many-calls-it-is-refused", too_many).but(NO_KVM),
    here("a-call-that-is-repeated-counts-once", repeated).but(NO_KVM),
    shared("a-machine-of-nothing-comes-back", leave_plain, plain).but(NO_KVM),
    shared("its-controllers-and-its-timer-come-back", leave_full, full).but(NO_KVM),
    shared("its-capabilities-come-back", leave_split, split).but(NO_KVM),
    shared("what-is-enabled-later-comes-back", leave_late, split).but(NO_KVM),
    shared("whoever-calls-first-has-it", leave_plain, claimed).but(NO_KVM),
    shared("each-retrieve-gives-the-same", leave_plain, same_each_time).but(NO_KVM),
    shared("one-that-nobody-wants-is-let-go-of", leave_full, unwanted).but(NO_KVM),
    shared("it-goes-on-once-more", leave_split, leave_again).but(NO_KVM),
    here("memory-needs-its-machine", memory::alone_refused).but(NO_KVM),
    here(
        "memory-without-its-machine-fails-the-update",
        memory::missing_one,
    )
    .but(NO_KVM),
    here("memory-that-is-not-shared-is-refused", memory::private).but(NO_KVM),
    here("memory-is-held-still", memory::held).but(NO_KVM),
    here("frozen-memory-gets-no-page", memory::frozen).but(NO_KVM_EVENTS),
    here("a-refused-kexec-leaves-memory-as-it-is", memory::vetoed).but(NO_KVM),
    shared("memory-comes-back", memory::leave, memory::as_it_was).but(NO_KVM),
    shared(
        "its-machine-comes-back-before",
        memory::leave,
        memory::first,
    )
    .but(NO_KVM),
    shared(
        "memory-written-later-comes-back",
        memory::leave_late,
        memory::late,
    )
    .but(NO_KVM),
    shared(
        "a-guest-goes-on-with-it",
        memory::leave_guest,
        memory::guest,
    )
    .but(NO_KVM),
    shared(
        "memory-that-nobody-wants-is-let-go-of",
        memory::leave,
        memory::unwanted,
    )
    .but(NO_KVM),
    alone(
        "unclaimed-they-go-on",
        &[memory::leave_guest, untouched, memory::guest],
    )
    .but(NO_KVM),
];

/// The most processors of a machine that has [`KVM_CAP_MAX_VCPU_ID`].
const MOST: u64 = 4;

fn own() -> Result<Session> {
    session(&device()?, "machines", 0)
}

fn once(context: &mut Context<'_>) -> Result<()> {
    let (session, machine) = (own()?, machine(context)?);
    session.preserve_fd(descriptor(&machine), Token(1))?;
    let again = session.preserve_fd(descriptor(&machine), Token(2));
    refused(again, Errno::EBUSY)?;
    let same = descriptor(&machine).try_clone_to_owned()?;
    refused(session.preserve_fd(same, Token(2)), Errno::EBUSY)?;
    let other = tools::machine(context)?;
    Ok(session.preserve_fd(descriptor(&other), Token(2))?)
}

fn again(context: &mut Context<'_>) -> Result<()> {
    let machine = machine(context)?;
    for _ in 0..2 {
        let session = own()?;
        session.preserve_fd(descriptor(&machine), Token(1))?;
        session.unpreserve_fd(Token(1))?;
        session.preserve_fd(descriptor(&machine), Token(1))?;
        drop(session);
    }
    works(&machine)
}

/// Asserts that a machine can be used.
fn works(machine: &VmFd) -> Result<()> {
    let made = machine.create_vcpu(0).context("KVM_CREATE_VCPU")?;
    made.get_regs().context("KVM_GET_REGS").map(drop)
}

fn usable(context: &mut Context<'_>) -> Result<()> {
    let (session, machine) = (own()?, machine(context)?);
    session.preserve_fd(descriptor(&machine), Token(1))?;
    enable(&machine, KVM_CAP_SPLIT_IRQCHIP, 24)?;
    works(&machine)
}

fn vetoed(context: &mut Context<'_>) -> Result<()> {
    let (session, machine) = (own()?, machine(context)?);
    session.preserve_fd(descriptor(&machine), Token(1))?;
    session.preserve_fd(forge::open()?, Token(2))?;
    let fault = Fault::Freeze(ODD).inject()?;
    same("the error", context.refused_kexec()?.errno(), ODD)?;
    drop(fault);
    works(&machine)
}

fn cancelled(context: &mut Context<'_>) -> Result<()> {
    let machine = machine(context)?;
    let device = device()?;
    let session = session(&device, "machines", 0)?;
    enter(&device, State::Normal)?;
    session.preserve_fd(descriptor(&machine), Token(1))?;
    enter(&device, State::Frozen)?;
    works(&machine)?;
    device.cancel()?;
    state_is(&device, State::Normal)
}

/// More different calls than are noted.
fn too_many(context: &mut Context<'_>) -> Result<()> {
    let (session, machine) = (own()?, machine(context)?);
    for nanoseconds in 0..33 {
        enable(&machine, KVM_CAP_HALT_POLL, nanoseconds)?;
    }
    let preserved = session.preserve_fd(descriptor(&machine), Token(1));
    refused(preserved, Errno::EOPNOTSUPP)
}

fn repeated(context: &mut Context<'_>) -> Result<()> {
    let (session, machine) = (own()?, machine(context)?);
    for nanoseconds in (0..99).map(|number| number % 3) {
        enable(&machine, KVM_CAP_HALT_POLL, nanoseconds)?;
    }
    Ok(session.preserve_fd(descriptor(&machine), Token(1))?)
}

/// Leaves a machine; it stays open.
fn leave(context: &mut Context<'_>, machine: VmFd) -> Result<()> {
    let session = session(&*context.device()?, context.own_name(), 0)?;
    session.preserve_fd(descriptor(&machine), FIRST)?;
    context.hold(session);
    context.hold(machine);
    Ok(())
}

/// Takes one back, and ends its session.
fn arrived(context: &mut Context<'_>) -> Result<VmFd> {
    let session = incoming(context.own_name())?;
    let file = session.retrieve_fd(FIRST)?;
    session.finish()?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let kind = rustix::fs::readlink(path, Vec::new())?;
    same("what it is", kind.to_str()?, "anon_inode:kvm-vm")?;
    Ok(kvm::machine(&open(context)?, file)?)
}

fn leave_plain(context: &mut Context<'_>) -> Result<()> {
    let machine = machine(context)?;
    leave(context, machine)
}

/// No such device: what KVM says of one that is not in the kernel.
const ENXIO: Errno = match Errno::check(-6) {
    Err(errno) => errno,
    Ok(_) => Errno::EIO,
};

/// What is not in the kernel of one that was set up with nothing.
fn plain(context: &mut Context<'_>) -> Result<()> {
    let machine = arrived(context)?;
    kvm_refuses(machine.get_pit2(), ENXIO)?;
    kvm_refuses(machine.get_irqchip(&mut kvm_irqchip::default()), ENXIO)?;
    // It has none of the capability's bound.
    machine.create_vcpu(MOST + 1).context("a processor")?;
    works(&machine)
}

fn leave_full(context: &mut Context<'_>) -> Result<()> {
    let machine = machine(context)?;
    machine.create_irq_chip().context("KVM_CREATE_IRQCHIP")?;
    let timer = kvm_pit_config {
        flags: KVM_PIT_SPEAKER_DUMMY,
        ..kvm_pit_config::default()
    };
    machine.create_pit2(timer).context("KVM_CREATE_PIT2")?;
    leave(context, machine)
}

fn full(context: &mut Context<'_>) -> Result<()> {
    let machine = arrived(context)?;
    machine.get_pit2().context("KVM_GET_PIT2")?;
    let mut chip = kvm_irqchip::default();
    machine.get_irqchip(&mut chip).context("KVM_GET_IRQCHIP")?;
    kvm_refuses(machine.create_irq_chip(), Errno::EEXIST)?;
    let again = machine.create_pit2(kvm_pit_config::default());
    kvm_refuses(again, Errno::EEXIST)?;
    works(&machine)
}

/// Enables some in an order that matters: the third wants the second.
fn set_up(machine: &VmFd) -> Result<()> {
    const SUPPRESS_EOI_BROADCAST: u64 = 1 << 2;
    enable(machine, KVM_CAP_MAX_VCPU_ID, MOST)?;
    enable(machine, KVM_CAP_SPLIT_IRQCHIP, 24)?;
    enable(machine, KVM_CAP_X2APIC_API, SUPPRESS_EOI_BROADCAST)
}

fn leave_split(context: &mut Context<'_>) -> Result<()> {
    let machine = machine(context)?;
    set_up(&machine)?;
    leave(context, machine)
}

/// What is enabled between PRESERVE_FD and the freeze comes along.
fn leave_late(context: &mut Context<'_>) -> Result<()> {
    let machine = machine(context)?;
    let session = session(&*context.device()?, context.own_name(), 0)?;
    session.preserve_fd(descriptor(&machine), FIRST)?;
    set_up(&machine)?;
    context.hold(session);
    context.hold(machine);
    Ok(())
}

fn split(context: &mut Context<'_>) -> Result<()> {
    let machine = arrived(context)?;
    is_split(&machine)?;
    works(&machine)
}

fn is_split(machine: &VmFd) -> Result<()> {
    kvm_refuses(machine.create_irq_chip(), Errno::EEXIST)?;
    ensure!(machine.get_pit2().is_err(), "there is a timer");
    kvm_refuses(machine.create_vcpu(MOST), Errno::EINVAL)
}

/// A machine belongs to a process's memory: who takes it back may pass it on.
fn claimed(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let file = session.retrieve_fd(FIRST)?;
    session.finish()?;
    let child = Child::start(Role::Machine, "", file.try_clone()?)?;
    same("how the child ends", child.ended()?.code(), Some(0))?;
    let machine = kvm::machine(&open(context)?, file)?;
    kvm_refuses(machine.create_vcpu(1), Errno::EIO)
}

fn same_each_time(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let (one, other) = (session.retrieve_fd(FIRST)?, session.retrieve_fd(FIRST)?);
    session.finish()?;
    let kvm = open(context)?;
    let (one, other) = (kvm::machine(&kvm, one)?, kvm::machine(&kvm, other)?);
    one.create_vcpu(0).context("KVM_CREATE_VCPU")?;
    kvm_refuses(other.create_vcpu(0), Errno::EEXIST)
}

fn unwanted(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    session.finish()?;
    refused(session.retrieve_fd(FIRST), Errno::ENOENT).context("after the finish")
}

/// What has come back can be preserved like any other, and has still what it was set up with.
fn leave_again(context: &mut Context<'_>) -> Result<()> {
    let machine = arrived(context)?;
    let session = own()?;
    session.preserve_fd(descriptor(&machine), FIRST)?;
    drop(session);
    is_split(&machine)?;
    works(&machine)
}
