// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is asked of etcd (3.4 and newer), by its JSON gateway over HTTP: ranges, transactions,
//! leases, a watch. The gateway costs a few hundred lines here in place of a gRPC stack, and
//! the same port serves both.
//!
//! | module | contents |
//! |---|---|
//! | [`wire`] | its documents |
//! | [`connect`] | connections to its members |
//! | [`client`] | the calls |
//! | [`watch`] | what changes, as it does |

pub mod client;
pub mod connect;
pub mod watch;
pub mod wire;
