// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Notes of KVM's files: a virtual machine, and memory of one (guest_memfd).

use core::mem::size_of;

use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// [`super::Head::magic`] of a virtual machine.
pub const KVM_VM_MAGIC: [u8; 16] = *b"luo-kvm-vm\0\0\0\0\0\0";

/// The name of the handler of virtual machines.
pub const KVM_VM: &str = "luo-kvm-vm-v1";

/// The most calls of KVM_ENABLE_CAP that are handed over: x86 knows 25 capabilities of a machine.
pub const MOST_CAPABILITIES: usize = 32;

/// A virtual machine: 1,312 bytes. Everything else that it had, its memory slots and processors
/// above all, is set anew by KVM's own calls.
#[repr(C, packed)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
pub struct KvmVm {
    /// What KVM_CREATE_VM was told: `KVM_X86_*_VM`.
    pub kind: u64,
    /// A number by which files of the machine know it again; not 0.
    pub identity: u64,
    /// [`IRQCHIP`] and the others.
    pub devices: u64,
    /// How many of the calls there are.
    pub count: u64,
    /// The calls of KVM_ENABLE_CAP that have succeeded, in their order.
    pub calls: [Capability; MOST_CAPABILITIES],
}

/// [`KvmVm::devices`]: interrupt controllers in the kernel, all of them (KVM_CREATE_IRQCHIP).
pub const IRQCHIP: u64 = 1;
/// [`KvmVm::devices`]: a timer in the kernel (KVM_CREATE_PIT2).
pub const PIT: u64 = 2;
/// [`KvmVm::devices`]: and the port of the speaker (`KVM_PIT_SPEAKER_DUMMY`).
pub const PIT_SPEAKER: u64 = 4;

/// What a call of KVM_ENABLE_CAP was told: 40 bytes.
#[repr(C, packed)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
pub struct Capability {
    /// `KVM_CAP_*`.
    pub cap: u32,
    /// Of KVM's structure.
    pub flags: u32,
    /// Of KVM's structure.
    pub args: [u64; 4],
}

/// [`super::Head::magic`] of memory of a virtual machine.
pub const GUEST_MEMFD_MAGIC: [u8; 16] = *b"luo-guest-memfd\0";

/// The name of the handler of memory of virtual machines.
pub const GUEST_MEMFD: &str = "luo-guest-memfd-v1";

/// Memory of a virtual machine: 32 bytes.
#[repr(C, packed)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
pub struct GuestMemfd {
    /// The token of the machine in the same session.
    pub machine: u64,
    /// The machine's [`KvmVm::identity`].
    pub identity: u64,
    /// What KVM_CREATE_GUEST_MEMFD was told: [`GUEST_MMAP`] and [`GUEST_INIT_SHARED`].
    pub flags: u64,
    /// Physical address of the head of its pages: that of a file of `luo-memfd-v1`.
    pub pages: u64,
}

/// [`GuestMemfd::flags`]: it can be mapped.
pub const GUEST_MMAP: u64 = 1;
/// [`GuestMemfd::flags`]: all of it is shared with the host.
pub const GUEST_INIT_SHARED: u64 = 2;

const _: () = {
    assert!(size_of::<Capability>() == 40);
    assert!(size_of::<KvmVm>() == 1312);
    assert!(size_of::<GuestMemfd>() == 32);
};
