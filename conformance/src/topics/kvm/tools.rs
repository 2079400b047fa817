// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual machines for the cases, and a guest of a few bytes.

use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context as _, Result, bail};
use kvm_bindings::{KVM_CAP_GUEST_MEMFD, kvm_enable_cap};
use kvm_ioctls::{Kvm, VcpuExit, VmFd};
use luo_sys::{Errno, MappedFile, kvm};

use crate::case::Context;
use crate::check::{Absent, same, skip};
use crate::implementation::Implementation;

/// Bytes of a page.
pub(super) const PAGE: usize = 4096;

/// Bytes of the memory of all machines here.
pub(super) const SIZE: u64 = 64 << 10;

/// What memory has to be made with so that it can be preserved.
pub(super) const SHARED: u64 = kvm::MEMORY_MMAP | kvm::MEMORY_INIT_SHARED;

/// KVM.
///
/// # Errors
/// A skip where there is none; the simulator has no machines.
pub(super) fn open(context: &Context<'_>) -> Result<Kvm> {
    const NODE: &str = "/dev/kvm";
    if context.implementation == Implementation::Simulator {
        return Err(Absent("a virtual machine".to_owned()).into());
    }
    match std::fs::metadata(NODE) {
        Err(why) if why.kind() == ErrorKind::NotFound => Err(skip(format!(
            "there is no {NODE}: the kernel has no KVM, or the processor does not have it (SVM)"
        ))),
        _ => Kvm::new().context(NODE),
    }
}

/// A machine that is set up with nothing.
pub(super) fn machine(context: &Context<'_>) -> Result<VmFd> {
    open(context)?.create_vm().context("KVM_CREATE_VM")
}

/// Enables a capability of a machine.
pub(super) fn enable(machine: &VmFd, cap: u32, arg: u64) -> Result<()> {
    let wanted = kvm_enable_cap {
        cap,
        args: [arg, 0, 0, 0],
        ..kvm_enable_cap::default()
    };
    let enabled = machine.enable_cap(&wanted);
    enabled.with_context(|| format!("capability {cap}"))
}

/// Asserts that a call of KVM's is refused with an error.
pub(super) fn kvm_refuses<T>(done: Result<T, kvm_ioctls::Error>, errno: Errno) -> Result<()> {
    let found = done.err().map(|why| why.errno());
    same("the error", found, Some(errno.get()))
}

/// Memory of a machine.
///
/// # Errors
/// A skip where KVM has none that is shared.
pub(super) fn memory(machine: &VmFd) -> Result<OwnedFd> {
    if machine.check_extension_raw(KVM_CAP_GUEST_MEMFD.into()) == 0 {
        return Err(skip("KVM has no guest_memfd for such a machine"));
    }
    Ok(kvm::create_memory(machine, SIZE, SHARED)?)
}

/// Such memory, mapped.
pub(super) fn map(memory: impl AsFd) -> Result<MappedFile> {
    let length = usize::try_from(SIZE)?;
    Ok(MappedFile::new(memory, length)?)
}

/// What the first word of a page of a file is filled with.
pub(super) fn word(page: usize) -> u64 {
    0x0101_0101_0101_0101 * (page as u64 + 1)
}

/// Writes to some pages.
pub(super) fn fill(map: &MappedFile, pages: &[usize]) -> Result<()> {
    for &page in pages {
        map.store(page * PAGE, word(page))?;
        map.store((page + 1) * PAGE - 8, !word(page))?;
    }
    Ok(())
}

/// Whether a page has what [`fill`] has written.
pub(super) fn is_filled(map: &MappedFile, page: usize) -> Result<bool> {
    let first = map.load(page * PAGE)? == word(page);
    Ok(first && map.load((page + 1) * PAGE - 8)? == !word(page))
}

/// Whether a page can be brought in: the kernel is to write to it, which tells of a fault by an
/// error and by no signal.
pub(super) fn touch(map: &MappedFile, page: usize) -> luo_sys::Result<()> {
    let zeros = luo_sys::memfd::create("zeros", PAGE as u64)?;
    map.read_from(&zeros, page * PAGE, 8).map(drop)
}

/// Punches a page out of a file, or fills the place of one.
pub(super) fn fallocate(file: impl AsFd, page: usize, punch: bool) -> std::io::Result<()> {
    use rustix::fs::FallocateFlags;
    let flags = match punch {
        true => FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE,
        false => FallocateFlags::KEEP_SIZE,
    };
    let done = rustix::fs::fallocate(file, flags, (page * PAGE) as u64, PAGE as u64);
    Ok(done?)
}

/// Where the guest's program is, in its memory; it reads the byte at [`FROM`], adds one, writes that to
/// [`TO`] and to a port, and halts.
const PROGRAM: usize = 1;
pub(super) const FROM: usize = 2;
pub(super) const TO: usize = 3;
const CODE: [u8; 16] = [
    0xa0, 0x00, 0x20, // mov al, [0x2000]
    0xfe, 0xc0, // inc al
    0xa2, 0x00, 0x30, // mov [0x3000], al
    0xe6, 0x10, // out 0x10, al
    0xf4, // hlt
    0x90, 0x90, 0x90, 0x90, 0x90,
];

/// Writes the guest's program into its memory.
pub(super) fn load(map: &MappedFile) -> Result<()> {
    for (at, bytes) in CODE.chunks_exact(8).enumerate() {
        let word = u64::from_le_bytes(bytes.try_into()?);
        map.store(PROGRAM * PAGE + at * 8, word)?;
    }
    Ok(())
}

/// Gives a machine its memory, from the guest's address 0 on.
pub(super) fn give(machine: &VmFd, memory: impl AsFd) -> Result<()> {
    let map = map(&memory)?;
    Ok(kvm::give_memory(machine, 0, 0, memory, map)?)
}

/// Runs the guest's program on a new processor; what it writes to the port, or the number of the
/// error.
pub(super) fn run(machine: &VmFd, number: u64) -> Result<Result<u8, i32>> {
    let mut vcpu = machine.create_vcpu(number).context("KVM_CREATE_VCPU")?;
    let mut sregs = vcpu.get_sregs()?;
    (sregs.cs.base, sregs.cs.selector) = (0, 0);
    vcpu.set_sregs(&sregs)?;
    let mut regs = vcpu.get_regs()?;
    (regs.rip, regs.rflags) = ((PROGRAM * PAGE) as u64, 2);
    vcpu.set_regs(&regs)?;
    match vcpu.run() {
        Ok(VcpuExit::IoOut(0x10, [byte])) => Ok(Ok(*byte)),
        Ok(other) => bail!("the guest stops with {other:?}"),
        Err(why) => Ok(Err(why.errno())),
    }
}
