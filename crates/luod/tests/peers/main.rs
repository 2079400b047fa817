// SPDX-License-Identifier: MIT OR Apache-2.0
//! Peers that mean no good, and a client that only looks, at the real `luod`. No live
//! update is needed for that.

mod agent;
mod calls;
mod configured;
mod descriptors;
mod floods;
mod introspection;
mod others;
mod started;
mod starts;
mod supervise;
mod threads;
mod users;
