// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Which PCI devices the previous kernel has left running: a page with a head, which is that of a
//! note ([`Head`]), and behind it a [`Device`] for each, and for each bridge above one.
//! `luo_core::pci` writes and reads it.

use core::mem::size_of;

use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::handover::BLOCK_SIZE;
use crate::note::Head;

/// The name of the object that drivers of PCI devices share (FLB).
pub const PCI: &str = "luo-pci-v1";

/// [`Head::magic`].
pub const PCI_MAGIC: [u8; 16] = *b"luo-pci\0\0\0\0\0\0\0\0\0";

/// A device or a bridge: 8 bytes. They are in ascending order of where they are.
#[repr(C, packed)]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
pub struct Device {
    /// Its domain.
    pub domain: u32,
    /// Its bus in the upper byte, its slot in the next five bits, its function in the last three.
    pub bdf: u16,
    /// How many devices that go on are here, or, of a bridge, below: at least 1.
    pub uses: u16,
}

/// Devices and bridges that there is room for.
pub const MOST: usize = (BLOCK_SIZE - size_of::<Head>()) / size_of::<Device>();

const _: () = {
    assert!(size_of::<Device>() == 8);
    assert!(MOST == 506);
};
