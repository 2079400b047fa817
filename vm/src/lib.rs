// SPDX-License-Identifier: MIT OR Apache-2.0
//! x
#![forbid(unsafe_code)]
pub mod apt;
pub mod cache;
pub mod guest;
pub mod initramfs;
pub mod interrupt;
pub mod kconfig;
pub mod kernel;
pub mod make;
pub mod overlay;
pub mod patches;
pub mod prereq;
pub mod progress;
pub mod run;
pub mod selftests;
pub mod source;
pub mod toolchain;
pub mod tree;
pub mod variant;
