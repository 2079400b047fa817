// SPDX-License-Identifier: GPL-2.0-only
//! PCI devices that go on running through a kexec: what `luo_pci.c` calls.

use core::ptr;

use kernel::bindings;
use kernel::ffi::{c_int, c_uint};
use luo_core::pci::Place;

use super::exports::ret;
use super::flb::FlbTable;
use crate::pci;

/// A device, and as many bridges above it as there can be.
const DEPTH: usize = bindings::LUO_PCI_DEPTH as usize;

type Args = bindings::liveupdate_flb_op_args;

/// The shared table, as the engine knows it.
fn table() -> Option<FlbTable> {
    // SAFETY: It is static, and nothing of it that the engine looks at ever changes.
    unsafe { FlbTable::from_raw(&raw mut bindings::luo_pci_flb) }
}

fn place(raw: &bindings::luo_pci_place) -> Place {
    Place {
        domain: raw.domain,
        bdf: raw.bdf,
    }
}

/// Does something with a path.
///
/// # Safety
///
/// `path` points to `depth` places.
unsafe fn with_path<R>(
    path: *const bindings::luo_pci_place,
    depth: c_uint,
    work: impl FnOnce(&[Place]) -> R,
) -> R {
    // SAFETY: By the caller's promise.
    let raw = unsafe { core::slice::from_raw_parts(path, depth as usize) };
    let mut room = [Place::default(); DEPTH];
    for (to, from) in room.iter_mut().zip(raw) {
        *to = place(from);
    }
    // The path is never longer than the room.
    work(room.get(..raw.len()).unwrap_or_default())
}

/// # Safety
///
/// `args` are those of an FLB's callback.
#[no_mangle]
unsafe extern "C" fn luo_rust_pci_flb_preserve(args: *mut Args) -> c_int {
    ret(pci::begin().map(|address| {
        // SAFETY: The page was just preserved, so it is in the linear mapping. By the caller's
        // promise the arguments are valid for writes.
        unsafe {
            (*args).data = address;
            (*args).obj = bindings::phys_to_virt(address);
        }
    }))
}

/// # Safety
///
/// As of [`luo_rust_pci_flb_preserve`].
#[no_mangle]
unsafe extern "C" fn luo_rust_pci_flb_unpreserve(_args: *mut Args) {
    pci::end();
}

/// # Safety
///
/// As of [`luo_rust_pci_flb_preserve`].
#[no_mangle]
unsafe extern "C" fn luo_rust_pci_flb_retrieve(args: *mut Args) -> c_int {
    // SAFETY: By the caller's promise.
    let address = unsafe { (*args).data };
    ret(pci::take_over(address).map(|()| {
        // SAFETY: By the caller's promise.
        unsafe { (*args).obj = ptr::null_mut() }
    }))
}

/// # Safety
///
/// As of [`luo_rust_pci_flb_preserve`].
#[no_mangle]
unsafe extern "C" fn luo_rust_pci_flb_finish(_args: *mut Args) {
    pci::finish_all();
}

/// # Safety
///
/// `path` points to `depth` places.
#[no_mangle]
unsafe extern "C" fn luo_rust_pci_preserve(
    path: *const bindings::luo_pci_place,
    depth: c_uint,
) -> c_int {
    // SAFETY: By the caller's promise.
    ret(unsafe { with_path(path, depth, pci::preserve) })
}

/// # Safety
///
/// As of [`luo_rust_pci_preserve`].
#[no_mangle]
unsafe extern "C" fn luo_rust_pci_unpreserve(path: *const bindings::luo_pci_place, depth: c_uint) {
    // SAFETY: By the caller's promise.
    unsafe { with_path(path, depth, pci::unpreserve) }
}

/// # Safety
///
/// As of [`luo_rust_pci_preserve`].
#[no_mangle]
unsafe extern "C" fn luo_rust_pci_finish(path: *const bindings::luo_pci_place, depth: c_uint) {
    // SAFETY: By the caller's promise.
    unsafe { with_path(path, depth, pci::finish) }
}

#[no_mangle]
extern "C" fn luo_rust_pci_is_incoming(raw: bindings::luo_pci_place) -> bool {
    table().is_some_and(|table| pci::is_incoming(&table, place(&raw)))
}

/// The caller shuts devices down for a kexec, whose lock is held.
#[no_mangle]
extern "C" fn luo_rust_pci_goes_on(raw: bindings::luo_pci_place) -> bool {
    pci::goes_on(place(&raw))
}

#[no_mangle]
extern "C" fn luo_rust_pci_had_incoming() -> bool {
    pci::had_incoming()
}
