// SPDX-License-Identifier: GPL-2.0-only

//! The files of the devices, for user space.

use kernel::{
    fs::{
        File,
        Kiocb, //
    },
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    liveupdate::DeviceFiles,
    miscdevice::{
        MiscDevice,
        MiscDeviceRegistration, //
    },
    page::PAGE_SIZE,
    prelude::*,
    seq_file::{
        seq_print,
        SeqFile, //
    },
    sync::{
        Arc,
        ArcBorrow, //
    },
};

use crate::{
    driver,
    edu::Edu, //
};

/// Where in the file is what.
const BYTES: i64 = 0;
const MARK: i64 = 4096;
const FETCH: i64 = 8192;

/// An open file.
pub(crate) struct Opened;

/// By which the handler knows such files.
pub(crate) static FILES: DeviceFiles<Opened> = DeviceFiles::new();

#[vtable]
impl MiscDevice for Opened {
    type Ptr = Arc<Edu>;

    fn open(_file: &File, device: &MiscDeviceRegistration<Self>) -> Result<Arc<Edu>> {
        let edu = driver::of_file(device.device().name()).ok_or(ENODEV)?;
        edu.is_usable()?;
        Ok(edu)
    }

    fn read_iter(mut kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterDest<'_>) -> Result<usize> {
        let bytes = kiocb.file().memory()?;
        iov.simple_read_from_buffer(kiocb.ki_pos_mut(), &bytes)
    }

    fn write_iter(kiocb: Kiocb<'_, Self::Ptr>, iov: &mut IovIterSource<'_>) -> Result<usize> {
        let (edu, at, length) = (kiocb.file(), kiocb.ki_pos(), iov.len());
        if length == 0 || length > PAGE_SIZE {
            return Err(EINVAL);
        }
        let mut bytes = KVec::with_capacity(length, GFP_KERNEL)?;
        if iov.copy_from_iter_vec(&mut bytes, GFP_KERNEL)? != length {
            return Err(EFAULT);
        }
        let number = || {
            let bytes = bytes.as_slice().try_into().map_err(|_| EINVAL)?;
            Ok::<_, Error>(u32::from_ne_bytes(bytes))
        };
        match at {
            BYTES => edu.fill(&bytes)?,
            MARK => edu.mark(number()?)?,
            FETCH => edu.fetch(number()? as usize)?,
            _ => return Err(EINVAL),
        }
        Ok(length)
    }

    fn show_fdinfo(edu: ArcBorrow<'_, Edu>, text: &SeqFile, _file: &File) {
        let Ok(view) = edu.view() else {
            return;
        };
        let numbers = [
            ("mark", view.mark),
            ("running", view.is_running.into()),
            ("interrupts", view.interrupts),
            // What was found of it when this kernel found it.
            ("arrived", view.found.arrived.into()),
            ("mastering", view.found.is_master.into()),
            // It was at work when the previous kernel had done its last with it, and done when
            // this one did its first.
            ("away", view.was_away.into()),
        ];
        for (what, number) in numbers {
            seq_print!(text, "edu-{what}:\t{number}\n");
        }
    }
}
