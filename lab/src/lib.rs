// SPDX-License-Identifier: MIT OR Apache-2.0
//! The project's laboratory: builds kernels and an initramfs, boots QEMU,
//! drives kexec and collects results.
//!
//! [`lab::Lab`] is where to enter: it goes from a checkout to a machine that
//! has run a [`scenario::Scenario`]. The table of scenarios is in
//! [`scenarios`], that of kernels in [`variant`]. [`judge`] makes test cases
//! out of what a machine said. The command line is not here but in `xtask`.
//!
//! ```text
//! prereq  apt ── toolchain ─┐                        guest ─┐
//!          └──── source ────┼─ kernel (kconfig, make) ──────┼─ initramfs ─ qemu ─ judge
//!   patches, overlay, tree ─┘  selftests, clients ──────────┤        │
//!                     apt ── debian ── systemd (package) ───┘  timeline, bench
//! ```
//!
//! Everything that takes time is kept in [`cache`], named by its inputs.
#![forbid(unsafe_code)]

pub mod apt;
pub mod bench;
pub mod cache;
pub mod checks;
pub mod clients;
pub mod console;
pub mod debian;
pub mod fuzz;
pub mod guest;
pub mod initramfs;
pub mod interrupt;
pub mod judge;
pub mod kconfig;
pub mod kernel;
pub mod lab;
pub mod make;
pub mod overlay;
pub mod package;
pub mod patches;
pub mod prereq;
pub mod progress;
pub mod qemu;
pub mod run;
pub mod scenario;
pub mod scenarios;
pub mod selftests;
pub mod shell;
pub mod source;
pub mod systemd;
pub mod timeline;
pub mod toolchain;
pub mod tree;
pub mod variant;
