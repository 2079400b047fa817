// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a machine boots from: kernels, and the roots of its guests.

pub mod artifact;
pub mod clients;
pub mod cloud_linux;
pub mod guest;
pub mod initramfs;
pub mod kconfig;
pub mod kernel;
pub mod make;
pub mod objtool;
pub mod overlay;
pub mod package;
pub mod panics;
pub mod patches;
pub mod qemu;
pub mod selftests;
pub mod source;
pub mod systemd;
pub mod tree;
pub mod variant;
