// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The two ABIs of the Live Update Orchestrator, as data.
//!
//! - [`uapi`]: what user space and the kernel say to each other through
//!   `/dev/liveupdate`: ioctl numbers and argument structures.
//! - [`rfc`]: the calls of the original proposal (RFC v2), on the same device.
//! - [`contract`]: the calls that neither has: dependencies, queries.
//! - [`calls`]: all of these calls in one table, with what is true of each.
//! - [`extend`]: the size-first rule by which those structures grow, as one
//!   function.
//! - [`handover`]: what one kernel leaves in memory for the next: the `luo-v5`
//!   structures and the block format that carries them.
//! - [`supplement`]: what this orchestrator hands over beside it: dependencies,
//!   subsystems.
//! - [`memfd`]: what a memfd leaves for the next kernel, in mainline's format and in ours.
//! - [`note`]: what an eventfd leaves, and other small files.
//! - [`pci`]: which PCI devices were left running.
//! - [`bytes`]: a structure's bytes, at an offset of a page.
//! - [`errno`]: the error numbers that cross either boundary.
//!
//! Nothing here decides anything or does I/O; the engine is `luo-core`. The
//! kernel compiles these very files (edition 2021, `no_std`, no `alloc`), so
//! they use nothing but `core` and zerocopy.
#![cfg_attr(not(CONFIG_LIVEUPDATE_RUST), no_std)] // The kernel's build says so itself.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::panic
    )
)]

#[cfg(test)]
extern crate std;

pub mod bytes;
pub mod calls;
pub mod contract;
pub mod errno;
pub mod extend;
pub mod handover;
pub mod memfd;
pub mod note;
pub mod pci;
pub mod rfc;
pub mod supplement;
pub mod uapi;
