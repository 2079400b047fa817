// SPDX-License-Identifier: GPL-2.0-only

//! Where C calls, is called, and lends memory: all that is unsafe in live updates for drivers.

pub(super) mod files;
pub(super) mod handler;
pub(super) mod memory;
pub(super) mod page;
#[cfg(CONFIG_PCI_LIVEUPDATE)]
pub mod pci;
pub(super) mod session;
pub(super) mod subsystem;

#[cfg(CONFIG_LIVEUPDATE_RUST_KUNIT_TEST)]
mod tests;
