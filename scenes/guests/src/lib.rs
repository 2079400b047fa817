// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scenes with a guest: a real QEMU, `luo-qemu` and the agent go through updates, on the
//! simulator (the tests of this crate) and on a real kernel (the lab's scenarios `guests-*`). And
//! the same with `luo-vmm`, which takes KVM: on a real kernel only (`vmm-*`).
//!
//! | module | concern |
//! |---|---|
//! | [`bare`] | the bare guest of `luo-vmm`, which sees by itself when it stood still |
//! | [`command`] | the roles of a program with the scenes built in |
//! | [`image`] | the guest, which counts and proves its memory |
//! | [`keeper`] | a workload that takes the scene's files over a jump |
//! | [`linux`] | two guests with Linux, and a TCP connection between them |
//! | [`machine`] | what a scene is made of: the agent, a guest, and looking at both |
//! | [`monitor`] | as `machine` and `scene`, with `luo-vmm` |
//! | [`offload`] | as `machine` and `scene`, with `luo-ch` and a peer in place of cloud-hypervisor |
//! | [`scene`] | what happens, boot by boot |
//! | `steps` | when a luo-qemu was done with each of its steps |
//! | [`talk`] | the guest that talks to another one |
//! | [`ticks`] | when a guest counts, on a clock that goes on over a kexec |
//! | [`mod@write`] | the guest that writes to its disks |
#![forbid(unsafe_code)]

pub mod bare;
pub mod command;
pub mod image;
pub mod keeper;
pub mod linux;
pub mod machine;
pub mod monitor;
pub mod offload;
mod patience;
pub mod scene;
mod steps;
pub mod talk;
pub mod ticks;
mod watch;
pub mod write;
