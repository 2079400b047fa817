// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The engine of the Live Update Orchestrator.
//!
//! It decides and does no I/O. A *host* (the Linux kernel, a simulator, a test)
//! embeds it, implements [`Host`], and acts: it owns the lock, the memory that
//! survives a kexec, and the callbacks of file handlers.
//!
//! Enter here:
//!
//! - [`ops`]: what a host calls, one function an operation of the interface.
//!   Each is a transaction: it is begun in the [`Engine`], the host's callbacks
//!   run without the engine's lock, then it is committed or undone whole.
//! - [`Host`]: what a host supplies.
//! - [`Kind`]: a file handler, as it is written for a host; [`OnePage`]: one for files that a
//!   few words tell all about.
//! - [`Engine`]: the state all operations share; a host only stores it.
//! - [`Refusal`]: why data of the previous kernel was not taken over.
//!
//! It is not a policy: it knows nothing of deadlines or devices, and it never looks
//! into a handler's data. Of users it knows their numbers: whose a session is.
//!
//! The kernel compiles these very files, so they use `core`, zerocopy and
//! `luo-abi` only, never panic, and get memory through [`mem`] alone, where
//! each request may fail.
#![cfg_attr(not(CONFIG_LIVEUPDATE_RUST), no_std)] // The kernel's build says so itself.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::unreachable,
    clippy::todo
)]
#![allow(
    clippy::result_large_err,
    reason = "an error names sessions and handlers, and there is no heap to box it on"
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::panic
    )
)]

#[cfg(any(test, feature = "fault-injection"))]
extern crate std;

mod account;
mod engine;
mod error;
mod failure;
mod file_kind;
mod file_name;
#[cfg(feature = "fault-injection")]
mod fingerprint;
mod graph;
mod handover;
pub mod held;
mod host;
mod id;
mod lock;
pub mod looks;
mod losses;
pub mod mem;
pub mod note;
mod one_page;
pub mod ops;
mod owner;
mod participant;
mod patience;
pub mod pci;
pub mod pipe;
mod query;
mod quota;
mod room;
mod session;
mod table;
mod text;
mod under_way;
mod update;
mod update_state;
mod user_kinds;
mod waits;
mod walk;
mod within;

pub use account::Opener;
pub use engine::Engine;
pub use error::Error;
pub use failure::{Failure, LastFailure};
pub use file_kind::{AnyKind, Keeps, Kind};
pub use file_name::FileName;
pub use handover::block::{BlockMemory, HandedMemory};
pub use handover::{Area, BadRecord, PageError, Refusal, RootFields, RootPages, SupplementFields};
pub use host::{
    Access, FileCallbacks, FlbCallbacks, Host, Incoming, Outgoing, Preserved, Retrieval, Subject,
    SubsystemCallbacks, Unrestored, MOST_MISSING_NAMED,
};
pub use id::{EdgeId, FileId, FlbId, HandlerId, Id, SessionId};
pub use lock::Lock;
pub use losses::{Losses, Part};
pub use one_page::{OnePage, Small};
pub use owner::{Actor, Owner, Unowned};
pub use quota::{Quota, Quotas, Whom, MOST_RECORDS_OF_USERS, MOST_SESSIONS_OF_USERS};
pub use session::Direction;
pub use table::hash::Digest;
pub use text::{Compat, SessionName, Text, TextError};
pub use update_state::{transition, Transition, TRANSITIONS};
pub use user_kinds::UserKinds;
pub use waits::{Spot, Wake, Woken, QUEUES};
