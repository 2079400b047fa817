// SPDX-License-Identifier: GPL-2.0-only

//! Files of a misc device that go along in live updates.
//!
//! C header: [`include/linux/liveupdate.h`](srctree/include/linux/liveupdate.h)

use core::{
    marker::PhantomData,
    ptr, //
};

use crate::{
    bindings,
    error::{
        from_err_ptr,
        from_result,
        to_result, //
    },
    ffi::{
        c_int,
        c_ulong, //
    },
    miscdevice::{
        MiscDevice,
        MiscDeviceOptions, //
    },
    module::this_module,
    prelude::*,
    str::CStrExt as _,
    sync::Arc,
    types::{
        ForeignOwnable,
        Opaque, //
    },
};

/// Saves the open files of a misc device, and restores them in the next kernel.
///
/// What is behind a file is an object that all files of it share: of those only one can be
/// preserved. All callbacks may sleep. What comes from the previous kernel is untrusted.
#[vtable]
pub trait FileHandler: 'static {
    /// What is behind such files.
    type Object: Send + Sync + 'static;

    /// The device whose files they are.
    type File: MiscDevice<Ptr = Arc<Self::Object>> + 'static;

    /// By which the next kernel knows what was left: 1 to 47 bytes, another one for each format.
    const COMPATIBLE: &'static CStr;

    /// What a restored file is called, in brackets.
    const NAME: &'static CStr;

    /// Gets an object ready for the next kernel. The answer is what is left there for
    /// [`retrieve`](Self::retrieve).
    ///
    /// # Errors
    ///
    /// The file is not preserved. Undo what this call did before returning one.
    fn preserve(object: &Self::Object) -> Result<u64>;

    /// Undoes [`preserve`](Self::preserve); `data` is what it answered, or
    /// [`freeze`](Self::freeze) did.
    fn unpreserve(object: &Self::Object, data: u64);

    /// The last look before the kexec. The answer replaces `data`.
    ///
    /// # Errors
    ///
    /// A veto.
    fn freeze(_object: &Self::Object, data: u64) -> Result<u64> {
        Ok(data)
    }

    /// Undoes [`freeze`](Self::freeze).
    fn unfreeze(_object: &Self::Object, _data: u64) {}

    /// Gives back the object that left `data`.
    ///
    /// # Errors
    ///
    /// There is none.
    fn retrieve(data: u64) -> Result<Arc<Self::Object>>;

    /// The update is over for a file. `object` is there if it was retrieved; else all that `data`
    /// stands for is to be released.
    fn finish(object: Option<&Self::Object>, data: u64);
}

/// A handler that is there until this is dropped.
///
/// # Invariants
///
/// `raw` is registered, and stays where it is.
pub struct Registration<T: FileHandler> {
    raw: KBox<Opaque<bindings::liveupdate_file_handler>>,
    /// What PCI drivers share is registered with it.
    is_pci: bool,
    _handler: PhantomData<T>,
}

// SAFETY: What C sees of it is constant, and the callbacks have no data of this type.
unsafe impl<T: FileHandler> Send for Registration<T> {}
// SAFETY: As above, and there are no methods.
unsafe impl<T: FileHandler> Sync for Registration<T> {}

impl<T: FileHandler> Registration<T> {
    /// Registers a handler.
    ///
    /// # Errors
    ///
    /// - [`EOPNOTSUPP`] if live update is off.
    /// - [`EEXIST`] if there is one of its name.
    /// - [`EINVAL`] if the name is no name.
    /// - [`ENOMEM`].
    pub fn register() -> Result<Self> {
        let mut handler = bindings::liveupdate_file_handler {
            ops: Callbacks::<T>::table(),
            ..pin_init::zeroed()
        };
        let name = T::COMPATIBLE.to_bytes_with_nul();
        let room = handler.compatible.get_mut(..name.len()).ok_or(EINVAL)?;
        room.copy_from_slice(name);
        let raw = KBox::new(Opaque::new(handler), GFP_KERNEL)?;
        // SAFETY: The operations are static; the rest is in a box of its own, which stays until it
        // is unregistered.
        to_result(unsafe { bindings::liveupdate_register_file_handler(raw.get()) })?;
        // INVARIANT: It is registered.
        Ok(Self {
            raw,
            is_pci: false,
            _handler: PhantomData,
        })
    }

    /// As [`register`](Self::register), for files that are PCI devices: see
    /// [`super::pci::preserve`].
    ///
    /// # Errors
    ///
    /// Those of [`register`](Self::register).
    #[cfg(CONFIG_PCI_LIVEUPDATE)]
    pub fn register_of_pci() -> Result<Self> {
        let mut registration = Self::register()?;
        // SAFETY: It is registered by the type's invariant.
        to_result(unsafe {
            bindings::pci_liveupdate_register_flb(registration.raw.get()) //
        })?;
        registration.is_pci = true;
        Ok(registration)
    }
}

impl<T: FileHandler> Drop for Registration<T> {
    fn drop(&mut self) {
        #[cfg(CONFIG_PCI_LIVEUPDATE)]
        if self.is_pci {
            // SAFETY: It is registered by the type's invariant, with what PCI drivers share.
            unsafe { bindings::pci_liveupdate_unregister_flb(self.raw.get()) }
        }
        // SAFETY: It is registered by the type's invariant. Its module is pinned as long as
        // anything is preserved, so that nobody has the pointer afterwards.
        unsafe { bindings::liveupdate_unregister_file_handler(self.raw.get()) }
    }
}

/// The operations of the files of a handler's device.
fn operations<T: FileHandler>() -> *const bindings::file_operations {
    let options = MiscDeviceOptions { name: T::NAME };
    options.into_raw::<T::File>().fops
}

/// The callbacks of a `T` for C.
struct Callbacks<T>(PhantomData<T>);

impl<T: FileHandler> Callbacks<T> {
    const TABLE: bindings::liveupdate_file_ops = bindings::liveupdate_file_ops {
        can_preserve: Some(Self::can_preserve),
        preserve: Some(Self::preserve),
        unpreserve: Some(Self::unpreserve),
        freeze: if T::HAS_FREEZE {
            Some(Self::freeze)
        } else {
            None
        },
        unfreeze: if T::HAS_UNFREEZE {
            Some(Self::unfreeze)
        } else {
            None
        },
        retrieve: Some(Self::retrieve),
        can_finish: None,
        finish: Some(Self::finish),
        get_id: Some(Self::get_id),
        owner: this_module::<T::OwnerModule>().as_ptr(),
    };

    const fn table() -> &'static bindings::liveupdate_file_ops {
        &Self::TABLE
    }

    /// Does something with the object behind a file.
    ///
    /// # Safety
    ///
    /// `file` is open, and one that `can_preserve` has agreed to or that `retrieve` has made.
    unsafe fn with_object<R>(file: *mut bindings::file, work: impl FnOnce(&T::Object) -> R) -> R {
        // SAFETY: The file is valid by the caller's promise; it is one of the device, and the
        // private data of those is never changed.
        let private = unsafe { (*file).private_data };
        // SAFETY: It is of an `Arc` that the file has, which is open during the call.
        let object = unsafe { <Arc<T::Object> as ForeignOwnable>::borrow(private) };
        work(&object)
    }

    /// # Safety
    ///
    /// `file` is open.
    unsafe extern "C" fn can_preserve(
        _handler: *mut bindings::liveupdate_file_handler,
        file: *mut bindings::file,
    ) -> bool {
        // SAFETY: An open file has operations, which never change.
        ptr::eq(unsafe { (*file).f_op }, operations::<T>())
    }

    /// # Safety
    ///
    /// `file` is open, and `can_preserve` has agreed to it.
    unsafe extern "C" fn get_id(file: *mut bindings::file) -> c_ulong {
        // SAFETY: By the caller's promise.
        unsafe { Self::with_object(file, |object| ptr::from_ref(object) as usize as c_ulong) }
    }

    /// # Safety
    ///
    /// `args` are those of the callback, for a file that `can_preserve` has agreed to.
    unsafe extern "C" fn preserve(args: *mut bindings::liveupdate_file_op_args) -> c_int {
        from_result(|| {
            // SAFETY: By the caller's promise.
            unsafe {
                (*args).serialized_data = Self::with_object((*args).file, T::preserve)?;
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// As of [`Self::preserve`].
    unsafe extern "C" fn unpreserve(args: *mut bindings::liveupdate_file_op_args) {
        // SAFETY: By the caller's promise.
        unsafe {
            let data = (*args).serialized_data;
            Self::with_object((*args).file, |object| T::unpreserve(object, data));
        }
    }

    /// # Safety
    ///
    /// As of [`Self::preserve`].
    unsafe extern "C" fn freeze(args: *mut bindings::liveupdate_file_op_args) -> c_int {
        from_result(|| {
            // SAFETY: By the caller's promise.
            unsafe {
                let data = (*args).serialized_data;
                let left = Self::with_object((*args).file, |object| T::freeze(object, data))?;
                (*args).serialized_data = left;
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// As of [`Self::preserve`].
    unsafe extern "C" fn unfreeze(args: *mut bindings::liveupdate_file_op_args) {
        // SAFETY: By the caller's promise.
        unsafe {
            let data = (*args).serialized_data;
            Self::with_object((*args).file, |object| T::unfreeze(object, data));
        }
    }

    /// # Safety
    ///
    /// `args` are those of the callback.
    unsafe extern "C" fn retrieve(args: *mut bindings::liveupdate_file_op_args) -> c_int {
        from_result(|| {
            // SAFETY: By the caller's promise.
            let object = T::retrieve(unsafe { (*args).serialized_data })?;
            let private = object.into_foreign();
            // SAFETY: The name is static and terminated, the operations are static, and take the
            // private data for what it is: an `Arc`, which the file has from now on.
            let file = from_err_ptr(unsafe {
                bindings::luo_driver_file(T::NAME.as_char_ptr(), operations::<T>(), private)
            });
            let file = file.inspect_err(|_| {
                // SAFETY: No file has it.
                drop(unsafe { <Arc<T::Object> as ForeignOwnable>::from_foreign(private) });
            })?;
            // SAFETY: By the caller's promise.
            unsafe { (*args).file = file };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `args` are those of the callback; the file, if there is one, is what `retrieve` has made.
    unsafe extern "C" fn finish(args: *mut bindings::liveupdate_file_op_args) {
        // SAFETY: By the caller's promise.
        let (file, data) = unsafe { ((*args).file, (*args).serialized_data) };
        if file.is_null() {
            T::finish(None, data);
        } else {
            // SAFETY: By the caller's promise.
            unsafe { Self::with_object(file, |object| T::finish(Some(object), data)) }
        }
    }
}
