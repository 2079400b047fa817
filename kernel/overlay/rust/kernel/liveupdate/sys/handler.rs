// SPDX-License-Identifier: GPL-2.0-only

//! File handlers, as the orchestrator in the kernel knows them: tables of callbacks in C.

use core::{
    marker::PhantomData,
    ptr, //
};

use super::session::Session;
use crate::{
    alloc::{
        flags::{
            __GFP_NORETRY,
            __GFP_NOWARN,
            GFP_KERNEL_ACCOUNT, //
        },
        Flags, //
    },
    bindings,
    error::{
        from_result,
        to_result, //
    },
    ffi::{
        c_char,
        c_int,
        c_ulong, //
    },
    fs::File,
    liveupdate::{
        FileHandler,
        Incoming,
        Outgoing,
        Preserved,
        Retrieval, //
    },
    module::this_module,
    prelude::*,
    sync::aref::ARef,
    types::Opaque, //
};

type Args = bindings::liveupdate_file_op_args;

/// What is kept is charged to who asks for it, and nobody is killed for it.
fn memory() -> Flags {
    GFP_KERNEL_ACCOUNT | __GFP_NORETRY | __GFP_NOWARN
}

/// A [`FileHandler`] that can be registered.
///
/// It is a `static`, because the orchestrator has it as long as a file has it, and that may be
/// longer than a registration lasts. A module stays loaded meanwhile, and its statics do.
///
/// # Invariants
///
/// `raw` has the callbacks for `T`, and is not written.
#[repr(C)]
pub struct Handler<T> {
    // Comes first: the callbacks get its address and go on to `handler`.
    raw: Opaque<bindings::liveupdate_file_handler>,
    handler: T,
}

// SAFETY: What C sees of it is constant, and `T` may be used by any task.
unsafe impl<T: FileHandler> Sync for Handler<T> {}

impl<T: FileHandler> Handler<T> {
    /// A handler, for a `static`.
    pub const fn new(handler: T) -> Self {
        // INVARIANT: By `Callbacks`.
        Self {
            raw: Opaque::new(bindings::liveupdate_file_handler {
                ops: Callbacks::<T>::table(),
                compatible: Callbacks::<T>::COMPATIBLE,
                ..pin_init::zeroed()
            }),
            handler,
        }
    }

    /// Registers it: from now on its files can be preserved, and those that the previous kernel
    /// has left come back.
    ///
    /// # Errors
    ///
    /// - [`EEXIST`] if it, or another one of its name, is registered.
    /// - [`ENOSPC`] if there are too many handlers.
    /// - [`EOPNOTSUPP`] if live update is off.
    /// - [`ENOMEM`].
    pub fn register(&'static self) -> Result<HandlerRegistration<T>> {
        // SAFETY: By the type's invariant, and as a static, it is and stays what the callee asks
        // for: at least as long as the module with the static and with the callbacks, which is
        // the owner in the table and is kept while a file has the handler.
        to_result(unsafe { bindings::liveupdate_register_file_handler(self.as_raw()) })?;
        // INVARIANT: It was just registered.
        Ok(HandlerRegistration(self))
    }

    /// With the right to go on to what stands behind it.
    pub(super) fn as_raw(&'static self) -> *mut bindings::liveupdate_file_handler {
        ptr::from_ref(self).cast_mut().cast()
    }
}

/// A handler that is registered until this is dropped.
///
/// Files that it has preserved, or that have come for it, keep it beyond that, and they keep its
/// module, so it cannot be unloaded as long as there is one.
///
/// # Invariants
///
/// The handler was registered by who made this.
#[must_use = "it is unregistered when this is dropped"]
pub struct HandlerRegistration<T: FileHandler>(&'static Handler<T>);

impl<T: FileHandler> Drop for HandlerRegistration<T> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant it is registered. It stays: it is a static.
        unsafe { bindings::liveupdate_unregister_file_handler(self.0.as_raw()) }
    }
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
        can_finish: if T::HAS_CAN_FINISH {
            Some(Self::can_finish)
        } else {
            None
        },
        finish: Some(Self::finish),
        get_id: Some(Self::get_id),
        owner: this_module::<T::OwnerModule>().as_ptr(),
    };

    const fn table() -> &'static bindings::liveupdate_file_ops {
        &Self::TABLE
    }

    /// The name in its room, with a zero behind it.
    const COMPATIBLE: [c_char; bindings::LIVEUPDATE_HNDL_COMPAT_LENGTH as usize] = {
        let name = T::COMPATIBLE.to_bytes();
        let mut room = [0; bindings::LIVEUPDATE_HNDL_COMPAT_LENGTH as usize];
        assert!(!name.is_empty() && name.len() < room.len(), "1 to 47 bytes");
        let mut at = 0;
        while at < name.len() {
            room[at] = name[at] as c_char;
            at += 1;
        }
        room
    };

    /// # Safety
    ///
    /// `raw` is a [`Handler<T>`] that was registered, and stays for the result's lifetime.
    unsafe fn handler<'a>(raw: *mut bindings::liveupdate_file_handler) -> &'a T {
        // SAFETY: By the caller's promise; it was registered with the right to all of it.
        unsafe { &(*raw.cast::<Handler<T>>()).handler }
    }

    /// # Safety
    ///
    /// `handler` is a [`Handler<T>`] that was registered, and `file` an open file.
    unsafe extern "C" fn can_preserve(
        handler: *mut bindings::liveupdate_file_handler,
        file: *mut bindings::file,
    ) -> bool {
        // SAFETY: By the caller's promise. Whoever calls the orchestrator is in no `fdget_pos`.
        let (handler, file) = unsafe { (Self::handler(handler), File::from_raw_file(file)) };
        handler.can_preserve(file)
    }

    /// # Safety
    ///
    /// `file` is an open file.
    unsafe extern "C" fn get_id(file: *mut bindings::file) -> c_ulong {
        // SAFETY: By the caller's promise. Whoever calls the orchestrator is in no `fdget_pos`.
        T::object_id(unsafe { File::from_raw_file(file) })
    }

    /// # Safety
    ///
    /// `args` are those of a call of `preserve`: a registered [`Handler<T>`], an open file and
    /// its session.
    unsafe extern "C" fn preserve(args: *mut Args) -> c_int {
        // SAFETY: By the caller's promise. Whoever calls the orchestrator is in no `fdget_pos`,
        // and the session is there for the call.
        let (args, handler, file, session) = unsafe {
            let args = &mut *args;
            let handler = Self::handler(args.handler);
            let file = File::from_raw_file(args.file);
            let session = Session::new(args.session);
            (args, handler, file, session)
        };
        from_result(|| {
            let Preserved { handle, data } = handler.preserve(&session, file)?;
            // Without memory the data is dropped, which undoes what was done.
            let data = KBox::new(data, memory())?;
            args.serialized_data = handle;
            args.private_data = KBox::into_raw(data).cast();
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `args` are those of a call of `unpreserve`, which comes once for each
    /// [`preserve`](Self::preserve) that has succeeded, and is the last one for it.
    unsafe extern "C" fn unpreserve(args: *mut Args) {
        // SAFETY: By the caller's promise, and as in `preserve`. The data is what that has made,
        // and nobody has it any more but this call.
        let (handler, file, handle, data) = unsafe {
            let args = &*args;
            (
                Self::handler(args.handler),
                File::from_raw_file(args.file),
                args.serialized_data,
                KBox::from_raw(args.private_data.cast::<T::Data>()),
            )
        };
        handler.unpreserve(file, handle, KBox::into_inner(data));
    }

    /// # Safety
    ///
    /// `args` are those of a call about a file that [`preserve`](Self::preserve) has preserved;
    /// no other such call is under way for it during `'a`.
    unsafe fn outgoing<'a>(args: &Args) -> (&'a T, Outgoing<'a, T::Data>) {
        // SAFETY: By the caller's promise, and as in `preserve`. The data is what that has made,
        // and this call's alone.
        let (handler, file, data) = unsafe {
            (
                Self::handler(args.handler),
                File::from_raw_file(args.file),
                &mut *args.private_data.cast::<T::Data>(),
            )
        };
        let handle = args.serialized_data;
        (handler, Outgoing { file, handle, data })
    }

    /// # Safety
    ///
    /// `args` are those of a call of `freeze`, as [`outgoing`](Self::outgoing) asks for them.
    unsafe extern "C" fn freeze(args: *mut Args) -> c_int {
        // SAFETY: By the caller's promise.
        let args = unsafe { &mut *args };
        // SAFETY: By the caller's promise.
        let (handler, mut file) = unsafe { Self::outgoing(args) };
        from_result(|| {
            args.serialized_data = handler.freeze(&mut file)?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `args` are those of a call of `unfreeze`, as [`outgoing`](Self::outgoing) asks for them.
    unsafe extern "C" fn unfreeze(args: *mut Args) {
        // SAFETY: By the caller's promise.
        let (handler, mut file) = unsafe { Self::outgoing(&*args) };
        handler.unfreeze(&mut file);
    }

    /// # Safety
    ///
    /// `args` are those of a call of `retrieve`: a registered [`Handler<T>`] and the file's
    /// session.
    unsafe extern "C" fn retrieve(args: *mut Args) -> c_int {
        // SAFETY: By the caller's promise; the session is there for the call.
        let (args, handler, session) = unsafe {
            let args = &mut *args;
            let handler = Self::handler(args.handler);
            let session = Session::new(args.session);
            (args, handler, session)
        };
        from_result(|| {
            let file = handler.retrieve(&session, args.serialized_data)?;
            // The reference goes to the orchestrator.
            args.file = ARef::into_raw(file).as_ptr().cast();
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `args` are those of a call about a file that has come: a registered [`Handler<T>`], and the
    /// file if it was made, which is there during `'a`.
    unsafe fn incoming<'a>(args: &Args) -> (&'a T, Incoming<'a>) {
        let retrieval = match args.retrieve_status {
            0 => Retrieval::None,
            1.. => Retrieval::Done,
            why => Retrieval::Failed(Error::from_errno(why)),
        };
        // SAFETY: By the caller's promise. The orchestrator has a reference of its own, so whoever
        // is in `fdget_pos` with the file has taken its lock.
        let (handler, file) = unsafe {
            let file = (!args.file.is_null()).then(|| File::from_raw_file(args.file));
            (Self::handler(args.handler), file)
        };
        let handle = args.serialized_data;
        let file = Incoming {
            handle,
            retrieval,
            file,
        };
        (handler, file)
    }

    /// # Safety
    ///
    /// `args` are those of a call of `can_finish`, as [`incoming`](Self::incoming) asks for them.
    unsafe extern "C" fn can_finish(args: *mut Args) -> bool {
        // SAFETY: By the caller's promise.
        let (handler, file) = unsafe { Self::incoming(&*args) };
        handler.can_finish(&file)
    }

    /// # Safety
    ///
    /// `args` are those of a call of `finish`, as [`incoming`](Self::incoming) asks for them.
    unsafe extern "C" fn finish(args: *mut Args) {
        // SAFETY: By the caller's promise.
        let (handler, file) = unsafe { Self::incoming(&*args) };
        handler.finish(&file);
    }
}
