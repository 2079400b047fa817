// SPDX-License-Identifier: MIT OR Apache-2.0
//! What of a guest goes over a jump as a descriptor, beside its RAM.
//!
//! | token | file | needs |
//! |---|---|---|
//! | a region's | RAM: a memfd, or a guest_memfd | a guest_memfd: its VM, which the kernel itself declares |
//! | [`VM`] | the descriptor of the VM | |
//! | [`RUNG`] | the doorbell's eventfd: what the guest writes (ioeventfd) | |
//! | [`LINE`] | the doorbell's other eventfd: its interrupt (irqfd) | |
//!
//! The kernel takes a guest_memfd only if its VM is in the session, so the VM is preserved before
//! RAM. On the way back any order will do: whoever asks for the memory has its VM restored first.

use std::fs::File;
use std::os::fd::BorrowedFd;

use luo_client::memory::LAST;
use luo_client::{Session, Token};

use crate::doorbell::Doorbell;
use crate::exit::Error;
use crate::ram::Ram;
use crate::system::System;
use crate::vm::Vm;

/// The VM.
pub const VM: Token = Token(LAST.0 + 1);

/// The eventfd on which the guest rings.
pub const RUNG: Token = Token(LAST.0 + 2);

/// The eventfd of the doorbell's interrupt.
pub const LINE: Token = Token(LAST.0 + 3);

/// What goes over the jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// RAM, in a memfd. Each kernel takes that.
    #[default]
    Ram,
    /// The machine: its VM, RAM in a guest_memfd, and the eventfds of a doorbell that it gets. It
    /// takes kernels that have handlers for all three.
    Machine,
}

/// Files, each with its token.
pub type Files<'a> = Vec<(Token, BorrowedFd<'a>)>;

/// What goes over a jump with RAM, where the machine itself does.
pub struct Kept {
    /// The VM that RAM is the memory of. The guest runs in it, unless it was used up: see [`home`].
    pub vm: Vm,
    /// The doorbell.
    pub doorbell: Doorbell,
}

impl Kept {
    /// Of a VM at the guest's first start.
    ///
    /// # Errors
    /// [`Error::Monitor`]: there is no descriptor to be had.
    pub fn new(vm: &Vm) -> Result<Self, Error> {
        let (vm, doorbell) = (vm.clone(), Doorbell::new()?);
        Ok(Self { vm, doorbell })
    }

    /// Takes back what came over a jump. KVM is not called with the VM.
    ///
    /// # Errors
    /// As `RETRIEVE_FD`, [`Error::Kvm`]; it can be tried again.
    pub fn take(session: &Session, heard: u64) -> Result<Self, Error> {
        let file = |token| {
            let file = session.retrieve_fd(token);
            file.map_err(luo_client::memory::Error::from)
        };
        let vm = System::open()?.adopt(file(VM)?)?;
        let doorbell = Doorbell::of(file(RUNG)?, file(LINE)?, heard);
        Ok(Self { vm, doorbell })
    }

    /// What is preserved of it. RAM comes after it.
    #[must_use]
    pub fn files(&self) -> Files<'_> {
        vec![
            (VM, self.vm.descriptor()),
            (RUNG, self.doorbell.rung()),
            (LINE, self.doorbell.line()),
        ]
    }
}

/// The VM in which a guest goes on, with its RAM: the one that came, or else a new one.
///
/// A VM that another luo-vmm has called KVM with is that one's for good, also if it was killed before
/// the guest went on. Then the guest runs in a new VM, whose RAM is the same memory by its mapping,
/// and the VM that came goes over the next jump with that memory, as it came.
///
/// # Errors
/// [`Error::NotResumed`]; [`Error::Kvm`] if KVM has no machine for it.
pub fn home(system: &System, kept: Option<&Kept>, ram: &Ram, file: &File) -> Result<Vm, Error> {
    let (vm, own) = match kept {
        Some(kept) if kept.vm.is_ours()? => (kept.vm.clone(), Some(file)),
        _ => {
            let vm = system.create()?;
            vm.furnish()?;
            (vm, None)
        }
    };
    vm.give(ram, own).map_err(Error::not_resumed)?;
    Ok(vm)
}
