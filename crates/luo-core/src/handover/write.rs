// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Writing for the next kernel, into pages that are there already.

use luo_abi::handover::{
    FileRecord, FlbHeader, FlbRecord, Root, SessionRecord, COMPATIBLE, COMPAT_LENGTH, MAX_FLBS,
};
use luo_abi::supplement::{
    self, EdgeRecord, FileFacts, LostFile, SessionFacts, SubsystemRecord, BY_EVENT, KIND_EDGE,
    KIND_FILE, KIND_LOST, KIND_SESSION, LOST_UNREAD, MAX_SUBSYSTEMS, SESSION_CLOSED,
    SESSION_OF_DEVICE, SESSION_OF_NOBODY, SESSION_OF_USER,
};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use super::page::{absorb_session, offset_of_record};
use super::supplement::checksum;
use crate::engine::outgoing::Whose;
use crate::engine::Engine;
use crate::error::Error;
use crate::graph::Target;
use crate::handover::block::{put, BlockMemory};
use crate::host::Host;
use crate::id::{FileId, SessionId};
use crate::losses::Losses;
use crate::owner::Owner;
use crate::participant::flb::OutgoingState;
use crate::session::{File, Session, Stage};
use crate::table::hash::Digest;
use crate::under_way::Waiter;

/// The pages that a handover begins with.
pub struct RootPages<B> {
    /// The root of `luo-v5`.
    pub root: B,
    /// The FLBs.
    pub flbs: B,
    /// The root of the supplement.
    pub supplement: B,
    /// The subsystems.
    pub subsystems: B,
}

/// Whether the next kernel is to see a session: not that of an open instance of the
/// device where nothing is registered.
fn is_written<H: Host>(session: &Session<H>) -> bool {
    session.owner != Owner::Device || session.files.len > 0
}

/// The losses, as the next kernel reads them; all zero for none.
fn losses_as_written(losses: &Losses) -> supplement::Losses {
    let mut written = supplement::Losses::new_zeroed();
    if losses.any() {
        written.files = losses.files;
        written.sessions = losses.sessions;
        written.subsystems = losses.subsystems;
        written.flags = if losses.unread { LOST_UNREAD } else { 0 };
        written.checksum = checksum(&written);
    }
    written
}

/// Over what is written, as the next kernel will read it.
struct Digests {
    /// FLBs and subsystems.
    early: Digest,
    /// Sessions, files and records.
    late: Digest,
}

impl<H: Host> Engine<H> {
    /// Takes the pages that a handover begins with and writes an empty one to
    /// them. Until then there can be no sessions.
    ///
    /// The two roots have `size_of::<luo_abi::handover::Root>()` and
    /// [`luo_abi::supplement::ROOT_LENGTH`] bytes at the start of their pages; the host makes
    /// both known to the next kernel.
    pub fn arm(&mut self, pages: RootPages<H::Block>) {
        self.root = Some(pages.root);
        self.flb_page = Some(pages.flbs);
        self.supplement = Some(pages.supplement);
        self.subsystem_page = Some(pages.subsystems);
        self.write_empty();
    }

    /// Where the root is that the next kernel must be told of.
    #[must_use]
    pub fn root_address(&self) -> Option<u64> {
        self.root.as_ref().map(BlockMemory::address)
    }

    /// Where the root of the supplement is.
    #[must_use]
    pub fn supplement_address(&self) -> Option<u64> {
        self.supplement.as_ref().map(BlockMemory::address)
    }

    /// Takes back what [`Self::arm`] was given, for a host that could not make
    /// the roots known.
    pub fn disarm(&mut self) -> [Option<H::Block>; 4] {
        [
            self.root.take(),
            self.flb_page.take(),
            self.supplement.take(),
            self.subsystem_page.take(),
        ]
    }

    /// Whether there are pages to write to.
    pub(crate) fn ready(&self) -> Result<(), Error> {
        if self.root.is_some() {
            Ok(())
        } else {
            Err(Error::NotReady)
        }
    }

    /// Writes everything that is outgoing.
    pub(crate) fn write_all(&mut self) -> Result<(), Error> {
        let mut digests = Digests {
            early: Digest::new(),
            late: Digest::new(),
        };
        self.number_sessions()?;
        let mut session = self.outgoing.first;
        let mut at = 0usize;
        while let Some((id, entry)) = session.and_then(|id| Some((id, self.sessions.get(id)?))) {
            session = entry.links.next;
            if !is_written(entry) {
                continue;
            }
            let record = self.write_session(id, &mut digests.late)?;
            self.chain.write(at, &record)?;
            at = at.saturating_add(1);
        }
        let sessions = self.chain.link(at);
        self.write_flbs(&mut digests.early)?;
        self.write_root(sessions);
        let subsystems = self.write_subsystems(&mut digests.early)?;
        let records = self.write_records(&mut digests.late)?;
        self.write_supplement(subsystems, records, digests);
        Ok(())
    }

    /// Writes a handover without sessions or FLBs.
    pub(crate) fn write_empty(&mut self) {
        self.write_flb_header(0);
        self.write_root(0);
        let digests = Digests {
            early: Digest::new(),
            late: Digest::new(),
        };
        self.by_event = false;
        self.write_supplement(0, 0, digests);
    }

    /// Numbers the outgoing sessions as they will be written.
    fn number_sessions(&mut self) -> Result<(), Error> {
        let mut next = self.outgoing.first;
        let mut position = 0u32;
        while let Some(session) = next.and_then(|id| self.sessions.get_mut(id)) {
            next = session.links.next;
            if is_written(session) {
                if let Some(outgoing) = session.outgoing_mut() {
                    outgoing.position = position;
                }
                position = position.checked_add(1).ok_or(Error::Full)?;
            }
        }
        Ok(())
    }

    fn write_subsystems(&mut self, early: &mut Digest) -> Result<usize, Error> {
        let page = self.subsystem_page.as_mut().ok_or(Error::NotReady)?;
        let mut count = 0usize;
        for subsystem in self.subsystems.iter().take(MAX_SUBSYSTEMS) {
            let Some((data, _)) = &subsystem.prepared else {
                continue;
            };
            // Nothing is left, so there is nothing to finish.
            if *data == 0 {
                continue;
            }
            let record = SubsystemRecord {
                name: *subsystem.name.room(),
                data: *data,
            };
            if !put(
                page.bytes(),
                offset_of_record::<SubsystemRecord>(0, count),
                &record,
            ) {
                return Err(Error::Inconsistent);
            }
            early.absorb_bytes(record.as_bytes());
            count = count.saturating_add(1);
        }
        Ok(count)
    }

    /// Writes the records of all files: answers with how many.
    fn write_records(&mut self, late: &mut Digest) -> Result<usize, Error> {
        let mut at = 0usize;
        let mut session = self.outgoing.first;
        while let Some(current) = session.and_then(|id| self.sessions.get(id)) {
            let mut file = current.files.first;
            let position = current.outgoing().map_or(0, |outgoing| outgoing.position);
            session = current.links.next;
            let kind = current.kind();
            if kind.has_record() && is_written(current) {
                let whose = match kind.owner {
                    Owner::Device => SESSION_OF_DEVICE,
                    Owner::User(_) => SESSION_OF_USER,
                    Owner::Nobody => SESSION_OF_NOBODY,
                    Owner::Root => 0,
                };
                let closed = if kind.closed { SESSION_CLOSED } else { 0 };
                let record = SessionFacts {
                    kind: KIND_SESSION,
                    session: position,
                    flags: whose | closed,
                    user: kind.owner.user().unwrap_or(0),
                    reserved: [0; 48],
                };
                self.write_record(&mut at, &record, late)?;
            }
            while let Some(id) = file {
                let entry = self.files.get(id).ok_or(Error::Inconsistent)?;
                file = entry.links.next;
                if let Some(errno) = entry.lost_by() {
                    let record = LostFile {
                        kind: KIND_LOST,
                        session: position,
                        token: entry.token,
                        error: errno.get().unsigned_abs(),
                        reserved: [0; 44],
                    };
                    self.write_record(&mut at, &record, late)?;
                    continue;
                }
                let record = FileFacts {
                    kind: KIND_FILE,
                    session: position,
                    token: entry.token,
                    bytes: entry.bytes,
                    access: entry.access.number(),
                    reserved: [0; 36],
                };
                self.write_record(&mut at, &record, late)?;
            }
        }
        // Behind all files: what they need may be in a later session.
        session = self.outgoing.first;
        while let Some(current) = session.and_then(|id| self.sessions.get(id)) {
            let mut file = current.files.first;
            let position = current.outgoing().map_or(0, |outgoing| outgoing.position);
            session = current.links.next;
            while let Some(id) = file {
                let entry = self.files.get(id).ok_or(Error::Inconsistent)?;
                file = entry.links.next;
                // The dependencies of a lost file do not matter any more.
                if entry.lost_by().is_none() {
                    self.write_edges(position, id, &mut at, late)?;
                }
            }
        }
        Ok(at)
    }

    fn write_edges(
        &mut self,
        session: u32,
        id: FileId,
        at: &mut usize,
        late: &mut Digest,
    ) -> Result<(), Error> {
        let token = self.files.get(id).ok_or(Error::Inconsistent)?.token;
        let mut next = self.graph.dependencies(id).next();
        while let Some((edge, target)) = next {
            let Target::File(on) = target else {
                return Err(Error::Inconsistent);
            };
            let on = self.files.get(on).ok_or(Error::Inconsistent)?;
            let on_session = self.sessions.get(on.session).and_then(Session::outgoing);
            let on_session = on_session.ok_or(Error::Inconsistent)?;
            let record = EdgeRecord {
                kind: KIND_EDGE,
                session,
                token,
                on_session: on_session.position,
                reserved: 0,
                on_token: on.token,
                reserved2: [0; 32],
            };
            self.write_record(at, &record, late)?;
            let mut rest = self.graph.dependencies_after(id, edge);
            next = rest.as_mut().and_then(Iterator::next);
        }
        Ok(())
    }

    fn write_record<R: IntoBytes + Immutable>(
        &mut self,
        at: &mut usize,
        record: &R,
        late: &mut Digest,
    ) -> Result<(), Error> {
        self.record_chain.write(*at, record)?;
        late.absorb_bytes(record.as_bytes());
        *at = at.saturating_add(1);
        Ok(())
    }

    fn write_supplement(&mut self, subsystems: usize, records: usize, digests: Digests) {
        let first = self.record_chain.link(records);
        let page = self.subsystem_page.as_ref().map_or(0, BlockMemory::address);
        let mut root = supplement::Root {
            compatible: supplement::COMPATIBLE,
            update_number: self.update_number.saturating_add(1),
            flags: if self.by_event { BY_EVENT } else { 0 },
            subsystems: page,
            subsystem_count: subsystems as u64,
            records: first,
            record_count: records as u64,
            early_digest: digests.early.finish(),
            digest: digests.late.finish(),
            checksum: 0,
        };
        root.checksum = checksum(&root);
        let losses = losses_as_written(&self.losses);
        if let Some(page) = &mut self.supplement {
            put(page.bytes(), 0, &root);
            put(page.bytes(), size_of::<supplement::Root>(), &losses);
        }
    }

    fn write_session(&mut self, id: SessionId, late: &mut Digest) -> Result<SessionRecord, Error> {
        let kept = self.count_kept(id);
        let session = self.sessions.get_mut(id).ok_or(Error::Inconsistent)?;
        let mut written = SessionRecord {
            name: *session.name.room(),
            files: 0,
            file_count: kept as u64,
        };
        absorb_session(late, &written);
        let mut file = session.files.first;
        let mut at = 0usize;
        while let Some(current) = file {
            let current = self.files.get(current).ok_or(Error::Inconsistent)?;
            file = current.links.next;
            if current.lost_by().is_some() {
                continue;
            }
            let handler = current.handler.and_then(|id| self.handlers.get(id));
            let compatible: [u8; COMPAT_LENGTH] = *handler.ok_or(Error::Inconsistent)?.name.room();
            let record = FileRecord {
                compatible,
                data: current.data,
                token: current.token,
            };
            let outgoing = session.outgoing_mut().ok_or(Error::Inconsistent)?;
            outgoing.chain.write(at, &record)?;
            late.absorb_bytes(record.as_bytes());
            at = at.saturating_add(1);
        }
        let outgoing = session.outgoing_mut().ok_or(Error::Inconsistent)?;
        written.files = outgoing.chain.link(at);
        Ok(written)
    }

    fn write_flbs(&mut self, early: &mut Digest) -> Result<(), Error> {
        // A file that is lost and stays preserved, or that a call has in its hands, holds an FLB here
        // and does not go.
        let all_go = self.losses.files == 0 && self.under_way.count_for(Waiter::Reboot) == 0;
        let holders = (!all_go).then(|| self.count_holders());
        let page = self.flb_page.as_mut().ok_or(Error::NotReady)?;
        let mut count = 0usize;
        for (id, flb) in self.flbs.iter() {
            let counted = holders.and_then(|all| all.get(usize::try_from(id.slot).ok()?).copied());
            let files = counted.unwrap_or(flb.outgoing.files);
            if files == 0 {
                continue;
            }
            let OutgoingState::Live { data, .. } = flb.outgoing.state else {
                continue;
            };
            let record = FlbRecord {
                name: *flb.name.room(),
                data,
                count: files,
            };
            let offset = count
                .saturating_mul(size_of::<FlbRecord>())
                .saturating_add(size_of::<FlbHeader>());
            if count >= MAX_FLBS || !put(page.bytes(), offset, &record) {
                return Err(Error::Inconsistent);
            }
            early.absorb_bytes(record.as_bytes());
            count = count.saturating_add(1);
        }
        self.write_flb_header(count as u64);
        Ok(())
    }

    /// For each slot of an FLB, how many files that go hold the FLB in it.
    fn count_holders(&self) -> [u64; MAX_FLBS] {
        let mut holders = [0u64; MAX_FLBS];
        for id in self.outgoing_files(Whose::All) {
            let file = self.files.get(id).filter(|file| file.lost_by().is_none());
            let Some(Stage::Preserved(Some(live))) = file
                .and_then(File::as_outgoing)
                .map(|outgoing| &outgoing.stage)
            else {
                continue;
            };
            for (slot, count) in (0u32..).zip(&mut holders) {
                *count = count.saturating_add(live.flbs.contains_slot(slot).into());
            }
        }
        holders
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
