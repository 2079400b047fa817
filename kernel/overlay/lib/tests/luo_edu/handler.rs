// SPDX-License-Identifier: GPL-2.0-only

//! What becomes of a device's file in a live update.

use core::ptr;

use kernel::{
    fs::File,
    liveupdate::{
        pci::{
            self,
            Registration, //
        },
        FileHandler,
        Handler,
        Incoming,
        Outgoing,
        Preserved,
        Session, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        aref::ARef,
        SetOnce, //
    },
};

use crate::{
    driver,
    files::FILES, //
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
struct Edus;

static HANDLER: Handler<Edus> = Handler::new(Edus);

#[vtable]
impl FileHandler for Edus {
    const COMPATIBLE: &'static CStr = c"luo-edu-v1";
    // All that is kept is the device's.
    type Data = ();

    fn can_preserve(&self, file: &File) -> bool {
        FILES.data(file).is_some()
    }

    fn object_id(file: &File) -> usize {
        // All files of a device stand for the device.
        FILES
            .data(file)
            .map_or(0, |edu| ptr::from_ref(&*edu).addr())
    }

    fn preserve(&self, _: &Session<'_>, file: &File) -> Result<Preserved<()>> {
        let edu = FILES.data(file).ok_or(EINVAL)?;
        let left = Left {
            place: edu.place(),
            memory: edu.preserve()?,
            is_running: false,
        };
        let handle = left.to_bits().inspect_err(|_| edu.unpreserve())?;
        Ok(Preserved { handle, data: () })
    }

    fn unpreserve(&self, file: &File, _handle: u64, (): ()) {
        if let Some(edu) = FILES.data(file) {
            edu.unpreserve();
        }
    }

    fn freeze(&self, file: &mut Outgoing<'_, ()>) -> Result<u64> {
        let edu = FILES.data(file.file).ok_or(EINVAL)?;
        let left = Left::from_bits(file.handle)?;
        let is_running = edu.freeze()?;
        let left = Left { is_running, ..left };
        left.to_bits().inspect_err(|_| edu.unfreeze())
    }

    fn unfreeze(&self, file: &mut Outgoing<'_, ()>) {
        if let Some(edu) = FILES.data(file.file) {
            edu.unfreeze();
        }
    }

    fn retrieve(&self, _: &Session<'_>, handle: u64) -> Result<ARef<File>> {
        let left = Left::from_bits(handle)?;
        let edu = driver::at(left.place).ok_or(ENODEV)?;
        edu.take_over(left.memory, left.is_running)?;
        FILES.make(c"[luo_edu]", edu)
    }

    fn finish(&self, file: &Incoming<'_>) {
        if let Some(edu) = file.file.and_then(|file| FILES.data(file)) {
            edu.finish();
            return;
        }
        let handle = file.handle;
        let found = Left::from_bits(handle).and_then(|left| {
            let edu = driver::at(left.place).ok_or(ENODEV)?;
            edu.discard(left.memory)?;
            edu.finish();
            Ok(())
        });
        if let Err(why) = found {
            // The device may still write to it.
            pr_warn!("{handle:#x}: the memory of a device stays reserved ({why:?})\n");
        }
    }
}

/// Registers the handler, once. Without live update there is none.
pub(crate) fn register() {
    static REGISTRATION: SetOnce<Registration<Edus>> = SetOnce::new();
    if REGISTRATION.as_ref().is_some() {
        return;
    }
    match pci::register(&HANDLER) {
        Ok(registration) => {
            REGISTRATION.populate(registration);
        }
        Err(EOPNOTSUPP) => {}
        Err(why) => pr_err!("files of devices cannot be preserved: {why:?}\n"),
    }
}
