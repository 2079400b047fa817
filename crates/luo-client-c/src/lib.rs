// SPDX-License-Identifier: MIT OR Apache-2.0
//! `luo-client` for programs in C: `include/luo_client.h`, `libluo_client.a` and
//! `libluo_client.so.0`. The header says what each function does.
//!
//! | module | functions |
//! |---|---|
//! | [`kernel`] | `luo_device_*`, `luo_session_*`, `luo_kexec_*` |
//! | [`regions`] | `luo_regions_*`: named memory |
//! | [`workload`] | `luo_workload_*`: the agent |
//! | [`event`] | `luo_event`: what the agent asks of a workload |
//! | [`error`] | `luo_last_error_message` |
//!
//! This is the border to a language without Rust's promises, and so it lies beside
//! `luo-sys`: with it, it is all that may contain unsafe code in user space.
//!
//! # Safety
//!
//! The same holds for each function. A pointer is null, which is refused with EFAULT, or
//! leads to what its type says: a string to bytes with a zero at the end, an array to as
//! many elements as its count says, a handle to one that was made here and was not
//! freed. Nobody else changes it during the call. A handle is used by one thread at a
//! time. A descriptor that is passed stays open during the call, and the caller's.
//!
//! No panic goes over the border: it ends there as EIO, in builds that do not abort.
#![deny(unsafe_op_in_unsafe_fn)]
#![deny(clippy::undocumented_unsafe_blocks)]
#![allow(
    clippy::missing_safety_doc,
    reason = "the rules are the same for all functions and stand above"
)]
#![allow(non_camel_case_types, reason = "the names are C's")]

mod border;
pub mod error;
pub mod event;
pub mod kernel;
pub mod regions;
pub mod workload;
