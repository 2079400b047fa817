// SPDX-License-Identifier: MIT OR Apache-2.0
//! A small monitor of virtual machines whose guests go on under the next kernel: the reference
//! that authors of other monitors copy from. It is made of the rust-vmm crates, and has what a
//! guest cannot do without, and little else: RAM, processors, interrupt controllers and a timer
//! in the kernel, a serial port; and, where the VM itself goes along, a doorbell.
//!
//! | module | concern |
//! |---|---|
//! | [`command`] | the command line, and how it ends ([`exit`]) |
//! | [`system`] | the descriptor of `/dev/kvm`: what this KVM offers |
//! | [`vm`] | the descriptor of a virtual machine |
//! | [`vcpu`] | the descriptor of a processor: its state out and in, in the order that KVM needs |
//! | [`ram`] | the descriptor of RAM, a memfd or memory of the VM's own |
//! | [`preserved`] | the descriptors that go over a jump with RAM: the VM's, and those of the doorbell |
//! | [`model`] | the processor that a guest sees |
//! | [`boot`] | a program into RAM: Linux, or a flat binary |
//! | [`serial`] | the serial port; [`said`]: what it says, on its way out |
//! | [`doorbell`] | a device of two eventfds: one that the guest writes, one that interrupts it |
//! | [`run`] | a guest that runs, and how it is stopped |
//! | [`machine`] | all of that together: made, saved, restored |
//! | [`clocks`] | what the guest's clocks say after it stood still |
//! | [`state`] | a guest's state as bytes, and the rules by which that may change |
//! | [`begin`] | first start, and coming back after a jump |
//! | [`service`] | how it is stopped and goes on as a workload |
//!
//! What each such monitor has is [`luo_monitor`]: the workload's life, and the state in preserved
//! memory.
//!
//! ```text
//!                         first start: RAM is made, the guest is loaded and runs
//!                          v
//!  .--> takes part --> prepare: RAM and empty room are preserved; the guest runs on
//!  |         ^             v
//!  |         '-cancel-- freeze: the processors stop; their state is written, with length and digest
//!  |      it runs on       v
//!  |                ==== kexec ====
//!  |                       v
//!  |                    claim: RAM is mapped, KVM takes the state
//!  |                       v
//!  '--- finish <--- the clocks are set, the state is marked as used, the guest runs
//! ```
//!
//! Nothing is finished before the guest runs: until then all of it can be tried again.
#![forbid(unsafe_code)]

pub mod begin;
pub mod boot;
pub mod clocks;
pub mod command;
pub mod doorbell;
pub mod exit;
pub mod machine;
pub mod model;
pub mod preserved;
pub mod ram;
pub mod run;
pub mod said;
pub mod serial;
pub mod service;
pub mod state;
pub mod system;
pub mod vcpu;
pub mod vm;
