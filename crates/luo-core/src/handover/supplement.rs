// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The supplement, which stands beside `luo-v5` and only our own kernels read: its root
//! and the subsystems, which are read at boot. The format is `luo_abi::supplement`.

use luo_abi::supplement::{
    self, Root, SubsystemRecord, BY_EVENT, COMPATIBLE, LOST_UNREAD, MAX_SUBSYSTEMS, ROOT_LENGTH,
};
use zerocopy::{Immutable, IntoBytes};

use super::block::HandedMemory;
use super::page::{offset_of_record, page, record};
use super::refusal::{Area, Refusal};
use super::SupplementFields;
use crate::error::Error;
use crate::host::Host;
use crate::losses::Losses;
use crate::mem::Vec;
use crate::participant::subsystem::ArrivedSubsystem;
use crate::table::hash::Digest;
use crate::text::Compat;

/// The checksum of a structure whose last field it is: over all that stands before it.
pub(super) fn checksum<T: IntoBytes + Immutable>(of: &T) -> u64 {
    let mut digest = Digest::new();
    let bytes = of.as_bytes();
    let before = bytes.len().saturating_sub(size_of::<u64>());
    digest.absorb_bytes(bytes.get(..before).unwrap_or(bytes));
    digest.finish()
}

/// Reads what the reboot has lost, behind the root. A kernel that does not know of it
/// leaves a shorter one.
fn read_losses(root_page: &impl HandedMemory, len: usize) -> Result<Losses, Error> {
    if len < ROOT_LENGTH {
        return Ok(Losses::NONE);
    }
    let found: supplement::Losses =
        record(root_page, size_of::<Root>()).ok_or(Error::Inconsistent)?;
    if found.as_bytes().iter().all(|&byte| byte == 0) {
        return Ok(Losses::NONE);
    }
    verify(Area::Supplement, found.checksum, checksum(&found))?;
    Ok(Losses {
        files: found.files,
        sessions: found.sessions,
        subsystems: found.subsystems,
        unread: found.flags & LOST_UNREAD != 0,
    })
}

/// Reads the root at `address`, of which the KHO tree says it has `len` bytes,
/// and the subsystems. `early` has absorbed the FLB records.
pub(super) fn read<H: Host>(
    host: &H,
    address: u64,
    len: usize,
    update_number: u64,
    mut early: Digest,
) -> Result<(SupplementFields, Vec<ArrivedSubsystem>), Error> {
    if len < size_of::<Root>() {
        return Err(Refusal::RootTooShort { len }.into());
    }
    let root_page = page(host, Area::Supplement, address)?;
    let root: Root = record(&root_page, 0).ok_or(Refusal::RootTooShort { len })?;
    // The version first: another one may have its checksum elsewhere.
    if root.compatible != COMPATIBLE {
        let found = root.compatible;
        return Err(Refusal::SupplementVersion { found }.into());
    }
    verify(Area::Supplement, root.checksum, checksum(&root))?;
    let said = root.update_number;
    if said != update_number {
        let root = update_number;
        return Err(Refusal::SupplementUpdate { said, root }.into());
    }
    let subsystems = read_subsystems(host, &root, &mut early)?;
    verify(Area::Early, root.early_digest, early.finish())?;
    let fields = SupplementFields {
        root: address,
        by_event: root.flags & BY_EVENT != 0,
        subsystems: root.subsystems,
        records: root.records,
        record_count: root.record_count,
        digest: root.digest,
        losses: read_losses(&root_page, len)?,
    };
    Ok((fields, subsystems))
}

fn read_subsystems<H: Host>(
    host: &H,
    root: &Root,
    early: &mut Digest,
) -> Result<Vec<ArrivedSubsystem>, Error> {
    let mut all: Vec<ArrivedSubsystem> = Vec::new();
    let (address, said) = (root.subsystems, root.subsystem_count);
    let count = usize::try_from(said).unwrap_or(usize::MAX);
    if count > MAX_SUBSYSTEMS || (address == 0 && count > 0) {
        let area = Area::Subsystems;
        let found = 0;
        return Err(Refusal::SupplementCount { area, said, found }.into());
    }
    // A page without records is looked at as well, because it will be given back.
    if address == 0 {
        return Ok(all);
    }
    let records = page(host, Area::Subsystems, address)?;
    for at in 0..count {
        let offset = offset_of_record::<SubsystemRecord>(0, at);
        let found: SubsystemRecord = record(&records, offset).ok_or(Error::Inconsistent)?;
        early.absorb_bytes(found.as_bytes());
        let name = Compat::parse(&found.name).map_err(Refusal::SubsystemName)?;
        if all.iter().any(|other| other.name == name) {
            return Err(Refusal::DuplicateSubsystem(name).into());
        }
        all.push(ArrivedSubsystem {
            name,
            data: found.data,
            finished: false,
        })?;
    }
    Ok(all)
}

/// Compares a checksum.
pub(super) fn verify(area: Area, said: u64, found: u64) -> Result<(), Refusal> {
    if said == found {
        Ok(())
    } else {
        Err(Refusal::Checksum { area, said, found })
    }
}
