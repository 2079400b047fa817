// SPDX-License-Identifier: MIT OR Apache-2.0
//! The project's laboratory: builds kernels and an initramfs, boots QEMU,
//! drives kexec and collects results.
//!
//! [`lab::Lab`] is where to enter: it goes from a checkout to a machine that
//! has run a [`run::scenario::Scenario`]. The table of scenarios is in
//! [`run::scenarios`], that of kernels in [`build::variant`]. [`judge`] makes test
//! cases out of what a machine said. The command line is not here but in `xtask`.
//!
//! Four rooms, each of which knows only those to its left:
//!
//! ```text
//! fetch                   build                                    run                judge
//! prereq, apt ─ toolchain  source (patches, overlay, tree)          load, scenario(s)  console
//!      ├────── linux       kernel (variant, kconfig, make)          qemu ─ shell       verdict
//!      └────── debian      guest, selftests, clients, systemd                          timeline
//!                          └ initramfs
//! ```
//!
//! Below all of them are [`cache`], which keeps whatever takes time under a name made of
//! its inputs, [`process`], [`progress`], [`interrupt`] and [`page`]. Above them
//! are [`mod@bench`], [`mod@profile`] and [`mod@lab`].
#![forbid(unsafe_code)]

pub mod bench;
pub mod build;
pub mod cache;
pub mod fetch;
pub mod interrupt;
pub mod judge;
pub mod lab;
pub mod page;
pub mod process;
pub mod profile;
pub mod progress;
pub mod room;
pub mod run;
