// SPDX-License-Identifier: MIT OR Apache-2.0
//! What comes from outside: Debian's packages, tools, the machine's own packages.

pub mod apt;
pub mod cloud_linux;
pub mod debian;
pub mod linux;
pub mod prereq;
pub mod program;
pub mod qemu;
pub mod systemd;
pub mod toolchain;
pub mod varlinkctl;
