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

use std::os::fd::OwnedFd;

use luo_client::memory::LAST;
use luo_client::{Session, Token};

use crate::exit::Error;

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

/// What has come over a jump of a machine, beside its RAM.
pub struct Came {
    /// The VM. Nobody has called KVM with it, or a process that has ended since.
    pub vm: OwnedFd,
    /// The eventfd on which the guest rings, with what nobody has heard yet.
    pub rung: OwnedFd,
    /// That of the doorbell's interrupt.
    pub line: OwnedFd,
}

/// Takes back what goes with a machine.
///
/// # Errors
/// As `RETRIEVE_FD`; it can be tried again.
pub fn take(session: &Session) -> Result<Came, Error> {
    let file = |token| {
        session
            .retrieve_fd(token)
            .map_err(luo_client::memory::Error::from)
    };
    Ok(Came {
        vm: file(VM)?,
        rung: file(RUNG)?,
        line: file(LINE)?,
    })
}
