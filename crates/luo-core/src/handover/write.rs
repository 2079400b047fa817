// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Writing for the next kernel, into pages that are there already.

use luo_abi::handover::{
    FileRecord, FlbHeader, FlbRecord, Root, SessionRecord, COMPATIBLE, COMPAT_LENGTH, MAX_FLBS,
};

use crate::block::{put, BlockMemory};
use crate::engine::Engine;
use crate::error::Error;
use crate::flb::OutgoingState;
use crate::host::Host;
use crate::id::SessionId;

impl<H: Host> Engine<H> {
    /// Takes the pages of the outgoing root and of the outgoing FLBs and writes
    /// an empty handover to them. Until then there can be no sessions.
    ///
    /// The root has `size_of::<luo_abi::handover::Root>()` bytes at the start of
    /// its page; the host makes it known to the next kernel.
    pub fn arm(&mut self, root: H::Block, flbs: H::Block) {
        self.root = Some(root);
        self.flb_page = Some(flbs);
        self.write_empty();
    }

    /// Where the root is that the next kernel must be told of.
    #[must_use]
    pub fn root_address(&self) -> Option<u64> {
        self.root.as_ref().map(BlockMemory::address)
    }

    /// Takes back what [`Self::arm`] was given, for a host that could not make
    /// the root known.
    pub fn disarm(&mut self) -> (Option<H::Block>, Option<H::Block>) {
        (self.root.take(), self.flb_page.take())
    }

    /// Writes everything that is outgoing.
    pub(crate) fn write_all(&mut self) -> Result<(), Error> {
        let mut session = self.outgoing.first;
        let mut at = 0usize;
        while let Some(id) = session {
            let record = self.write_session(id)?;
            self.chain.write(at, &record)?;
            at = at.saturating_add(1);
            session = self.sessions.get(id).and_then(|s| s.links.next);
        }
        let sessions = self.chain.link(at);
        self.write_flbs()?;
        self.write_root(sessions);
        Ok(())
    }

    /// Writes a handover without sessions or FLBs.
    pub(crate) fn write_empty(&mut self) {
        self.write_flb_header(0);
        self.write_root(0);
    }

    fn write_session(&mut self, id: SessionId) -> Result<SessionRecord, Error> {
        let session = self.sessions.get_mut(id).ok_or(Error::Inconsistent)?;
        let mut file = session.files.first;
        let mut at = 0usize;
        while let Some(current) = file {
            let current = self.files.get(current).ok_or(Error::Inconsistent)?;
            let handler = current.handler.and_then(|id| self.handlers.get(id));
            let compatible: [u8; COMPAT_LENGTH] = *handler.ok_or(Error::Inconsistent)?.name.room();
            let record = FileRecord {
                compatible,
                data: current.data,
                token: current.token,
            };
            session.chain.write(at, &record)?;
            at = at.saturating_add(1);
            file = current.links.next;
        }
        Ok(SessionRecord {
            name: *session.name.room(),
            files: session.chain.link(at),
            file_count: at as u64,
        })
    }

    fn write_flbs(&mut self) -> Result<(), Error> {
        let page = self.flb_page.as_mut().ok_or(Error::NotReady)?;
        let mut count = 0usize;
        for (_, flb) in self.flbs.iter() {
            if flb.outgoing.files == 0 {
                continue;
            }
            let OutgoingState::Live { data, .. } = flb.outgoing.state else {
                continue;
            };
            let record = FlbRecord {
                name: *flb.name.room(),
                data,
                count: flb.outgoing.files,
            };
            let offset = count
                .saturating_mul(size_of::<FlbRecord>())
                .saturating_add(size_of::<FlbHeader>());
            if count >= MAX_FLBS || !put(page.bytes(), offset, &record) {
                return Err(Error::Inconsistent);
            }
            count = count.saturating_add(1);
        }
        self.write_flb_header(count as u64);
        Ok(())
    }

    fn write_flb_header(&mut self, count: u64) {
        if let Some(page) = &mut self.flb_page {
            put(page.bytes(), 0, &FlbHeader { pages: 1, count });
        }
    }

    fn write_root(&mut self, sessions: u64) {
        let flbs = self.flb_page.as_ref().map_or(0, BlockMemory::address);
        let root = Root {
            compatible: COMPATIBLE,
            update_number: self.update_number.saturating_add(1),
            sessions,
            flbs,
        };
        if let Some(page) = &mut self.root {
            put(page.bytes(), 0, &root);
        }
    }
}
