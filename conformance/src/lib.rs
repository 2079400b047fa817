// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a live update orchestrator must do, as tests.
//!
//! Each behaviour is written once, against the raw interface, and run on every
//! implementation there is ([`Implementation`]). What one of them lacks or does
//! differently is declared in the table, at the case, with the reason. A
//! difference that is not declared fails, and so does a declaration that is not
//! true any more.
//!
//! - [`TOPICS`] is the table: the topics and, in a file each, their cases.
//! - [`case`] says what a case is: it runs in one kernel, or in several.
//! - [`difference`] is how a difference is declared and recognised.
//! - [`drive`] runs all of it on a machine: [`run`] runs cases and judges them,
//!   [`journey`] takes those that go through kexec from kernel to kernel.
//! - [`results`] is what came of it, and whether that is all; [`document`] tells it.
//! - [`check`], [`fill`], [`forge`], [`kmsg`], [`look`], [`participant`], [`slot`],
//!   [`waiting`] are what cases are made of; [`child`] is another process, [`vmm`] one like QEMU.
//!
//! This library starts no machine, and what runs it implements [`Vehicle`] and takes the
//! reports: the guest of a virtual machine does (`lab/guest`), and [`simulated`], which is all
//! of this crate's own program, for the simulator; nothing else here prints. Such a program
//! becomes a [`child`] if the first argument says so.
#![forbid(unsafe_code)]

pub mod case;
pub mod check;
pub mod child;
pub mod difference;
mod disk;
pub mod document;
mod drive;
pub mod fill;
pub mod forge;
mod frames;
mod implementation;
pub mod journey;
pub mod kmsg;
pub mod look;
mod neighbour;
pub mod participant;
mod patience;
pub mod results;
pub mod run;
mod scratch;
pub mod simulated;
pub mod slot;
mod topics;
pub mod user;
pub mod vmm;
pub mod waiting;

pub use case::{Case, Context, Course, Machine, Topic};
pub use difference::{Differs, Expect};
pub use drive::{Vehicle, drive};
pub use implementation::Implementation;
pub use journey::{Journey, Log, Next, Onward};
pub use results::Results;
pub use run::{Report, Verdict};
pub use topics::TOPICS;
