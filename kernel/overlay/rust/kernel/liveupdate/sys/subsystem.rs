// SPDX-License-Identifier: GPL-2.0-only

//! Subsystems, as the orchestrator in the kernel knows them.

use core::{
    marker::{
        PhantomData,
        PhantomPinned, //
    },
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
    liveupdate::Subsystem,
    module::this_module,
    prelude::*,
    str::CStrExt as _,
    types::Opaque, //
};

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
struct Callbacks<T>(PhantomData<T>);

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
