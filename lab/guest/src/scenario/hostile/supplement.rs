// SPDX-License-Identifier: MIT OR Apache-2.0
//! The second entry: what travels beside `luo-v5`.
//!
//! Two sessions with a file each, of which the first needs the second's.

use std::hash::{DefaultHasher, Hasher as _};

use anyhow::Result;
use luo_abi::handover::{FileRecord, FlbRecord, SessionRecord};
use luo_abi::supplement::{COMPATIBLE, EdgeRecord, KIND_EDGE, Root};
use zerocopy::IntoBytes as _;

use super::compose::{Composer, RECORDS, TEST_FLBS, file, session};

/// The sessions, by their names.
pub(super) const SESSIONS: [&str; 2] = ["one", "two"];

/// The token of each session's file.
pub(super) const TOKEN: u64 = 1;

/// The page with the sessions' records: behind the root and the files.
pub(super) const SESSIONS_PAGE: usize = 3;

/// A digest, as both kernels compute it: SipHash-1-3 under the key 0, which the
/// standard library's hasher is.
#[derive(Default)]
struct Digest(DefaultHasher);

impl Digest {
    /// A session and its file; the address does not count.
    fn session(&mut self, found: &SessionRecord, file: &FileRecord) {
        let known = SessionRecord { files: 0, ..*found };
        self.0.write(known.as_bytes());
        self.0.write(file.as_bytes());
    }
}

/// The file of one session needs that of the other, by their places.
pub(super) fn edge(session: u32, on_session: u32) -> EdgeRecord {
    EdgeRecord {
        kind: KIND_EDGE,
        session,
        token: TOKEN,
        on_session,
        reserved: 0,
        on_token: TOKEN,
        reserved2: [0; 32],
    }
}

/// Composes all of it with these dependencies. `spoil` changes the supplement's root
/// before its checksum is computed, `damage` afterwards.
pub(super) fn compose(
    c: &mut Composer<'_>,
    edges: &[EdgeRecord],
    spoil: impl FnOnce(&mut Root),
    damage: impl FnOnce(&mut Root),
) -> Result<()> {
    c.root()?;
    let (mut early, mut late) = (Digest::default(), Digest::default());
    let mut records = Vec::new();
    for name in SESSIONS {
        let file = file(TOKEN);
        let (_, files) = c.block(&[file])?;
        let record = session(name, files, 1);
        late.session(&record, &file);
        records.push(record);
    }
    let (_, sessions) = c.block(&records)?;
    let (page, flbs) = c.test_flbs(SESSIONS.len() as u64)?;
    c.point(sessions, flbs)?;
    let length = TEST_FLBS as usize * size_of::<FlbRecord>();
    early.0.write(c.bytes(page, RECORDS, length)?);
    let (_, block) = c.block(edges)?;
    late.0.write(edges.as_bytes());
    let mut root = Root {
        compatible: COMPATIBLE,
        update_number: 1,
        flags: 0,
        subsystems: 0,
        subsystem_count: 0,
        records: block,
        record_count: edges.len() as u64,
        early_digest: early.0.finish(),
        digest: late.0.finish(),
        checksum: 0,
    };
    spoil(&mut root);
    let before = size_of::<Root>() - size_of::<u64>();
    let mut checksum = Digest::default();
    checksum.0.write(&root.as_bytes()[..before]);
    root.checksum = checksum.0.finish();
    damage(&mut root);
    c.supplement(&root)
}
