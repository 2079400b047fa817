// SPDX-License-Identifier: GPL-2.0-only
//! `/dev/liveupdate`: the character device and its file operations.
//!
//! The kernel crate's `MiscDevice` would do but for `poll`, which it lacks.

use core::ptr;

use kernel::bindings;
use kernel::error::to_result;
use kernel::ffi::{c_int, c_long, c_uint, c_ulong};
use kernel::fs::File;
use kernel::new_poll_condvar;
use kernel::prelude::*;
use kernel::str::as_char_ptr_in_const_context;
use kernel::sync::poll::{PollCondVar, PollTable};
use kernel::sync::SetOnce;
use kernel::types::Opaque;

use super::{account, memory};
use crate::device::Instance;

/// The device, once it is registered: for good.
static DEVICE: Device = Device::new();

/// Those who poll the device.
static POLLERS: SetOnce<Pin<KBox<PollCondVar>>> = SetOnce::new();

struct Device(Opaque<bindings::miscdevice>);

// SAFETY: Only `misc_register` and what it hands the device to write to it, and
// they have their own lock.
unsafe impl Sync for Device {}

impl Device {
    const fn new() -> Self {
        Self(Opaque::new(bindings::miscdevice {
            minor: bindings::MISC_DYNAMIC_MINOR as c_int,
            name: as_char_ptr_in_const_context(c"liveupdate"),
            fops: Operations::table(),
            ..pin_init::zeroed()
        }))
    }
}

/// Makes the device available. Called once.
///
/// # Errors
/// ENOMEM, or those of `misc_register`.
pub(crate) fn register() -> Result {
    // Before the device: an open may come at once.
    let pollers = KBox::pin_init(new_poll_condvar!("luo_state"), GFP_KERNEL)?;
    POLLERS.populate(pollers);
    // SAFETY: The device is static, and it is registered here alone, once.
    to_result(unsafe { bindings::misc_register(DEVICE.0.get()) })
}

/// Makes all who poll the device look again.
pub(crate) fn wake_pollers() {
    if let Some(pollers) = POLLERS.as_ref() {
        pollers.notify_all();
    }
}

/// The private data of an open file of the device is a `KBox<Instance>`, from a
/// successful open to the release.
struct Operations;

/// The compiler does not see through the pointer in the file that all who have the
/// descriptor use one instance, and that the last of them drops it.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Instance>();
};

impl Operations {
    const TABLE: bindings::file_operations = bindings::file_operations {
        open: Some(Self::open),
        release: Some(Self::release),
        unlocked_ioctl: Some(Self::ioctl),
        #[cfg(CONFIG_COMPAT)]
        compat_ioctl: bindings::compat_ptr_ioctl,
        poll: Some(Self::poll),
        ..pin_init::zeroed()
    };

    const fn table() -> &'static bindings::file_operations {
        &Self::TABLE
    }

    /// # Safety
    ///
    /// `file` is an open file of the device, and the result is not kept beyond
    /// the file operation.
    unsafe fn instance<'a>(file: *mut bindings::file) -> &'a Instance {
        // SAFETY: The private data was stored by `open`, does not change, and is
        // only shared until `release`, which runs after all other operations.
        unsafe { &*(*file).private_data.cast::<Instance>() }
    }

    /// # Safety
    ///
    /// Called by the VFS, once, for a file of the device that is being opened.
    unsafe extern "C" fn open(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: The file is valid, and nobody else has it yet.
        let flags = unsafe { (*file).f_flags };
        // All devices like this one are opened under one lock, so nothing here waits for memory,
        // nor for anybody's group. It is a few words beside the open file, which is charged to
        // the caller. They come first: what is opened is not to be closed here again.
        let made = account::of_machine(|| {
            let room = KBox::<Instance>::new_uninit(memory::at_once())?;
            let instance = Instance::open(flags & bindings::O_EXCL != 0)?;
            Ok::<_, Error>(room.write(instance))
        });
        match made {
            Ok(instance) => {
                // SAFETY: As above; what was there, `misc_open` put there for us.
                unsafe { (*file).private_data = KBox::into_raw(instance).cast() };
                0
            }
            Err(why) => why.to_errno(),
        }
    }

    /// # Safety
    ///
    /// Called by the VFS, once, for an open file of the device.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: The file is valid and this is the last operation on it.
        let instance = unsafe { ptr::replace(&raw mut (*file).private_data, ptr::null_mut()) };
        // SAFETY: `open` stored it, and it is taken back this once.
        drop(unsafe { KBox::<Instance>::from_raw(instance.cast()) });
        0
    }

    /// # Safety
    ///
    /// Called by the VFS for an open file of the device.
    unsafe extern "C" fn ioctl(
        file: *mut bindings::file,
        command: c_uint,
        argument: c_ulong,
    ) -> c_long {
        // SAFETY: By this function's contract.
        let instance = unsafe { Self::instance(file) };
        match instance.ioctl(command, argument) {
            Ok(()) => 0,
            Err(why) => why.to_errno() as c_long,
        }
    }

    /// # Safety
    ///
    /// Called by the VFS for an open file of the device, with a table that is null
    /// or valid.
    unsafe extern "C" fn poll(
        file: *mut bindings::file,
        table: *mut bindings::poll_table,
    ) -> bindings::__poll_t {
        // Into the queue before the look: what changes in between wakes.
        if let Some(pollers) = POLLERS.as_ref() {
            // SAFETY: The file is valid, and polling holds no `fdget_pos`; the
            // table is as its type demands for the time of the call.
            let (file, table) = unsafe { (File::from_raw_file(file), PollTable::from_raw(table)) };
            table.register_wait(file, pollers);
        }
        // SAFETY: By this function's contract.
        let instance = unsafe { Self::instance(file) };
        if instance.has_news() {
            bindings::POLLIN | bindings::POLLPRI
        } else {
            0
        }
    }
}
