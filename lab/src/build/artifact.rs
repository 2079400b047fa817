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
    /// The modules of KVM, of each kernel that the guest runs
    /// ([`crate::build::variant::Setup::modules`]).
    Kvm,
    /// A root of Debian's and our packages in place of our own init
    /// ([`crate::build::systemd`]).
    SystemdRoot(Release),
}
