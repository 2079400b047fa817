// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lists of the engine, whole.

use luo_abi::contract::{DependencyInfo, FileInfo, ParticipantInfo, SessionInfo};
use luo_core::ops::{self, Page};
use luo_core::{Error, SessionId};
use luo_testhost::TestHost;

/// Pages of a list, the cursor of each being what the one before it said. The room is
/// small, so that lists have several pages.
fn all<T: Copy>(mut page: impl FnMut(u64, usize) -> Result<Page<T>, Error>) -> Vec<T> {
    let mut entries = Vec::new();
    let mut cursor = 0;
    loop {
        let part = page(cursor, 3).expect("a list of something that is there");
        entries.extend(part.entries.iter().copied());
        assert!(part.next != cursor || part.next == 0, "a list that stands");
        cursor = part.next;
        if cursor == 0 {
            assert_eq!(part.total, entries.len() as u64);
            return entries;
        }
    }
}

pub(crate) fn sessions(host: &TestHost, which: u32) -> Vec<SessionInfo> {
    all(|cursor, room| {
        ops::list_sessions(host, luo_core::Actor::Administrator, which, cursor, room)
    })
}

pub(crate) fn files(host: &TestHost, session: SessionId) -> Vec<FileInfo> {
    all(|cursor, room| ops::list_files(host, session, cursor, room))
}

/// What was registered on the device in the previous kernel.
pub(crate) fn arrived(host: &TestHost) -> Vec<FileInfo> {
    all(|cursor, room| ops::list_arrived_files(host, cursor, room))
}

/// What takes part, and handlers that files wait for.
pub(crate) fn participants(host: &TestHost) -> Vec<ParticipantInfo> {
    all(|cursor, room| ops::list_participants(host, cursor, room))
}

pub(crate) fn dependencies(host: &TestHost, session: SessionId, token: u64) -> Vec<DependencyInfo> {
    all(|cursor, room| {
        ops::list_dependencies(
            host,
            luo_core::Actor::Administrator,
            session,
            token,
            cursor,
            room,
        )
    })
}

/// A name as it stands in its room.
pub(crate) fn text(room: &[u8]) -> &str {
    let end = room.iter().position(|&byte| byte == 0);
    std::str::from_utf8(&room[..end.unwrap_or(room.len())]).unwrap_or("?")
}
