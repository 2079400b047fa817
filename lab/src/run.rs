// SPDX-License-Identifier: MIT OR Apache-2.0
//! Machines that run: what they shall do, and QEMU.

pub mod checked;
pub mod load;
pub mod qemu;
pub mod scenario;
pub mod scenarios;
pub mod shell;
