// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Reading what is needed at boot: the root, FLBs and subsystems.

use luo_abi::handover::{FlbHeader, FlbRecord, Root, COMPATIBLE, MAX_FLBS};
use zerocopy::IntoBytes;

use super::page::{offset_of_record, page, record};
use super::refusal::Area;
use super::supplement;
use super::{Refusal, RootFields};
use crate::error::Error;
use crate::host::Host;
use crate::mem::Vec;
use crate::participant::flb;
use crate::participant::subsystem::ArrivedSubsystem;
use crate::table::hash::Digest;
use crate::text::Compat;

/// All that is read at boot.
pub(crate) struct Early<H: Host> {
    pub(crate) fields: RootFields,
    pub(crate) flbs: Vec<flb::Arrived<H>>,
    pub(crate) subsystems: Vec<ArrivedSubsystem>,
}

/// Reads the root at `address`, of which the KHO tree says it has `len` bytes, the
/// FLBs, and the root and the subsystems of the supplement.
///
/// # Errors
/// What is wrong, and the update number as far as it is known.
pub(crate) fn read_early<H: Host>(
    host: &H,
    (address, len): (u64, usize),
    supplement: Option<(u64, usize)>,
) -> Result<Early<H>, (u64, Error)> {
    let fields = read_root(host, address, len).map_err(|why| (0, why.into()))?;
    read_rest(host, fields, supplement).map_err(|why| (fields.update_number, why))
}

fn read_rest<H: Host>(
    host: &H,
    mut fields: RootFields,
    supplement: Option<(u64, usize)>,
) -> Result<Early<H>, Error> {
    let mut digest = Digest::new();
    let flbs = read_flbs(host, fields.flbs, &mut digest)?;
    let mut subsystems = Vec::new();
    if let Some((address, len)) = supplement {
        let update = fields.update_number;
        let (found, all) = supplement::read(host, address, len, update, digest)?;
        fields.supplement = Some(found);
        subsystems = all;
    }
    Ok(Early {
        fields,
        flbs,
        subsystems,
    })
}

fn read_root<H: Host>(host: &H, address: u64, len: usize) -> Result<RootFields, Refusal> {
    if len < size_of::<Root>() {
        return Err(Refusal::RootTooShort { len });
    }
    let page = page(host, Area::Root, address)?;
    let root: Root = record(&page, 0).ok_or(Refusal::RootTooShort { len })?;
    if root.compatible != COMPATIBLE {
        return Err(Refusal::Version {
            found: root.compatible,
        });
    }
    Ok(RootFields {
        update_number: root.update_number,
        sessions: root.sessions,
        flbs: root.flbs,
        supplement: None,
    })
}

fn read_flbs<H: Host>(
    host: &H,
    address: u64,
    digest: &mut Digest,
) -> Result<Vec<flb::Arrived<H>>, Error> {
    let mut all: Vec<flb::Arrived<H>> = Vec::new();
    if address == 0 {
        return Ok(all);
    }
    let page = page(host, Area::Flbs, address)?;
    let header: FlbHeader = record(&page, 0).ok_or(Error::Inconsistent)?;
    let (pages, count) = (header.pages, header.count);
    if pages != 1 || count > MAX_FLBS as u64 {
        return Err(Refusal::FlbHeader { pages, count }.into());
    }
    for at in 0..MAX_FLBS.min(usize::try_from(count).unwrap_or(MAX_FLBS)) {
        let offset = offset_of_record::<FlbRecord>(size_of::<FlbHeader>(), at);
        let found: FlbRecord = record(&page, offset).ok_or(Error::Inconsistent)?;
        digest.absorb_bytes(found.as_bytes());
        let name = Compat::parse(&found.name).map_err(Refusal::FlbName)?;
        if all.iter().any(|other| other.name == name) {
            return Err(Refusal::DuplicateFlb(name).into());
        }
        all.push(flb::Arrived::new(name, found.data, found.count))?;
    }
    Ok(all)
}
