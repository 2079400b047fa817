// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Behaviour of the engine, seen from a host.
//!
//! One file a topic; `support` is the host, of the crate `luo-testhost`. `model` compares random histories
//! with a plain model, `exhaustive` has each event fail at each place, `faults`
//! takes memory away at every request, `hostile` damages handovers, `interleave`
//! runs each pair of operations against each other, `races` runs many threads.
#![allow(
    clippy::result_large_err,
    reason = "the engine's errors name sessions and handlers, and are passed on as they are"
)]

mod access;
mod cancel;
mod carry;
mod close;
mod crash_model;
mod dependencies;
mod device_files;
mod early_freeze;
mod early_freeze_others;
mod end_of_update;
mod events;
mod exhaustive;
mod faults;
mod finish;
mod flb_incoming;
mod flb_outgoing;
mod freeze;
mod golden;
mod handlers_needs;
mod held;
mod hostile;
mod image;
mod interleave;
mod late;
mod late_handlers;
mod limits;
mod lost;
mod model;
mod others_handlers;
mod owners;
mod pipes;
mod preserve;
mod queries;
mod quotas;
mod races;
mod refusals;
mod retrieve;
mod room;
mod scale;
mod sessions;
mod subsystems;
mod supplement;
mod takeover;
mod under_way;
mod users_files;
mod waits;
mod work;

use luo_testhost as support;
