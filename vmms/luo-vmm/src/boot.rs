// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest's first start: its program goes into RAM, and its processor to the beginning of it.
//!
//! | program | where it is loaded | how it begins |
//! |---|---|---|
//! | a Linux kernel (bzImage) | where its header says, 1 MiB | at its 32-bit entry, RSI at the boot parameters |
//! | a flat binary | 1 MiB | at its first byte |
//!
//! Both begin in protected mode with flat segments, without pages and without interrupts. Below 1 MiB
//! lie the descriptor table, the boot parameters and the command line.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kvm_bindings::{kvm_regs, kvm_segment, kvm_sregs};
use linux_loader::configurator::linux::LinuxBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::bootparam::{boot_e820_entry, boot_params};
use linux_loader::loader::{BzImage, KernelLoader};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use crate::ram::Ram;

/// The program of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A Linux kernel.
    Linux {
        /// Its bzImage.
        kernel: PathBuf,
        /// Its initramfs.
        initrd: Option<PathBuf>,
        /// Its command line.
        cmdline: String,
    },
    /// A program that needs nothing.
    Flat(PathBuf),
}

/// Why a guest's program cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no kernel.
    #[error("{path}: it is no bzImage: {why}")]
    NoKernel {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Something does not fit.
    #[error("{what} does not fit into the guest's RAM")]
    NoRoom {
        /// What.
        what: &'static str,
    },
}

const GDT: u64 = 0x500;
const PARAMS: u64 = 0x7000;
const CMDLINE: u64 = 0x2_0000;
/// The limit of kernels, and its final zero. A kernel may say a lower one.
const CMDLINE_LIMIT: usize = 2048;
/// How high an initramfs may end for a kernel that does not say it.
const INITRD_MAX: u32 = 0x37ff_ffff;
/// Where RAM ends that a PC keeps for its firmware.
const LOW_END: u64 = 0x9_fc00;
/// Where a program is loaded.
const HIGH: u64 = 0x10_0000;

/// Flat code and data, at the selectors that Linux wants.
const TABLE: [u64; 4] = [0, 0, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
const CODE: u16 = 0x10;
const DATA: u16 = 0x18;

/// Puts a program into RAM; gives the registers with which it begins.
///
/// # Errors
/// [`Refusal`].
pub fn load(program: &Program, ram: &Ram) -> Result<kvm_regs, Refusal> {
    let table = ram.write_obj(TABLE, GuestAddress(GDT));
    table.map_err(|_| Refusal::NoRoom { what: "its table" })?;
    let mut regs = kvm_regs {
        rflags: 2,
        rip: HIGH,
        ..kvm_regs::default()
    };
    match program {
        Program::Flat(path) => {
            let bytes = read(path)?;
            let loaded = ram.write_slice(&bytes, GuestAddress(HIGH));
            loaded.map_err(|_| Refusal::NoRoom {
                what: "its program",
            })?;
        }
        Program::Linux {
            kernel,
            initrd,
            cmdline,
        } => {
            regs.rip = linux(ram, kernel, initrd.as_deref(), cmdline)?;
            regs.rsi = PARAMS;
        }
    }
    Ok(regs)
}

/// Sets the segments that a program begins with.
pub fn flatten(sregs: &mut kvm_sregs) {
    let code = kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector: CODE,
        // Code that can be read, and was.
        type_: 11,
        present: 1,
        dpl: 0,
        db: 1,
        s: 1,
        l: 0,
        g: 1,
        ..kvm_segment::default()
    };
    let data = kvm_segment {
        selector: DATA,
        type_: 3,
        ..code
    };
    sregs.cs = code;
    for segment in [
        &mut sregs.ds,
        &mut sregs.es,
        &mut sregs.fs,
        &mut sregs.gs,
        &mut sregs.ss,
    ] {
        *segment = data;
    }
    sregs.gdt.base = GDT;
    sregs.gdt.limit = size_of_val(&TABLE) as u16 - 1;
    // Protected mode.
    sregs.cr0 |= 1;
}

fn linux(ram: &Ram, path: &Path, initrd: Option<&Path>, line: &str) -> Result<u64, Refusal> {
    let mut image = File::open(path).map_err(|source| Refusal::File {
        path: path.to_owned(),
        source,
    })?;
    let loaded = BzImage::load(ram, None, &mut image, Some(GuestAddress(HIGH)));
    let no_kernel = |why: String| Refusal::NoKernel {
        path: path.to_owned(),
        why,
    };
    let loaded = loaded.map_err(|why| no_kernel(why.to_string()))?;
    let header = loaded
        .setup_header
        .ok_or_else(|| no_kernel("no header".into()))?;
    let end = ram.last_addr().0 + 1;
    // Where it unpacks itself: not below the address that it prefers.
    let from = loaded.kernel_load.0.max(header.pref_address);
    let from = from.checked_next_multiple_of(u64::from(header.kernel_alignment).max(1));
    let needed = from.and_then(|from| from.checked_add(u64::from(header.init_size)));
    let needed = needed.filter(|needed| *needed <= end);
    let needed = needed.ok_or(Refusal::NoRoom {
        what: "its kernel, unpacked,",
    })?;
    let mut params = boot_params {
        hdr: header,
        ..boot_params::default()
    };
    // A loader that has no number of its own.
    params.hdr.type_of_loader = 0xff;
    if let Some(path) = initrd {
        let bytes = read(path)?;
        // At the end of the RAM in which the kernel can read it, out of the way of the kernel that
        // unpacks itself.
        let no_room = Refusal::NoRoom {
            what: "its initramfs",
        };
        let most = match header.initrd_addr_max {
            0 => INITRD_MAX,
            most => most,
        };
        let last = end.min(u64::from(most) + 1);
        let Some(at) = last.checked_sub(bytes.len() as u64).map(|at| at & !0xfff) else {
            return Err(no_room);
        };
        if at < needed || ram.write_slice(&bytes, GuestAddress(at)).is_err() {
            return Err(no_room);
        }
        params.hdr.ramdisk_image = u32::try_from(at).unwrap_or_default();
        params.hdr.ramdisk_size = u32::try_from(bytes.len()).unwrap_or_default();
    }
    let most = match header.cmdline_size {
        0 => CMDLINE_LIMIT,
        most => usize::try_from(most).map_or(CMDLINE_LIMIT, |most| CMDLINE_LIMIT.min(most + 1)),
    };
    if line.len() >= most {
        let what = "its command line";
        return Err(Refusal::NoRoom { what });
    }
    let mut bytes = line.as_bytes().to_vec();
    bytes.push(0);
    params.hdr.cmd_line_ptr = CMDLINE as u32;
    let no_room = |what| move |_| Refusal::NoRoom { what };
    let written = ram.write_slice(&bytes, GuestAddress(CMDLINE));
    written.map_err(no_room("its command line"))?;
    for (to, (addr, size)) in params
        .e820_table
        .iter_mut()
        .zip([(0, LOW_END), (HIGH, end.saturating_sub(HIGH))])
    {
        *to = boot_e820_entry {
            addr,
            size,
            r#type: 1,
        };
    }
    params.e820_entries = 2;
    let params = BootParams::new(&params, GuestAddress(PARAMS));
    let written = LinuxBootConfigurator::write_bootparams(&params, ram);
    written.map_err(|_| Refusal::NoRoom {
        what: "its parameters",
    })?;
    Ok(loaded.kernel_load.0)
}

fn read(path: &Path) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
    read.map_err(|source| Refusal::File {
        path: path.to_owned(),
        source,
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
