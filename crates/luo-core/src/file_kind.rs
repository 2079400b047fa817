// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! File handlers as they are written: one value for each kind of file.
//!
//! ```text
//! Kind      what the author of a handler implements, with a type of their own for what
//!           they keep of a preserved file
//! AnyKind   the same without that type: what a host has a list of
//! ```
//!
//! Both hosts have their handlers so. A new one is a file that implements [`Kind`], and a line
//! in the host's list. The engine itself asks for [`crate::FileCallbacks`], which a
//! host implements once, over [`AnyKind`] and whatever else it has (tables of callbacks in C,
//! say).

use luo_abi::errno::Errno;

use crate::host::{Host, Incoming, Outgoing, Preserved, Retrieval, Subject, Unrestored};

/// A host that keeps values of any type between the callbacks of a handler.
pub trait Keeps: Host {
    /// Puts a value away.
    ///
    /// # Errors
    /// ENOMEM.
    fn keep<T: Send + 'static>(value: T) -> Result<Self::Private, Errno>;

    /// The value that was put away, if it is one of this type.
    fn kept<T: 'static>(private: &mut Self::Private) -> Option<&mut T>;
}

/// A kind of file: how it is saved and restored.
///
/// None of these is called with the engine's lock held; all may sleep.
pub trait Kind<H: Host>: Sync {
    /// The part of a preserved file that stays in this kernel. Dropping it undoes
    /// [`Self::preserve`].
    type Kept: Send + 'static;

    /// The name that the next kernel finds the handler by. It stands for the format of what is
    /// handed over: a format that a reader of this name would not understand has another one.
    fn compatible(&self) -> &'static str;

    /// Whether a file is of this kind.
    fn knows(&self, host: &H, file: &H::File) -> bool;

    /// Which object a file stands for: two files with equal numbers cannot both be preserved.
    fn object_id(&self, host: &H, file: &H::File) -> u64;

    /// Bytes of memory that a file keeps when it is preserved.
    fn bytes(&self, host: &H, file: &H::File) -> u64;

    /// Saves a file's state: the handle for the next kernel, and what is kept here. The files
    /// that this one needs can be named by [`crate::ops::need_object`].
    ///
    /// # Errors
    /// The kind's refusal; nothing is kept then.
    fn preserve(&self, host: &H, of: &Subject, file: &H::File) -> Result<(u64, Self::Kept), Errno>;

    /// Undoes what dropping [`Self::Kept`] does not undo.
    fn unpreserve(&self, _host: &H, _file: &H::File) {}

    /// The last look before the kexec: what has happened since `preserve` is saved too.
    ///
    /// # Errors
    /// The kind's veto.
    fn freeze(&self, host: &H, file: &H::File, kept: &mut Self::Kept) -> Result<(), Errno>;

    /// Undoes `freeze`.
    fn unfreeze(&self, _host: &H, _file: &H::File, _kept: &mut Self::Kept) {}

    /// The file does not go to the next kernel, and nobody lets go of it in this one: it is a
    /// user's, for whom nobody waits. Takes back what the next kernel is told of it beside its
    /// handle. May be called more than once; the next [`Self::freeze`] undoes it. Waits for nobody.
    fn lose(&self, _host: &H, _kept: &mut Self::Kept) {}

    /// Restores a file from its handle, which is untrusted as is all that it leads to. What the
    /// file needs comes from [`crate::ops::needed_file`].
    ///
    /// # Errors
    /// [`Unrestored::Now`] if it can be tried again; nothing has changed then.
    /// [`Unrestored::Ever`] if not; what was saved is released.
    fn retrieve(&self, host: &H, of: &Subject, data: u64) -> Result<H::File, Unrestored>;

    /// Whether the kind lets go of a file of the previous kernel.
    fn can_finish(&self, _host: &H) -> bool {
        true
    }

    /// Releases what was saved of a file that nobody has restored.
    fn discard(&self, host: &H, data: u64);

    /// Hears that a file of the previous kernel is finished.
    fn finish(&self, _host: &H, _data: u64) {}
}

/// A [`Kind`] of which the type is not known: one of those in a host's list. The meaning of
/// everything is there.
pub trait AnyKind<H: Host>: Sync {
    /// See [`Kind::compatible`].
    fn compatible(&self) -> &'static str;
    /// See [`Kind::knows`].
    fn knows(&self, host: &H, file: &H::File) -> bool;
    /// See [`Kind::object_id`].
    fn object_id(&self, host: &H, file: &H::File) -> u64;
    /// See [`Kind::bytes`].
    fn bytes(&self, host: &H, file: &H::File) -> u64;
    /// See [`Kind::preserve`].
    ///
    /// # Errors
    /// As there.
    fn preserve(&self, host: &H, of: &Subject, file: &H::File) -> Result<Preserved<H>, Errno>;
    /// See [`Kind::unpreserve`].
    fn unpreserve(&self, host: &H, file: &Outgoing<'_, H>);
    /// See [`Kind::freeze`].
    ///
    /// # Errors
    /// As there.
    fn freeze(&self, host: &H, file: Outgoing<'_, H>) -> Result<(), Errno>;
    /// See [`Kind::unfreeze`].
    fn unfreeze(&self, host: &H, file: Outgoing<'_, H>);
    /// See [`Kind::lose`].
    fn lose(&self, host: &H, file: Outgoing<'_, H>);
    /// See [`Kind::retrieve`].
    ///
    /// # Errors
    /// As there.
    fn retrieve(&self, host: &H, of: &Subject, data: u64) -> Result<H::File, Unrestored>;
    /// See [`Kind::can_finish`].
    fn can_finish(&self, host: &H) -> bool;
    /// See [`Kind::discard`].
    fn discard(&self, host: &H, data: u64);
    /// Finishes a file of the previous kernel: one that was restored is its owner's, and of one
    /// whose handler has failed everything is released already.
    fn finish(&self, host: &H, file: &Incoming<'_, H>);
}

impl<H: Keeps, K: Kind<H>> AnyKind<H> for K {
    fn compatible(&self) -> &'static str {
        Kind::compatible(self)
    }

    fn knows(&self, host: &H, file: &H::File) -> bool {
        Kind::knows(self, host, file)
    }

    fn object_id(&self, host: &H, file: &H::File) -> u64 {
        Kind::object_id(self, host, file)
    }

    fn bytes(&self, host: &H, file: &H::File) -> u64 {
        Kind::bytes(self, host, file)
    }

    fn preserve(&self, host: &H, of: &Subject, file: &H::File) -> Result<Preserved<H>, Errno> {
        let (data, kept) = Kind::preserve(self, host, of, file)?;
        let private = H::keep(kept).inspect_err(|_| Kind::unpreserve(self, host, file))?;
        Ok(Preserved { data, private })
    }

    fn unpreserve(&self, host: &H, file: &Outgoing<'_, H>) {
        Kind::unpreserve(self, host, file.file);
    }

    fn freeze(&self, host: &H, file: Outgoing<'_, H>) -> Result<(), Errno> {
        let kept = H::kept(file.private).ok_or(Errno::EIO)?;
        Kind::freeze(self, host, file.file, kept)
    }

    fn unfreeze(&self, host: &H, file: Outgoing<'_, H>) {
        if let Some(kept) = H::kept(file.private) {
            Kind::unfreeze(self, host, file.file, kept);
        }
    }

    fn lose(&self, host: &H, file: Outgoing<'_, H>) {
        if let Some(kept) = H::kept(file.private) {
            Kind::lose(self, host, kept);
        }
    }

    fn retrieve(&self, host: &H, of: &Subject, data: u64) -> Result<H::File, Unrestored> {
        Kind::retrieve(self, host, of, data)
    }

    fn can_finish(&self, host: &H) -> bool {
        Kind::can_finish(self, host)
    }

    fn discard(&self, host: &H, data: u64) {
        Kind::discard(self, host, data);
    }

    fn finish(&self, host: &H, file: &Incoming<'_, H>) {
        if file.retrieval == Retrieval::None {
            Kind::discard(self, host, file.data);
        }
        Kind::finish(self, host, file.data);
    }
}
