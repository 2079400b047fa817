// SPDX-License-Identifier: GPL-2.0-only

//! What becomes of a device's file in a live update.

use kernel::{
    liveupdate::file::{
        FileHandler,
        Registration, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        Arc,
        SetOnce, //
    },
};

use crate::{
    driver,
    edu::Edu,
    files::Opened, //
};

/// What a file leaves: where its device is, and the device's memory, which is below 4 GiB.
///
/// ```text
/// 63      48 47    32 31          12 11        0
/// |  domain |  bdf   |  page number |   flags  |
/// ```
#[derive(Clone, Copy)]
struct Left {
    place: (u32, u16),
    memory: u64,
    /// The device was at work at the freeze.
    is_running: bool,
}

const RUNNING: u64 = 1;
const FLAGS: u64 = PAGE_SIZE as u64 - 1;
const MEMORY: u64 = u32::MAX as u64 & !FLAGS;

impl Left {
    fn to_bits(self) -> Result<u64> {
        let (domain, bdf) = self.place;
        let domain = u16::try_from(domain).map_err(|_| EOPNOTSUPP)?;
        if self.memory & !MEMORY != 0 {
            return Err(EINVAL);
        }
        let flags = if self.is_running { RUNNING } else { 0 };
        Ok(u64::from(domain) << 48 | u64::from(bdf) << 32 | self.memory | flags)
    }

    /// What a number says, which may come from anywhere.
    fn from_bits(bits: u64) -> Result<Self> {
        let flags = bits & FLAGS;
        if flags & !RUNNING != 0 {
            return Err(EINVAL);
        }
        Ok(Self {
            place: ((bits >> 48) as u32, (bits >> 32) as u16),
            memory: bits & MEMORY,
            is_running: flags & RUNNING != 0,
        })
    }
}

/// The handler.
struct Files;

#[vtable]
impl FileHandler for Files {
    type Object = Edu;
    type File = Opened;
    const COMPATIBLE: &'static CStr = c"luo-edu-v1";
    const NAME: &'static CStr = c"[luo_edu]";

    fn preserve(edu: &Edu) -> Result<u64> {
        let left = Left {
            place: edu.place(),
            memory: edu.preserve()?,
            is_running: false,
        };
        left.to_bits().inspect_err(|_| edu.unpreserve())
    }

    fn unpreserve(edu: &Edu, _data: u64) {
        edu.unpreserve();
    }

    fn freeze(edu: &Edu, data: u64) -> Result<u64> {
        let left = Left::from_bits(data)?;
        let is_running = edu.freeze()?;
        let left = Left { is_running, ..left };
        left.to_bits().inspect_err(|_| edu.unfreeze())
    }

    fn unfreeze(edu: &Edu, _data: u64) {
        edu.unfreeze();
    }

    fn retrieve(data: u64) -> Result<Arc<Edu>> {
        let left = Left::from_bits(data)?;
        let edu = driver::at(left.place).ok_or(ENODEV)?;
        edu.take_over(left.memory, left.is_running)?;
        Ok(edu)
    }

    fn finish(edu: Option<&Edu>, data: u64) {
        if let Some(edu) = edu {
            edu.finish();
            return;
        }
        let found = Left::from_bits(data).and_then(|left| {
            let edu = driver::at(left.place).ok_or(ENODEV)?;
            edu.discard(left.memory)?;
            edu.finish();
            Ok(())
        });
        if let Err(why) = found {
            // The device may still write to it.
            pr_warn!("{data:#x}: the memory of a device stays reserved ({why:?})\n");
        }
    }
}

/// Registers the handler, once. Without live update there is none.
pub(crate) fn register() {
    static HANDLER: SetOnce<Registration<Files>> = SetOnce::new();
    if HANDLER.as_ref().is_some() {
        return;
    }
    match Registration::register_of_pci() {
        Ok(handler) => {
            HANDLER.populate(handler);
        }
        Err(EOPNOTSUPP) => {}
        Err(why) => pr_err!("files of devices cannot be preserved: {why:?}\n"),
    }
}
