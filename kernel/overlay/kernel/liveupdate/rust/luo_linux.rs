// SPDX-License-Identifier: GPL-2.0-only
//! The Live Update Orchestrator's host in the Linux kernel.
//!
//! The engine, `luo_core`, decides; this crate acts for it in the kernel:
//!
//! - [`host`]: the engine under its lock, and [`luo_core::Host`] for the kernel.
//! - [`boot`]: what happens at boot: parameter, previous kernel's root, device.
//! - [`device`] and [`session`]: the ioctls of `/dev/liveupdate` and of a
//!   session's descriptor, over [`argument`].
//! - [`reboot`]: the freeze in the reboot system call.
//! - [`registry`]: file handlers and FLBs of other subsystems.
//! - [`sys`]: everything unsafe, as safe wrappers.
//!
//! The C interface of `include/linux/liveupdate.h` is in [`sys::exports`]; the
//! initcalls are in `luo_shim.c`.

mod argument;
mod boot;
mod device;
mod errno;
mod host;
mod reboot;
mod registry;
mod say;
mod session;
mod sys;

/// Kernel log prefix, that of the orchestrator in C.
const __LOG_PREFIX: &[u8] = b"luo\0";

/// The built-in "module" that owns the device's file operations.
struct LocalModule;

impl kernel::ModuleMetadata for LocalModule {
    const NAME: &'static kernel::str::CStr = c"luo";
    const THIS_MODULE: kernel::ThisModule = sys::module::BUILT_IN;
}
