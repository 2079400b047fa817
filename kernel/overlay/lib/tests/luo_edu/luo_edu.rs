// SPDX-License-Identifier: GPL-2.0-only

//! QEMU's device `edu`, for tests: a device that goes on running through live updates.
//!
//! It is made for learning: it has a buffer of 4 KiB, brings bytes from there into memory and back by
//! itself, a tenth of a second after it was told to, and sends an interrupt when it is done.
//!
//! Each such device is a file, `/dev/luo_edu0` and so on in the order in which the kernel finds them:
//!
//! ```text
//! pwrite at 0          up to 4088 bytes go into the device's buffer; waits until they are there
//! pwrite at 4096       4 bytes: a mark, which the device keeps in a register
//! pwrite at 8192       4 bytes: so many bytes of the buffer are to come into memory; does not wait
//! pread below 4096     that memory; waits until the device does nothing
//! fdinfo               what the device is doing, and how it was found: see `files`
//! ```
//!
//! The file can be preserved, by one session at a time. The device goes on in the next kernel: what
//! it was told to bring comes, while no kernel has a driver for it, and the file that is
//! retrieved there is one of the device as it is. Until then the file cannot be opened (EBUSY).
//!
//! - [`regs`]: the device's registers.
//! - [`edu`]: a device, and what it does.
//! - [`driver`]: how it is found.
//! - [`files`]: its file. [`handler`]: what becomes of the file in a live update.
//! - [`sys`]: what is unsafe.

mod driver;
mod edu;
mod files;
mod handler;
mod regs;
mod sys;

kernel::module_pci_driver! {
    type: driver::Driver,
    name: "luo_edu",
    authors: ["The LUO in Rust authors"],
    description: "QEMU's device edu, which goes on through live updates",
    license: "GPL",
}
