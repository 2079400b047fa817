// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Reading what the previous kernel left, and writing for the next.
//!
//! Reading trusts nothing: each address is asked of the host, each page is
//! visited once at most, each count has its limit, and nothing is taken over
//! until all of it has been read. The format is `luo_abi::handover`.

pub(crate) mod block;
mod early;
mod page;
mod read;
mod refusal;
mod supplement;
mod write;

use crate::losses::Losses;

pub(crate) use early::{read_early, Early};
pub(crate) use read::{
    read_sessions, Draft, FileDraft, Found, HandlerEntry, Missing, SessionDraft,
};
pub use refusal::{Area, BadRecord, PageError, Refusal};
pub use write::RootPages;

/// The fields of the root of a handover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootFields {
    /// Live updates of the chain of kernels, this one included.
    pub update_number: u64,
    /// Address of the first block of sessions, 0 for none.
    pub sessions: u64,
    /// Address of the page of FLBs, 0 for none.
    pub flbs: u64,
    /// The supplement, if the previous kernel had this orchestrator.
    pub supplement: Option<SupplementFields>,
}

/// The fields of the root of the supplement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupplementFields {
    /// Its address.
    pub root: u64,
    /// The machine was frozen by the event.
    pub by_event: bool,
    /// Address of the page of subsystems, 0 for none.
    pub subsystems: u64,
    /// Address of the first block of records, 0 for none.
    pub records: u64,
    /// How many records there are.
    pub record_count: u64,
    /// Over sessions, files and records.
    pub digest: u64,
    /// The losses of the reboot.
    pub losses: Losses,
}

/// How far the taking over is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handover {
    /// Nothing was handed over.
    Nothing,
    /// The root is read; the sessions wait for the first call on the device.
    Waiting { root: u64, fields: RootFields },
    /// The sessions are being read; others wait.
    Working,
    /// Refused for good; its memory stays as it is.
    Refused(Refusal),
    /// Taken over; its memory is given to the allocator.
    Taken,
}
