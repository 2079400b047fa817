// SPDX-License-Identifier: GPL-2.0-only

//! The one interrupt of a PCI device, a message.

use core::ptr;

use kernel::{
    device::Bound,
    irq::{
        Flags,
        ThreadedHandler,
        ThreadedRegistration, //
    },
    pci::{
        self,
        IrqType,
        IrqTypes,
        IrqVectorRegistration, //
    },
    prelude::*, //
};

/// The interrupt, and who is called for it, in a thread, until this is dropped.
///
/// # Invariants
///
/// `_handler` is dropped before `_vectors`, which it refers to: fields are dropped in order.
#[pin_data]
pub(crate) struct Irq<'bound, T: ThreadedHandler + 'static> {
    #[pin]
    _handler: ThreadedRegistration<'bound, T>,
    _vectors: KBox<IrqVectorRegistration<'bound>>,
}

impl<'bound, T: ThreadedHandler + 'static> Irq<'bound, T> {
    /// Has `handler` called from now on.
    pub(crate) fn new(
        device: &'bound pci::Device<Bound>,
        handler: T,
    ) -> impl PinInit<Self, Error> + 'bound {
        pin_init::pin_init_scope(move || {
            let types = IrqTypes::default().with(IrqType::Msi);
            let vectors = KBox::new(device.alloc_irq_vectors(1, 1, types)?, GFP_KERNEL)?;
            // SAFETY: The box keeps it where it is, and is dropped after the only one who has the
            // reference, by the type's invariant.
            let lent: &'bound IrqVectorRegistration<'bound> = unsafe { &*ptr::from_ref(&*vectors) };
            let request = lent.index(0)?.into();
            Ok(try_pin_init!(Self {
                // SAFETY: It is dropped with this, and this is never forgotten: it is a part of the
                // driver's data.
                _handler <- unsafe {
                    ThreadedRegistration::new(request, Flags::ONESHOT, c"luo_edu", Ok(handler))
                },
                _vectors: vectors,
            }))
        })
    }
}
