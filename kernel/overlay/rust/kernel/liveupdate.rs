// SPDX-License-Identifier: GPL-2.0-only

//! Live updates: taking part without having files, and with them.
//!
//! Files of a driver go along by a handler ([`file`]), the memory that its device works on by
//! [`memory`], and a PCI device itself goes on running by [`pci`].
//!
//! A subsystem hears of each update and may call it off. It can leave one number, usually an
//! address of memory that it hands over, for itself in the next kernel.
//!
//! C header: [`include/linux/liveupdate_subsystem.h`](srctree/include/linux/liveupdate_subsystem.h)
//!
//! # Examples
//!
//! ```
//! use kernel::liveupdate::{Registration, Subsystem};
//!
//! struct Clock;
//!
//! #[vtable]
//! impl Subsystem for Clock {
//!     fn prepare(&self) -> Result<u64> {
//!         Ok(0x10)
//!     }
//!
//!     fn freeze(&self, data: u64) -> Result<u64> {
//!         Ok(data + 1)
//!     }
//! }
//!
//! /// Takes part until the result is dropped.
//! fn take_part() -> Result<Registration<Clock>> {
//!     Registration::register(c"clock-v1", Clock)
//! }
//! ```

use core::{
    marker::PhantomPinned,
    mem::ManuallyDrop,
    ops::Deref,
    pin::Pin,
    ptr, //
};

use crate::{
    bindings,
    error::{
        from_result,
        to_result, //
    },
    ffi::{
        c_int,
        c_void, //
    },
    module::this_module,
    prelude::*,
    str::CStrExt as _,
    types::Opaque, //
};

pub mod file;
pub mod memory;
#[cfg(CONFIG_PCI_LIVEUPDATE)]
pub mod pci;

/// A subsystem that takes part in live updates.
///
/// Called in the order of registration, [`cancel`](Self::cancel) in the reverse. All may sleep.
/// None may register a subsystem or drop a [`Registration`]: that waits for the end of the
/// transition that they are a part of.
#[vtable]
pub trait Subsystem: Send + Sync {
    /// An update is being prepared, after all files. The answer is what this subsystem in the next
    /// kernel is to find.
    ///
    /// # Errors
    ///
    /// An error calls the update off: everybody else's part is undone. Undo what this call did
    /// before returning it.
    fn prepare(&self) -> Result<u64>;

    /// The last look before the kexec, after all files. The answer replaces that of
    /// [`prepare`](Self::prepare), which is `data`.
    ///
    /// # Errors
    ///
    /// An error calls the update off; [`cancel`](Self::cancel) follows.
    fn freeze(&self, data: u64) -> Result<u64> {
        Ok(data)
    }

    /// The update is called off. Undoes [`prepare`](Self::prepare), and [`freeze`](Self::freeze)
    /// if there was one; `data` is what they answered.
    fn cancel(&self, _data: u64) {}

    /// The update is over. `data` is what the previous kernel's [`freeze`](Self::freeze) answered;
    /// without it, this is not called.
    fn finish(&self, _data: u64) {}
}

/// A subsystem that takes part in live updates until this is dropped.
///
/// Dropped while an update is prepared, it cannot be unregistered any more: the subsystem then goes
/// on taking part, its memory is never freed and its module never unloaded.
///
/// # Invariants
///
/// `inner` is registered, and is not dropped while it is.
pub struct Registration<T: Subsystem + 'static> {
    inner: ManuallyDrop<Pin<KBox<Inner<T>>>>,
}

/// # Invariants
///
/// Once it is registered `raw` leads to the callbacks for `T` and to `subsystem`, their argument.
#[pin_data]
struct Inner<T> {
    #[pin]
    raw: Opaque<bindings::liveupdate_subsystem>,
    subsystem: T,
    // `raw` points to `subsystem`.
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: What C sees of it is constant, and `T` may be used by any task.
unsafe impl<T: Subsystem> Send for Registration<T> {}
// SAFETY: As above; all methods may be called in parallel.
unsafe impl<T: Subsystem> Sync for Registration<T> {}

impl<T: Subsystem + 'static> Registration<T> {
    /// Registers a subsystem under a name of 1 to 47 bytes, by which the next kernel knows it
    /// again. Waits for a transition that is under way.
    ///
    /// # Errors
    ///
    /// - [`EEXIST`] if the name is taken.
    /// - [`EBUSY`] if an update is prepared.
    /// - [`ENOSPC`] if there are too many subsystems.
    /// - [`EINVAL`] if the name is no name.
    /// - [`EOPNOTSUPP`] if live update is off.
    /// - [`ENOMEM`].
    pub fn register(name: &'static CStr, subsystem: T) -> Result<Self> {
        let inner = KBox::pin_init(
            pin_init!(Inner {
                raw: Opaque::new(bindings::liveupdate_subsystem {
                    ops: Callbacks::<T>::table(),
                    name: name.as_char_ptr(),
                    arg: ptr::null_mut(),
                }),
                subsystem,
                _pin: PhantomPinned,
            }),
            GFP_KERNEL,
        )?;
        let arg = ptr::from_ref(&inner.subsystem).cast_mut().cast();
        // SAFETY: Nobody else has it yet. It stays where it is: it is pinned.
        unsafe { (*inner.raw.get()).arg = arg };
        // SAFETY: Operations and name are static, the rest stays until it is unregistered: by the
        // invariant of `Self`.
        to_result(unsafe { bindings::liveupdate_register_subsystem(inner.raw.get()) })?;
        // INVARIANT: It is registered, with all that was to be set.
        Ok(Self {
            inner: ManuallyDrop::new(inner),
        })
    }

    /// What this subsystem left in the previous kernel, until its
    /// [`finish`](Subsystem::finish) has been called.
    ///
    /// # Errors
    ///
    /// [`EOPNOTSUPP`] if live update is off.
    pub fn incoming_data(&self) -> Result<Option<u64>> {
        let mut data = 0;
        // SAFETY: The subsystem is registered by the type's invariant, the data valid for a write.
        let got = to_result(unsafe {
            bindings::liveupdate_get_subsystem_data(self.inner.raw.get(), &mut data)
        });
        match got {
            Ok(()) => Ok(Some(data)),
            Err(ENODATA) => Ok(None),
            Err(why) => Err(why),
        }
    }
}

impl<T: Subsystem + 'static> Deref for Registration<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner.subsystem
    }
}

impl<T: Subsystem + 'static> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: It is registered by the type's invariant.
        let gone = to_result(unsafe {
            bindings::liveupdate_unregister_subsystem(self.inner.raw.get()) //
        });
        let Err(why) = gone else {
            // SAFETY: Not registered any more, so that nobody else has it; dropped this once.
            unsafe { ManuallyDrop::drop(&mut self.inner) };
            return;
        };
        // It is still registered: it stays, and so does the code of its callbacks. The
        // orchestrator keeps the module of whoever takes part in a prepared update, so a module
        // that is on its way out is never refused here and there is a reference to be had.
        //
        // SAFETY: The module with this code is there.
        let stays = unsafe { bindings::luo_module_get(this_module::<T::OwnerModule>().as_ptr()) };
        crate::pr_warn!(
            "liveupdate: a subsystem is not unregistered ({:?}) and stays for good{}\n",
            why,
            if stays {
                ""
            } else {
                ", although its module goes"
            }
        );
    }
}

/// The callbacks of a `T` for C. Their argument is the `subsystem` of an [`Inner`] that is
/// registered, and so not dropped.
struct Callbacks<T>(core::marker::PhantomData<T>);

impl<T: Subsystem + 'static> Callbacks<T> {
    const TABLE: bindings::liveupdate_subsystem_ops = bindings::liveupdate_subsystem_ops {
        prepare: Some(Self::prepare),
        freeze: if T::HAS_FREEZE {
            Some(Self::freeze)
        } else {
            None
        },
        cancel: if T::HAS_CANCEL {
            Some(Self::cancel)
        } else {
            None
        },
        finish: if T::HAS_FINISH {
            Some(Self::finish)
        } else {
            None
        },
        owner: this_module::<T::OwnerModule>().as_ptr(),
    };

    const fn table() -> &'static bindings::liveupdate_subsystem_ops {
        &Self::TABLE
    }

    /// # Safety
    ///
    /// `arg` points to a `T`; `data` is valid for a write.
    unsafe extern "C" fn prepare(arg: *mut c_void, data: *mut u64) -> c_int {
        // SAFETY: By the caller's promise.
        let subsystem = unsafe { &*arg.cast::<T>() };
        from_result(|| {
            let left = subsystem.prepare()?;
            // SAFETY: By the caller's promise.
            unsafe { data.write(left) };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `arg` points to a `T`; `data` is valid for reads and writes.
    unsafe extern "C" fn freeze(arg: *mut c_void, data: *mut u64) -> c_int {
        // SAFETY: By the caller's promise.
        let (subsystem, before) = unsafe { (&*arg.cast::<T>(), data.read()) };
        from_result(|| {
            let left = subsystem.freeze(before)?;
            // SAFETY: By the caller's promise.
            unsafe { data.write(left) };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `arg` points to a `T`.
    unsafe extern "C" fn cancel(arg: *mut c_void, data: u64) {
        // SAFETY: By the caller's promise.
        unsafe { &*arg.cast::<T>() }.cancel(data);
    }

    /// # Safety
    ///
    /// `arg` points to a `T`.
    unsafe extern "C" fn finish(arg: *mut c_void, data: u64) {
        // SAFETY: By the caller's promise.
        unsafe { &*arg.cast::<T>() }.finish(data);
    }
}
