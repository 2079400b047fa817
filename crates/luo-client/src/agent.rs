// SPDX-License-Identifier: MIT OR Apache-2.0
//! The live update agent `luod`, from the side of programs that talk to it.
//!
//! | type | socket | for |
//! |---|---|---|
//! | [`Agent`], [`Workload`] | `client` | programs that take part in updates |
//! | [`Admin`] | `admin` | programs that run updates |
//! | [`Status`] | `status` | programs that only look |
//!
//! # Time
//!
//! A call that does not wait for others has [`DEFAULT_TIMEOUT`], which `set_timeout`
//! changes. A call that waits for others ([`Workload::next_event`], [`Workload::claim`],
//! [`Admin::prepare`], ...) takes as long as they need: the agent has deadlines of its
//! own, and `set_patience` sets one here. Neither waits for an agent that is gone: that
//! is [`Error::AgentGone`], at once.
//!
//! # When the agent is lost
//!
//! After [`Error::AgentGone`], and after [`Error::TimedOut`], [`Error::Protocol`] or
//! [`Error::Os`] that leave nothing to go on from, each further call is
//! [`Error::AgentGone`]. The
//! sessions are still there: [`Workload::reconnect`] makes a new connection and gives the
//! agent its copies again. An agent that was lost while it prepared or froze has called
//! the update off: workloads that stood still go on, unless the machine jumps first.

mod admin;
mod caller;
mod error;
mod held;
mod line;
mod reconnect;
mod register;
mod role;
mod status;
mod take_part;
mod timeline;
mod workload;

pub use admin::Admin;
pub use caller::DEFAULT_TIMEOUT;
pub use error::{Error, ErrorNumber, Result};
pub use luo_varlink::client::{Error as Refusal, Registered};
pub use luo_varlink::{self as varlink, Check, CheckStatus, Event, EventKind, Phase, Report, Step};
pub use register::Agent;
pub use status::Status;
pub use timeline::Timeline;
pub use workload::{Claim, Workload};
