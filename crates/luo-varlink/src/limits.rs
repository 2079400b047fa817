// SPDX-License-Identifier: MIT OR Apache-2.0
//! Limits that peers can rely on, and must keep to.

/// Bytes of a call, its end included. A peer that sends more is disconnected.
pub const MAX_CALL: usize = 64 * 1024;

/// Bytes of a reply that a client has to expect.
pub const MAX_REPLY: usize = 16 * 1024 * 1024;

/// Descriptors that travel with one call.
pub const MAX_FDS: usize = 1;

/// Bytes of a workload's name.
pub const MAX_WORKLOAD_NAME: usize = 63;

/// Other workloads that a workload may need.
pub const MAX_NEEDS: usize = 64;

/// Bytes of a reason, of a veto or of a cancel, and of what a workload says of itself. Longer
/// ones are cut.
pub const MAX_REASON: usize = 1024;

/// Workloads that an agent knows at the same time.
pub const MAX_WORKLOADS: usize = 10_000;
