// SPDX-License-Identifier: MIT OR Apache-2.0
//! What KVM's crates leave unsafe, or out, made safe: giving a virtual machine its RAM, a machine or
//! an eventfd that was a descriptor, memory of its own (guest_memfd), a processor's extended state,
//! and the offset of its counter.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, IntoRawFd as _, OwnedFd};

use kvm_bindings::{
    KVM_MEM_GUEST_MEMFD, KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, kvm_create_guest_memfd,
    kvm_device_attr, kvm_userspace_memory_region, kvm_userspace_memory_region2, kvm_xsave,
};
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};
use rustix::io::Errno;
use vm_memory::{Address, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};
use vmm_sys_util::eventfd::EventFd;

use crate::error::{Error, Result};
use crate::map::MappedFile;

/// A flag of [`create_memory`]: it can be mapped (`GUEST_MEMFD_FLAG_MMAP`).
pub const MEMORY_MMAP: u64 = 1;

/// A flag of [`create_memory`]: all of it is shared with the host
/// (`GUEST_MEMFD_FLAG_INIT_SHARED`).
pub const MEMORY_INIT_SHARED: u64 = 2;

/// A virtual machine whose descriptor came from elsewhere.
///
/// # Errors
/// Those of KVM_GET_VCPU_MMAP_SIZE. That the descriptor is none of a machine's says the first call.
pub fn machine(kvm: &Kvm, fd: OwnedFd) -> Result<VmFd> {
    let call = "KVM_GET_VCPU_MMAP_SIZE";
    let raw = fd.into_raw_fd();
    // SAFETY: The descriptor was owned, and nobody owns it now but the result. If there is none, it
    // stays open until the process ends.
    unsafe { kvm.create_vmfd_from_rawfd(raw) }.map_err(of(call))
}

/// The descriptor of a virtual machine, for calls that are not KVM's.
#[must_use]
pub fn descriptor(vm: &VmFd) -> BorrowedFd<'_> {
    // SAFETY: The machine owns it, and is borrowed for as long as the result.
    unsafe { BorrowedFd::borrow_raw(vm.as_raw_fd()) }
}

/// An eventfd whose descriptor came from elsewhere. One that is none fails at its first use.
#[must_use]
pub fn eventfd(fd: OwnedFd) -> EventFd {
    // SAFETY: The descriptor was owned, and nobody owns it now but the result.
    unsafe { EventFd::from_raw_fd(fd.into_raw_fd()) }
}

/// The descriptor of an eventfd, for calls that are not KVM's.
#[must_use]
pub fn descriptor_of(eventfd: &EventFd) -> BorrowedFd<'_> {
    // SAFETY: The eventfd owns it, and is borrowed for as long as the result.
    unsafe { BorrowedFd::borrow_raw(eventfd.as_raw_fd()) }
}

/// Makes memory of a virtual machine, of so many bytes.
///
/// # Errors
/// EINVAL: not whole pages, or flags that the kernel or this kind of machine does not have.
pub fn create_memory(vm: &VmFd, size: u64, flags: u64) -> Result<OwnedFd> {
    let call = "KVM_CREATE_GUEST_MEMFD";
    let wanted = kvm_create_guest_memfd {
        size,
        flags,
        reserved: [0; 6],
    };
    let fd = vm.create_guest_memfd(wanted).map_err(of(call))?;
    // SAFETY: The kernel has just made it for this call, which nobody else knows of.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Gives a virtual machine memory of its own, mapped whole, at an address of the guest's.
///
/// The mapping stays for as long as the process: see [`give_ram`].
///
/// # Errors
/// EINVAL: it is not memory of this machine, or cannot be mapped. EEXIST: it overlaps a slot.
pub fn give_memory(
    vm: &VmFd,
    slot: u32,
    address: u64,
    memory: impl AsFd,
    map: MappedFile,
) -> Result<()> {
    let call = "KVM_SET_USER_MEMORY_REGION2";
    let raw = memory.as_fd().as_raw_fd();
    let region = kvm_userspace_memory_region2 {
        slot,
        flags: KVM_MEM_GUEST_MEMFD,
        guest_phys_addr: address,
        memory_size: map.len() as u64,
        userspace_addr: map.address() as u64,
        guest_memfd_offset: 0,
        guest_memfd: u32::try_from(raw).unwrap_or(u32::MAX),
        ..kvm_userspace_memory_region2::default()
    };
    core::mem::forget(map);
    // SAFETY: The range is that of a mapping which was never given back, and whose type takes its
    // memory for one that changes at any time.
    unsafe { vm.set_user_memory_region2(region) }.map_err(of(call))
}

/// Gives a virtual machine its RAM: a slot for each region, numbered from 0.
///
/// The mappings stay for as long as the process, because the machine may be kept alive by any
/// of its descriptors: there is one machine in a process, or few.
///
/// # Errors
/// EINVAL: a region is not made of whole pages. EEXIST: it overlaps a slot. ENOMEM.
pub fn give_ram(vm: &VmFd, ram: &GuestMemoryMmap) -> Result<()> {
    let call = "KVM_SET_USER_MEMORY_REGION";
    // A reference to each mapping that is never given back.
    core::mem::forget(ram.clone());
    for (slot, region) in (0..).zip(ram.iter()) {
        let slot = kvm_userspace_memory_region {
            slot,
            guest_phys_addr: region.start_addr().raw_value(),
            memory_size: region.len(),
            userspace_addr: region.as_ptr().expose_provenance() as u64,
            flags: 0,
        };
        // SAFETY: The range is a mapping of `region`'s, whose type says so, and it is there until
        // the process ends, for the clone above is never dropped. What the guest writes there this
        // process reads by `vm_memory` only, which takes it for memory that changes at any time.
        unsafe { vm.set_user_memory_region(slot) }.map_err(of(call))?;
    }
    Ok(())
}

/// Gives a virtual machine its RAM that is memory of its own ([`create_memory`]), mapped as `ram`:
/// one region, which gets the slot 0.
///
/// The mapping stays for as long as the process: see [`give_ram`].
///
/// # Errors
/// EINVAL: it is not memory of this machine, or `ram` has not one region. EEXIST: it overlaps a slot.
pub fn give_own_ram(vm: &VmFd, ram: &GuestMemoryMmap, memory: impl AsFd) -> Result<()> {
    let call = "KVM_SET_USER_MEMORY_REGION2";
    let mut regions = ram.iter();
    let (Some(region), None) = (regions.next(), regions.next()) else {
        return Err(Error::of(call)(Errno::INVAL));
    };
    // A reference to the mapping that is never given back.
    core::mem::forget(ram.clone());
    let raw = memory.as_fd().as_raw_fd();
    let region = kvm_userspace_memory_region2 {
        slot: 0,
        flags: KVM_MEM_GUEST_MEMFD,
        guest_phys_addr: region.start_addr().raw_value(),
        memory_size: region.len(),
        userspace_addr: region.as_ptr().expose_provenance() as u64,
        guest_memfd_offset: 0,
        guest_memfd: u32::try_from(raw).unwrap_or(u32::MAX),
        ..kvm_userspace_memory_region2::default()
    };
    // SAFETY: As in `give_ram`: the range is a mapping of `region`'s, which is there until the process
    // ends, and which is read by `vm_memory` only.
    unsafe { vm.set_user_memory_region2(region) }.map_err(of(call))
}

/// Sets a processor's extended state: the registers of floating point and vectors.
///
/// # Errors
/// EINVAL: the state is none of this processor. E2BIG: the machine's processors have more of it
/// than the structure holds, which is so only once the process has asked for it (`arch_prctl`).
pub fn set_xsave(vm: &VmFd, vcpu: &VcpuFd, state: &kvm_xsave) -> Result<()> {
    let call = "KVM_SET_XSAVE";
    let bytes = usize::try_from(vm.check_extension_int(Cap::Xsave2)).unwrap_or_default();
    if bytes > size_of::<kvm_xsave>() {
        return Err(Error::of(call)(Errno::TOOBIG));
    }
    // SAFETY: The kernel reads as many bytes as it has just said, or as the structure has where it
    // knows no other size; that the structure has them was compared.
    unsafe { vcpu.set_xsave(state) }.map_err(of(call))
}

/// `KVM_SET_DEVICE_ATTR` and `KVM_GET_DEVICE_ATTR`.
const SET_ATTR: libc::c_ulong = 0x4018_aee1;
const GET_ATTR: libc::c_ulong = 0x4018_aee2;

/// The offset of a processor's counter (TSC) to the host's, in arithmetic modulo 2^64.
///
/// # Errors
/// ENXIO: the kernel is older than Linux 5.16.
pub fn tsc_offset(vcpu: &VcpuFd) -> Result<u64> {
    let mut offset = 0;
    attribute(vcpu, GET_ATTR, &mut offset, "KVM_GET_DEVICE_ATTR")?;
    Ok(offset)
}

/// Sets that offset. It is exact, whenever it is done.
///
/// # Errors
/// ENXIO: the kernel is older than Linux 5.16.
pub fn set_tsc_offset(vcpu: &VcpuFd, mut offset: u64) -> Result<()> {
    attribute(vcpu, SET_ATTR, &mut offset, "KVM_SET_DEVICE_ATTR")
}

fn attribute(
    vcpu: &VcpuFd,
    request: libc::c_ulong,
    offset: &mut u64,
    call: &'static str,
) -> Result<()> {
    debug_assert!([SET_ATTR, GET_ATTR].contains(&request));
    let attr = kvm_device_attr {
        group: KVM_VCPU_TSC_CTRL,
        attr: KVM_VCPU_TSC_OFFSET.into(),
        addr: core::ptr::from_mut(offset).expose_provenance() as u64,
        flags: 0,
    };
    // SAFETY: The request takes this structure and does not change it. This attribute is eight bytes,
    // which the kernel reads from or writes to `addr`: the number that is borrowed for the call.
    match unsafe { libc::ioctl(vcpu.as_raw_fd(), request as _, &raw const attr) } {
        0 => Ok(()),
        _ => Err(Error::last(call)),
    }
}

fn of(call: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> Error {
    move |why| Error::of(call)(Errno::from_raw_os_error(why.errno()))
}
