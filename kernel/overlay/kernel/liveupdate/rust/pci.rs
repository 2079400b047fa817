// SPDX-License-Identifier: GPL-2.0-only
//! PCI devices that go on running through a kexec.
//!
//! Drivers say which (`include/linux/pci_liveupdate.h`), and the PCI core asks. The table of them
//! is an object that the files of all such drivers share (an FLB): it is there as long as one of
//! them is. What it says is in [`luo_core::pci`]; what touches the PCI core's own structures is in
//! `luo_pci.c`.

use kernel::prelude::*;
use luo_core::note::Unread;
use luo_core::ops::Image;
use luo_core::pci::{Devices, NotAdded, Place};
use luo_core::{BlockMemory as _, Host as _};

use crate::errno;
use crate::host::linux;
use crate::registry;
use crate::sys::flb::FlbTable;
use crate::sys::kexec;

/// The first file of such a driver is preserved: makes the table. Answers with its address.
pub(crate) fn begin() -> Result<u64> {
    let linux = linux().ok_or(EOPNOTSUPP)?;
    let page = linux.alloc_block().map_err(errno::to_kernel)?;
    let address = page.address();
    drop(linux.with_devices(|running| running.begin(page)));
    Ok(address)
}

/// None is preserved any more.
pub(crate) fn end() {
    if let Some(linux) = linux() {
        drop(linux.with_devices(|running| running.end()));
    }
}

/// Reads the table of the previous kernel.
pub(crate) fn take_over(address: u64) -> Result {
    let linux = linux().ok_or(EOPNOTSUPP)?;
    let page = linux.read_page(address).map_err(Unread::from);
    let devices = page.and_then(|page| Devices::read(&page)).map_err(|why| {
        // What has been running is stopped by the drivers that find it.
        linux.unread(luo_abi::pci::PCI, address, why);
        errno::to_kernel(why.errno())
    })?;
    linux.with_devices(|running| running.arrive(devices, address));
    Ok(())
}

/// The last file of the previous kernel is finished.
pub(crate) fn finish_all() {
    let Some(linux) = linux() else {
        return;
    };
    if let Some((address, left)) = linux.with_devices(|running| running.finish_all()) {
        if left > 0 {
            pr_warn!("{left} PCI devices or bridges of the previous kernel were never finished\n");
        }
        linux.free_page(address);
    }
}

/// See `pci_liveupdate_preserve()`.
pub(crate) fn preserve(path: &[Place]) -> Result {
    let linux = linux().ok_or(EOPNOTSUPP)?;
    let added = linux.with_devices(|running| running.add(path));
    added.map_err(|why: NotAdded| errno::to_kernel(why.errno()))
}

/// See `pci_liveupdate_unpreserve()`.
pub(crate) fn unpreserve(path: &[Place]) {
    if let Some(linux) = linux() {
        linux.with_devices(|running| running.remove(path));
    }
}

/// See `pci_liveupdate_finish()`.
pub(crate) fn finish(path: &[Place]) {
    if let Some(linux) = linux() {
        linux.with_devices(|running| running.finish(path));
    }
}

/// Whether a device has been running since the previous kernel. The first who asks causes the
/// table to be read; that is the PCI core, when it finds the first device.
pub(crate) fn is_incoming(table: &FlbTable, place: Place) -> bool {
    let Some(linux) = linux() else {
        return false;
    };
    if registry::get_incoming(table).is_err() {
        return false;
    }
    let is_incoming = linux.with_devices(|running| running.is_incoming(place));
    registry::put_incoming(table);
    is_incoming
}

/// Whether any device has ever arrived.
pub(crate) fn had_incoming() -> bool {
    linux().is_some_and(|linux| linux.with_devices(|running| running.had_incoming()))
}

/// Whether a device goes on running in the next kernel: if that is one which knows by the
/// handover what the device works on.
pub(crate) fn goes_on(place: Place) -> bool {
    linux().is_some_and(|linux| {
        kexec::image_to_boot() == Image::Handover
            && linux.with_devices(|running| running.goes_on(place))
    })
}
