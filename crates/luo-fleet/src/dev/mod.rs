// SPDX-License-Identifier: MIT OR Apache-2.0
//! An etcd and hosts of its own: for a first look, for tests and for figures.
//!
//! | module | contents |
//! |---|---|
//! | [`cluster`] | Debian's etcd, started here: one member or several |
//! | [`call`] | one call of a server |
//! | [`hosts`] | hosts that are not there, and speak the protocol |
//! | [`show`] | `luo-fleet dev` |

pub mod call;
pub mod cluster;
pub mod hosts;
pub mod show;
