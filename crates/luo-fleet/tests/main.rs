// SPDX-License-Identifier: MIT OR Apache-2.0
//! luo-fleet over Debian's real etcd.

mod common;
mod costs;
mod dev;
mod distribution;
mod flood;
mod many;
mod outage;
mod page;
mod peers;
mod protocol;
mod rollout;
mod secure;
mod silence;
