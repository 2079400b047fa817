// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Reading a handover, page by page, into drafts that can be dropped.

mod reader;
mod records;

use luo_abi::handover::{MAX_BLOCKS, SESSIONS_PER_BLOCK};

pub(crate) use self::reader::{Draft, FileDraft, Found, HandlerEntry, Missing, SessionDraft};
use self::reader::{Reader, Walk};
use super::refusal::Area;
use super::RootFields;
use crate::error::Error;
use crate::graph::Graph;
use crate::host::Host;
use crate::mem::Vec;
use crate::table::hash::{Digest, Hash};
use crate::table::index::Index;

/// Reads all sessions and their files. The root and the FLBs are read already;
/// their pages count as visited and go with the others.
pub(crate) fn read_sessions<H: Host>(
    host: &H,
    hash: Hash,
    handlers: &[HandlerEntry<H>],
    root: u64,
    fields: &RootFields,
) -> Result<Draft<H>, Error> {
    let mut reader = Reader {
        host,
        hash,
        handlers,
        visited: Index::new(),
        names: Index::new(),
        tokens: Index::new(),
        draft: Draft {
            sessions: Vec::new(),
            files: Vec::new(),
            lost: Vec::new(),
            missing: Vec::new(),
            session_ids: Vec::new(),
            edges: Vec::new(),
            ids: Vec::new(),
            pages: Vec::new(),
        },
        graph: Graph::new(hash),
        nodes: 0,
        device_tokens: Index::new(),
        lost_tokens: Index::new(),
        digest: Digest::new(),
        has_supplement: fields.supplement.is_some(),
        records: 0,
        update_number: fields.update_number,
    };
    reader.visit(Area::Root, root)?;
    if fields.flbs != 0 {
        reader.visit(Area::Flbs, fields.flbs)?;
    }
    let sessions = Walk {
        area: Area::Sessions,
        per_block: SESSIONS_PER_BLOCK,
        most: MAX_BLOCKS,
    };
    reader.walk(sessions, fields.sessions, Reader::session)?;
    if let Some(supplement) = &fields.supplement {
        reader.supplement(supplement)?;
    }
    reader.name_missing();
    let sessions = reader.draft.sessions.len();
    reader.draft.session_ids.reserve(sessions)?;
    if !reader.draft.edges.is_empty() {
        let files = reader.draft.files.len();
        reader.draft.ids.reserve(files)?;
    }
    Ok(reader.draft)
}
