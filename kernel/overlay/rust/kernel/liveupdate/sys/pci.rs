// SPDX-License-Identifier: GPL-2.0-only

//! PCI devices that go on running through a live update.
//!
//! C header: [`include/linux/pci_liveupdate.h`](srctree/include/linux/pci_liveupdate.h)

use core::ptr;

use super::handler::{
    Handler,
    HandlerRegistration, //
};
use crate::{
    bindings,
    device::DeviceContext,
    error::to_result,
    liveupdate::FileHandler,
    pci::Device,
    prelude::*, //
};

/// A handler of files that are PCI devices, registered until this is dropped.
///
/// # Invariants
///
/// What all such handlers share is registered with it.
#[must_use = "it is unregistered when this is dropped"]
pub struct Registration<T: FileHandler> {
    handler: &'static Handler<T>,
    // Dropped after what is shared.
    _registration: HandlerRegistration<T>,
}

/// Registers a handler of files that are PCI devices.
///
/// # Errors
///
/// Those of [`Handler::register`], and of registering what they share.
pub fn register<T: FileHandler>(handler: &'static Handler<T>) -> Result<Registration<T>> {
    let registration = handler.register()?;
    // SAFETY: The handler is registered.
    to_result(unsafe { bindings::pci_liveupdate_register_flb(handler.as_raw()) })?;
    // INVARIANT: It was just registered.
    Ok(Registration {
        handler,
        _registration: registration,
    })
}

impl<T: FileHandler> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant; the handler is registered until all of this is dropped.
        unsafe { bindings::pci_liveupdate_unregister_flb(self.handler.as_raw()) }
    }
}

fn raw<Ctx: DeviceContext>(device: &Device<Ctx>) -> *mut bindings::pci_dev {
    // A `Device` is nothing but that structure.
    ptr::from_ref(device).cast_mut().cast()
}

/// The domain that a device is in.
pub fn domain<Ctx: DeviceContext>(device: &Device<Ctx>) -> u32 {
    // SAFETY: The device is there, and on a bus.
    unsafe { bindings::luo_pci_domain(raw(device)) }
}

/// A device goes on running in the next kernel: the kexec leaves it as it is, but for its
/// interrupts, which it masks. Called in [`preserve`](FileHandler::preserve) of a handler that is
/// registered by [`register`]. What the device works on has to be preserved, too.
///
/// # Errors
///
/// - [`EINVAL`] if it is a virtual function or a bridge.
/// - [`EBUSY`] if it goes on already.
/// - [`ENOSPC`] if there are too many.
/// - [`ENOENT`] outside of such a call.
/// - [`EOPNOTSUPP`] if live update is off.
/// - [`ENOMEM`].
pub fn preserve<Ctx: DeviceContext>(device: &Device<Ctx>) -> Result {
    // SAFETY: The device is there.
    to_result(unsafe { bindings::pci_liveupdate_preserve(raw(device)) })
}

/// Undoes [`preserve`].
pub fn unpreserve<Ctx: DeviceContext>(device: &Device<Ctx>) {
    // SAFETY: The device is there.
    unsafe { bindings::pci_liveupdate_unpreserve(raw(device)) }
}

/// Whether a device has been running since the previous kernel. Until [`finish`].
pub fn is_incoming<Ctx: DeviceContext>(device: &Device<Ctx>) -> bool {
    // SAFETY: The device is there.
    unsafe { bindings::pci_liveupdate_is_incoming(raw(device)) }
}

/// A device from the previous kernel is one like all others now. Called in
/// [`finish`](FileHandler::finish).
pub fn finish<Ctx: DeviceContext>(device: &Device<Ctx>) {
    // SAFETY: The device is there.
    unsafe { bindings::pci_liveupdate_finish(raw(device)) }
}
