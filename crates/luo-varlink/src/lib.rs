// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Varlink interfaces of the live update agent `luod`, as data: the agent and its
//! clients share these types and nothing else.
//!
//! | module | interface | socket | for |
//! |---|---|---|---|
//! | [`client`] | `org.liveupdate.Client` | `client` (group `luo`) | workloads |
//! | [`admin`] | `org.liveupdate.Admin` | `admin` (root) | `luoctl` and other tools |
//! | [`status`] | `org.liveupdate.Status` | `status` (everyone) | everybody, to look |
//!
//! The sockets lie in [`paths::RUNTIME`]. Each of the three also serves `Status`, and
//! `org.varlink.service`, so that `varlinkctl introspect` works on all of them.
//!
//! The texts in `interfaces/` are the interfaces for programs in other languages; a test
//! keeps them and the types here in step. [`limits`] has the numbers that a peer can rely
//! on.
//!
//! # How a workload takes part
//!
//! ```text
//! Register ---> CreateSession (fd) ... preserve files in it
//!    |
//!    v                         .--- cancel ----------------------.
//! NextEvent --> prepare --> Answer --> freeze --> Answer ==kexec==|==> Register
//!                  |          |          (Detach instead:         |      |
//!                  `- veto ---'           luod holds the session) v      v
//!                                                              resume  Claim (fd), Restored,
//!                                                                      FinishSession
//! ```
#![forbid(unsafe_code)]

pub mod admin;
pub mod client;
pub mod interface;
pub mod limits;
pub mod paths;
mod phases;
pub mod status;
mod types;

pub use phases::PhaseTime;
pub use types::{
    Check, CheckStatus, Custody, Event, EventKind, HistoryEntry, Identity, Orchestrator, Outcome,
    Phase, Plan, PlanStep, Report, SessionInfo, Status, Step, Target, TimelineEvent, TimelineKind,
    Work, Workload, WorkloadState,
};
