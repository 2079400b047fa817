// SPDX-License-Identifier: MIT OR Apache-2.0
//! The log: who got and gave back a slot, what failed, what was done by hand. Lines are written
//! by the transaction that does what they tell, so none is missing and none is too many.

use anyhow::Result;
use luo_fleetlock::status::AuditLine;

use super::keys::Keys;
use crate::etcd::client::Etcd;

/// Lines that are kept.
pub const KEPT: u64 = 10_000;

/// At each so many lines the oldest are dropped.
pub const DROPPED_AT: u64 = 256;

/// Lines that are told at once.
pub const TOLD: usize = 200;

/// The last lines, the newest last.
///
/// # Errors
/// etcd does not answer.
pub async fn last(etcd: &Etcd, keys: &Keys) -> Result<Vec<AuditLine>> {
    let found = etcd.last(&keys.audit(), TOLD).await?;
    let lines = found.kvs.iter().rev();
    // A line of a newer version that cannot be read is left out.
    Ok(lines
        .filter_map(|pair| serde_json::from_slice(&pair.value).ok())
        .collect())
}
