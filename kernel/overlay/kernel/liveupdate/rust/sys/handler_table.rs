// SPDX-License-Identifier: GPL-2.0-only
//! `struct liveupdate_file_handler`: the callbacks of a file type, in C.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::ffi::{c_int, c_void};
use kernel::fs::File;
use kernel::sync::aref::ARef;
use luo_abi::errno::Errno;
use luo_abi::handover::COMPAT_LENGTH;
use luo_core::{Retrieval, Subject};

use super::module::Owner;

/// A handler's table of callbacks.
///
/// # Invariants
///
/// Points to a `struct liveupdate_file_handler` with operations, both of which
/// stay as they are while the handler is registered, and after that while a
/// [`super::module::ModulePin`] on its owner is held. The engine keeps tables
/// no longer than that.
#[derive(Clone, PartialEq)]
pub(crate) struct HandlerTable(NonNull<bindings::liveupdate_file_handler>);

// SAFETY: The table is constant and its callbacks may be called by any task.
unsafe impl Send for HandlerTable {}

/// The value that a handler remembers of a file: a pointer of its own.
pub(crate) struct PrivateData(*mut c_void);

// SAFETY: Only ever given back to the handler that it came from.
unsafe impl Send for PrivateData {}

type Args = bindings::liveupdate_file_op_args;

impl HandlerTable {
    /// # Safety
    ///
    /// `handler` is null or meets the type's invariant.
    pub(crate) unsafe fn from_raw(handler: *mut bindings::liveupdate_file_handler) -> Option<Self> {
        // INVARIANT: By the caller's promise.
        NonNull::new(handler).map(Self)
    }

    /// The pointer, for the in-kernel test.
    pub(crate) fn as_ptr(&self) -> *mut bindings::liveupdate_file_handler {
        self.0.as_ptr()
    }

    fn ops(&self) -> &bindings::liveupdate_file_ops {
        // SAFETY: By the type's invariant both pointers lead to constant data.
        unsafe { &*(*self.0.as_ptr()).ops }
    }

    /// Whether all required callbacks are there.
    pub(crate) fn is_complete(&self) -> bool {
        let ops = self.ops();
        ops.can_preserve.is_some()
            && ops.preserve.is_some()
            && ops.unpreserve.is_some()
            && ops.retrieve.is_some()
            && ops.finish.is_some()
    }

    /// The name, in its room.
    pub(crate) fn name(&self) -> [u8; COMPAT_LENGTH] {
        // SAFETY: By the type's invariant the name is there and constant.
        unsafe { (*self.0.as_ptr()).compatible }
    }

    /// The owner of the callbacks.
    pub(crate) fn owner(&self) -> Owner {
        // SAFETY: It is the `owner` of a table that meets the type's invariant.
        unsafe { Owner::new(self.ops().owner) }
    }

    fn args(&self) -> Args {
        Args {
            handler: self.0.as_ptr(),
            ..Default::default()
        }
    }

    /// With whose file it is, for who asks by it what the file needs ([`super::exports`]).
    fn args_for(&self, of: &Subject) -> Args {
        Args {
            session: core::ptr::from_ref(of).cast_mut().cast(),
            ..self.args()
        }
    }

    fn args_of(&self, file: &ARef<File>, data: u64, private: &PrivateData) -> Args {
        Args {
            file: file.as_ptr(),
            serialized_data: data,
            private_data: private.0,
            ..self.args()
        }
    }

    fn args_of_incoming(&self, file: Option<&ARef<File>>, data: u64, retrieval: Retrieval) -> Args {
        Args {
            file: file.map_or(core::ptr::null_mut(), |file| file.as_ptr()),
            serialized_data: data,
            retrieve_status: match retrieval {
                Retrieval::None => 0,
                Retrieval::Done => 1,
                Retrieval::Failed(errno) => errno.to_ret(),
            },
            ..self.args()
        }
    }

    /// Which object a file stands for; the file itself unless the handler says.
    pub(crate) fn object_id(&self, file: &ARef<File>) -> u64 {
        match self.ops().get_id {
            // SAFETY: The file is valid for the call.
            Some(get_id) => unsafe { get_id(file.as_ptr()) as u64 },
            None => file.as_ptr() as usize as u64,
        }
    }

    /// Asks whether the handler knows a kind of file.
    pub(crate) fn can_preserve(&self, file: &ARef<File>) -> bool {
        match self.ops().can_preserve {
            // SAFETY: Handler and file are valid for the call.
            Some(can_preserve) => unsafe { can_preserve(self.0.as_ptr(), file.as_ptr()) },
            None => false,
        }
    }

    /// Saves a file's state.
    pub(crate) fn preserve(
        &self,
        of: &Subject,
        file: &ARef<File>,
    ) -> Result<(u64, PrivateData), Errno> {
        let mut args = Args {
            file: file.as_ptr(),
            ..self.args_for(of)
        };
        let preserve = self.ops().preserve.ok_or(Errno::EINVAL)?;
        // SAFETY: The arguments are valid for the call.
        check_zero(unsafe { preserve(&mut args) })?;
        Ok((args.serialized_data, PrivateData(args.private_data)))
    }

    /// Undoes `preserve`.
    pub(crate) fn unpreserve(&self, file: &ARef<File>, data: u64, private: &mut PrivateData) {
        let mut args = self.args_of(file, data, private);
        if let Some(unpreserve) = self.ops().unpreserve {
            // SAFETY: The arguments are valid for the call.
            unsafe { unpreserve(&mut args) }
        }
    }

    /// The last look before the kexec; gives the handle to hand over.
    pub(crate) fn freeze(
        &self,
        file: &ARef<File>,
        data: u64,
        private: &mut PrivateData,
    ) -> Result<u64, Errno> {
        let Some(freeze) = self.ops().freeze else {
            return Ok(data);
        };
        let mut args = self.args_of(file, data, private);
        // SAFETY: The arguments are valid for the call.
        check_zero(unsafe { freeze(&mut args) })?;
        Ok(args.serialized_data)
    }

    /// Undoes `freeze`.
    pub(crate) fn unfreeze(&self, file: &ARef<File>, data: u64, private: &mut PrivateData) {
        let mut args = self.args_of(file, data, private);
        if let Some(unfreeze) = self.ops().unfreeze {
            // SAFETY: The arguments are valid for the call.
            unsafe { unfreeze(&mut args) }
        }
    }

    /// Restores a file.
    pub(crate) fn retrieve(&self, of: &Subject, data: u64) -> Result<ARef<File>, Errno> {
        let mut args = Args {
            serialized_data: data,
            ..self.args_for(of)
        };
        let retrieve = self.ops().retrieve.ok_or(Errno::EINVAL)?;
        // SAFETY: The arguments are valid for the call.
        check_zero(unsafe { retrieve(&mut args) })?;
        let file = NonNull::new(args.file).ok_or(Errno::EIO)?;
        // SAFETY: A handler that succeeds gives a new file with a reference that
        // is ours; nobody is in `fdget_pos` with it.
        Ok(unsafe { ARef::from_raw(file.cast()) })
    }

    /// Asks whether the handler can let go of an incoming file.
    pub(crate) fn can_finish(
        &self,
        file: Option<&ARef<File>>,
        data: u64,
        retrieval: Retrieval,
    ) -> bool {
        let mut args = self.args_of_incoming(file, data, retrieval);
        match self.ops().can_finish {
            // SAFETY: The arguments are valid for the call.
            Some(can_finish) => unsafe { can_finish(&mut args) },
            None => true,
        }
    }

    /// Releases what the handler still holds of an incoming file.
    pub(crate) fn finish(&self, file: Option<&ARef<File>>, data: u64, retrieval: Retrieval) {
        let mut args = self.args_of_incoming(file, data, retrieval);
        if let Some(finish) = self.ops().finish {
            // SAFETY: The arguments are valid for the call.
            unsafe { finish(&mut args) }
        }
    }
}

/// The result of a callback: success is zero only, as C callers take it.
pub(super) fn check_zero(ret: c_int) -> Result<(), Errno> {
    match Errno::check(ret)? {
        0 => Ok(()),
        _ => Err(Errno::EIO),
    }
}
