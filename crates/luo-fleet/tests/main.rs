// SPDX-License-Identifier: MIT OR Apache-2.0
//! luo-fleet over Debian's real etcd.

mod common;
mod distribution;
mod many;
mod page;
mod protocol;
mod rollout;
mod secure;
