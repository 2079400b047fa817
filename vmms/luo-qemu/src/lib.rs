// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any unmodified QEMU guest as a workload of the live update agent `luod`.
//!
//! The guest's RAM is a memfd that this program makes and preserves; QEMU maps it. What else a
//! guest has, its devices' state, QEMU writes out at the freeze and reads in after the jump
//! (its migration mode `cpr-reboot`, with RAM left out by `x-ignore-shared`).
//!
//! | module | concern |
//! |---|---|
//! | [`command`] | the command line, and how it ends ([`exit`]) |
//! | [`options`] | the options of a guest; [`wanted`]: what they say |
//! | [`config`] | a guest's file in `/etc/luo-qemu` |
//! | [`given`] | what the administrator's QEMU command line says, and what is refused in it |
//! | [`launch`] | the command line that QEMU is started with, and its start |
//! | [`probe`] | what a QEMU knows: its version, machine types and migration modes |
//! | [`qmp`] | QEMU's control socket |
//! | [`guest`] | a QEMU that runs: looked at, stopped, continued |
//! | [`guest_agent`] | the time, told to an agent in the guest |
//! | [`blocks`] | the memory that the guest has beside its RAM |
//! | [`disks`] | whether the next boot has the guest's disks |
//! | [`taps`] | whether the guest's network is there again |
//! | [`carry`] | its devices' state, out and in |
//! | [`state`] | that state as bytes in preserved memory |
//! | [`gap`] | how long a guest stood still |
//! | [`keep`] | the QEMU that runs, for the case that an upgraded one refuses the state |
//! | [`warm`] | QEMU and its libraries, read before they are waited for |
//! | [`kvm`] | KVM, loaded once the processor's counter is known |
//! | [`about`] | what is preserved beside RAM and state: how to start QEMU again |
//! | [`ram`] | the RAM of a guest that is started for the first time |
//! | [`room`] | the guest's folder in this boot: locks, the control socket, a record |
//! | [`begin`] | first start, coming back after a jump, and taking over a QEMU that runs |
//! | [`resume`] | going on from a state |
//! | [`waiting`] | a QEMU that is started before its RAM is there |
//! | [`told`] | who is told what happens, and at which step ([`luo_monitor::point`]) |
//! | [`serve`] | the life of the workload between two updates |
//!
//! ```text
//!                         first start: RAM is made, QEMU is started
//!                          v
//!  .--> takes part --> prepare: RAM and empty state are preserved; the guest runs on
//!  |         ^             v
//!  |         '-cancel-- freeze: stop; the devices' state is written, with length and digest
//!  |       `cont`          v
//!  |                ==== kexec ====
//!  |                       v
//!  |                    claim: QEMU is started with `-incoming`, and RAM mapped
//!  |                       v
//!  '--- finish <--- the state is marked as used, `cont`: the guest runs
//! ```
//!
//! A QEMU outlives this program: when it is started again in the same boot, it finds the QEMU
//! by its folder and takes it over. docs/guests.md is for administrators.
#![forbid(unsafe_code)]

pub mod about;
pub mod begin;
pub mod blocks;
pub mod carry;
pub mod command;
pub mod config;
pub mod disks;
pub mod exit;
pub mod gap;
pub mod given;
pub mod guest;
pub mod guest_agent;
pub mod keep;
pub mod kvm;
pub mod launch;
pub mod options;
pub mod probe;
pub mod qmp;
pub mod ram;
pub mod resume;
pub mod room;
pub mod serve;
pub mod state;
pub mod taps;
pub mod told;
pub mod waiting;
pub mod wanted;
pub mod warm;
