// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the hostile program has of what a user may have.

use anyhow::{Result, ensure};
use luo_sys::{Device, SessionEntry, SessionState, Which};

use crate::check::name;
use crate::port;

/// What a user may have here. The first is the default; of the others so little that it has tried
/// to have more before long.
const SESSIONS: u64 = 64;
pub(super) const FILES: u64 = 600;
pub(super) const BYTES: u64 = 128 << 20;

/// Lists that are taken until one is within the quotas.
const LISTS: u32 = 16;

/// Asserts that a user has no more than it may have.
///
/// A list of several pages is not of one moment: a session that went between two of them is
/// in it, and so is the one that came in its place. Who has too many has them in each list.
pub(super) fn are_within_quotas(list: impl Fn() -> Result<Vec<SessionEntry>>) -> Result<()> {
    let mut last = Ok(());
    for _ in 0..LISTS {
        last = is_within_quotas(&list()?);
        if last.is_ok() {
            break;
        }
    }
    last
}

fn is_within_quotas(its: &[SessionEntry]) -> Result<()> {
    let sum = |of: fn(&SessionEntry) -> u64| its.iter().map(of).sum::<u64>();
    let (sessions, files, bytes) = (sum(|_| 1), sum(|one| one.files), sum(|one| one.bytes));
    port::progress(format!(
        "it has {sessions} sessions, {files} files, {bytes} bytes"
    ));
    ensure!(sessions <= SESSIONS, "{sessions} sessions");
    ensure!(files <= FILES, "{files} files");
    ensure!(bytes <= BYTES, "{bytes} bytes");
    Ok(())
}

/// The sessions whose names begin so.
pub(super) fn sessions_of(device: &Device, prefix: &str) -> Result<Vec<SessionEntry>> {
    let mut sessions = device.list_sessions(Which::Outgoing)?;
    sessions.retain(|session| {
        let name = session.name.as_ref();
        name.is_some_and(|name| name.to_string().starts_with(prefix))
    });
    Ok(sessions)
}

/// How a session of the previous kernel's stands, if it is there.
pub(super) fn state_of(device: &Device, called: &str) -> Result<Option<SessionState>> {
    let mut sessions = device.list_sessions(Which::Incoming)?.into_iter();
    let found = sessions.find(|session| session.name == Some(name(called)));
    Ok(found.map(|session| session.state))
}
