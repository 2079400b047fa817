// SPDX-License-Identifier: MIT OR Apache-2.0
//! FleetLock, the protocol by which hosts of a fleet take turns with their reboots, as Zincati
//! speaks it: two calls over HTTP, `pre-reboot` takes a slot and `steady-state` gives it back.
//! Both are recursive: to take what one has, and to give back what one has not, is success.
//!
//! | module | contents |
//! |---|---|
//! | [`limits`] | what a document may be |
//! | [`lock`] | what a host says, and how it is refused |
//! | [`report`] | what a host tells beyond that, which other servers ignore |
//! | [`status`] | how a fleet stands |
//! | [`client`] | the host's side (feature `client`) |
//!
//! The protocol's text: `docs/development/fleetlock/protocol.md` of Zincati.
#![forbid(unsafe_code)]

#[cfg(feature = "client")]
pub mod client;
pub mod limits;
pub mod lock;
pub mod report;
pub mod status;
