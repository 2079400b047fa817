// SPDX-License-Identifier: GPL-2.0-only
//! The Live Update Orchestrator's host in the Linux kernel.
//!
//! The engine, `luo_core`, decides; `luo_calls` knows what programs may call; this crate
//! acts for both in the kernel:
//!
//! - [`host`]: the engine under its lock, and [`luo_core::Host`] for the kernel.
//! - [`handler`]: file handlers, as the engine calls them; [`handlers`]: those in Rust.
//! - [`callbacks`]: FLBs and subsystems, as the engine calls them.
//! - [`boot`]: what happens at boot: parameter, previous kernel's root, device.
//! - [`device`] and [`session`]: `/dev/liveupdate` and a session's descriptor, which
//!   hand what is called to `luo_calls`; [`program`]: the process that calls.
//! - [`state`]: where the machine is in an update, for those who watch.
//! - [`policy`]: what the administrator decides.
//! - [`reboot`]: what the reboot system call does; [`errands`]: what workers do for all, such
//!   as to read what the previous kernel left.
//! - [`registry`]: file handlers, FLBs and subsystems of others.
//! - `pci`: devices that go on running through a kexec.
//! - [`sys`]: everything unsafe, as safe wrappers.
//!
//! The C interface of `include/linux/liveupdate.h` is in [`sys::exports`]; the
//! initcalls and the attributes in sysfs are in `luo_shim.c`.

mod boot;
mod callbacks;
mod device;
mod errands;
mod errno;
mod handler;
mod handlers;
mod host;
#[cfg(CONFIG_PCI_LIVEUPDATE)]
mod pci;
mod policy;
mod program;
mod reboot;
mod registry;
mod say;
mod session;
mod state;
mod sys;

/// Kernel log prefix, that of the orchestrator in C.
const __LOG_PREFIX: &[u8] = b"luo\0";
