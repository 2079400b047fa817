// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest of [Cloud Hypervisor](https://www.cloudhypervisor.org) as a workload of luod, with no
//! change to it: its *offload* protocol hands a guest over to a daemon of ours, memory as
//! descriptors, and takes it back under the next kernel.
//!
//! | module | concern |
//! |---|---|
//! | [`command`] | the command line, and how it ends ([`exit`]) |
//! | [`given`] | what a command line of cloud-hypervisor may have, and what of it stays |
//! | [`process`] | its process: started, watched, ended |
//! | [`api`] | its control socket: HTTP over a Unix socket |
//! | [`protocol`] | the messages of an offload |
//! | [`offload`] | the conversation: a guest out of its process, and into the next one |
//! | [`memory`] | which memory is the guest's |
//! | [`state`] | what is not memory, as bytes |
//! | [`begin`] | first start, and coming back after a jump |
//! | [`guest`] | how it is stopped for an update, and goes on if that is called off |
//!
//! ```text
//!  first start: cloud-hypervisor runs the guest; its memory is found in its descriptors
//!                          v
//!  .--> takes part --> prepare: the memory and empty room are preserved; the guest runs on
//!  |         ^             v
//!  |         '-cancel-- freeze: pause, send-migration: descriptors, configuration and state come
//!  |     the last          v    here, and the last message stays without an answer
//!  |   answer is no     ==== kexec ====  (cloud-hypervisor waits for it until then)
//!  |                       v
//!  |                    claim: a new cloud-hypervisor gets memory, configuration and state
//!  |                       v
//!  '--- finish <--- the state is marked as used, the guest resumes
//! ```
#![forbid(unsafe_code)]

pub mod api;
pub mod begin;
pub mod command;
pub mod exit;
pub mod given;
pub mod guest;
pub mod memory;
pub mod offload;
pub mod process;
pub mod protocol;
pub mod state;
