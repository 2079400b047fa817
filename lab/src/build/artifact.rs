// SPDX-License-Identifier: MIT OR Apache-2.0
//! What takes time to build and what not every guest needs.

use crate::fetch::systemd::Release;

/// Something that a guest has only if its scenario asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Artifact {
    /// The kernel tree's own selftests ([`crate::build::selftests`]).
    Selftests,
    /// Our own test programs in C ([`crate::build::clients`]).
    Clients,
    /// A shell, for people.
    Shell,
    /// QEMU, with its firmware and libraries ([`crate::fetch::qemu`]).
    Qemu,
    /// A Linux of Debian's for guests of the machine's own ([`crate::fetch::cloud_linux`]).
    CloudLinux,
    /// The modules of KVM, of each kernel that the guest runs
    /// ([`crate::build::variant::Variant::modules`]).
    Kvm,
    /// As that, the module of slots, which kernels with the orchestrator in Rust have.
    Slot,
    /// A root of Debian's and our packages in place of our own init
    /// ([`crate::build::systemd`]).
    SystemdRoot(Release),
}

impl Artifact {
    /// Those that are modules of kernels.
    pub const OF_MODULES: [Self; 2] = [Self::Kvm, Self::Slot];
}
