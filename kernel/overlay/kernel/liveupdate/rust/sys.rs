// SPDX-License-Identifier: GPL-2.0-only
//! Everything unsafe, as safe wrappers; each says on which invariant it rests.

pub(crate) mod account;
pub(crate) mod device_file;
#[cfg(CONFIG_EVENTFD)]
pub(crate) mod eventfd;
pub(crate) mod exports;
pub(crate) mod file;
pub(crate) mod flb;
pub(crate) mod handler_table;
pub(crate) mod kexec;
pub(crate) mod kho;
#[cfg(CONFIG_LIVEUPDATE_KVM_RUST)]
pub(crate) mod kvm;
pub(crate) mod lent;
pub(crate) mod line;
pub(crate) mod log;
#[cfg(CONFIG_LIVEUPDATE_MEMFD_RUST)]
pub(crate) mod memfd;
pub(crate) mod memory;
pub(crate) mod module;
#[cfg(CONFIG_PCI_LIVEUPDATE)]
pub(crate) mod pci;
pub(crate) mod pipe;
pub(crate) mod random;
pub(crate) mod seq;
pub(crate) mod session_file;
pub(crate) mod subsystem;
pub(crate) mod sysfs;
pub(crate) mod task;
#[cfg(CONFIG_TIMERFD)]
pub(crate) mod timerfd;
pub(crate) mod wait;
pub(crate) mod workqueue;
