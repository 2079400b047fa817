// SPDX-License-Identifier: GPL-2.0-only

//! The files of a device: recognised among others, and made in the next kernel.

use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    },
};

use crate::{
    bindings,
    error::from_err_ptr,
    ffi::c_int,
    fs::File,
    miscdevice::{
        self,
        MiscDevice, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            atomic_load,
            Acquire, //
        }, //
    },
    types::ForeignOwnable, //
};

/// The files of a misc device, by which a handler knows its own.
///
/// There is one in a `static` for a device, which is registered with
/// [`MiscDeviceRegistration::register_known`](miscdevice::MiscDeviceRegistration::register_known).
///
/// # Invariants
///
/// - `operations` is the table of a misc device of type `T`, and stays where it is while a file
///   has it.
/// - A file has this very table only if it was opened by a device that was registered with it, or
///   was made by [`Self::make`]. So its private data is null, or of a `T::Ptr` that is there until
///   the file is released.
pub struct DeviceFiles<T> {
    operations: bindings::file_operations,
    _device: PhantomData<fn() -> T>,
}

// SAFETY: The table is never written.
unsafe impl<T> Sync for DeviceFiles<T> {}
// SAFETY: As above; it belongs to no task.
unsafe impl<T> Send for DeviceFiles<T> {}

impl<T: MiscDevice> DeviceFiles<T> {
    /// The files of a device. For a `static`.
    #[expect(clippy::new_without_default, reason = "of use in a static only")]
    pub const fn new() -> Self {
        // INVARIANT: The table has an address of its own, as each static has, and is given to
        // devices of this type and to new files only, both by `&'static self`.
        Self {
            operations: miscdevice::operations::<T>(),
            _device: PhantomData,
        }
    }

    /// The table, for a device of this type.
    pub(crate) fn operations(&'static self) -> &'static bindings::file_operations {
        &self.operations
    }

    /// What a file has in it; `None` of a file that is not the device's, or is not open yet.
    pub fn data<'a>(
        &'static self,
        file: &'a File,
    ) -> Option<<T::Ptr as ForeignOwnable>::Borrowed<'a>>
    where
        T::Ptr: 'a,
    {
        // SAFETY: An open file has operations, which do not change.
        let operations = unsafe { (*file.as_ptr()).f_op };
        if !ptr::eq(operations, &self.operations) {
            return None;
        }
        // SAFETY: The file is there. Whoever opens or releases it writes the field in one piece,
        // and nobody else does.
        let data = unsafe { atomic_load(&raw mut (*file.as_ptr()).private_data, Acquire) };
        // SAFETY: By the type's invariant it is of a `T::Ptr`, and stays until the file is
        // released, which is not while it is borrowed for `'a`.
        (!data.is_null()).then(|| unsafe { <T::Ptr as ForeignOwnable>::borrow(data) })
    }

    /// Makes a file that nobody has opened. The name is what `readlink` shows of its descriptor;
    /// it can be read and written at any position, as one that was opened.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`], and others of making a file.
    pub fn make(&'static self, name: &CStr, data: T::Ptr) -> Result<ARef<File>> {
        let data = data.into_foreign();
        // SAFETY: The name is terminated. The table stays for good, by `&'static self`, or until
        // its module goes, which the file keeps. The data is what the table's functions expect.
        let made = from_err_ptr(unsafe {
            bindings::luo_device_getfile(
                name.as_char_ptr(),
                self.operations(),
                data,
                bindings::O_RDWR as c_int,
            )
        });
        let made = made.inspect_err(|_| {
            // SAFETY: It was made from a `T::Ptr` above, and no file has it.
            drop(unsafe { <T::Ptr as ForeignOwnable>::from_foreign(data) });
        })?;
        let file = NonNull::new(made).ok_or(ENOMEM)?;
        // SAFETY: The file is new: its one reference is ours, and nobody is in `fdget_pos` with
        // it.
        Ok(unsafe { ARef::from_raw(file.cast()) })
    }
}
