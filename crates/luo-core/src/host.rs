// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What a host supplies: the lock, memory that survives, and callbacks.

use core::task::Poll;

use luo_abi::errno::Errno;

use crate::block::BlockMemory;
use crate::engine::Engine;

/// What a handler gave when it preserved a file.
pub struct Preserved<H: Host> {
    /// The handler's handle; reaches the next kernel.
    pub data: u64,
    /// State of this kernel only; goes back to the handler when it unpreserves.
    pub private: H::Private,
}

/// A preserved file as its handler sees it at freeze, unfreeze and unpreserve.
pub struct Frozen<'a, H: Host> {
    /// The handler.
    pub handler: &'a H::Handler,
    /// The file that was preserved.
    pub file: &'a H::File,
    /// The handler's handle.
    pub data: u64,
    /// The handler's state.
    pub private: &'a mut H::Private,
}

/// Whether an incoming file was retrieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retrieval {
    /// Nobody asked for it.
    None,
    /// It is restored.
    Done,
    /// The handler failed, with this error; it is not tried again.
    Failed(Errno),
}

/// An incoming file as its handler sees it at finish.
pub struct Incoming<'a, H: Host> {
    /// The handler.
    pub handler: &'a H::Handler,
    /// The handle that the previous kernel's handler left.
    pub data: u64,
    /// Whether it was retrieved.
    pub retrieval: Retrieval,
    /// The restored file, if it was.
    pub file: Option<&'a H::File>,
}

/// Why a page that handed-over data points at cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageError {
    /// The address is not the start of a page.
    Unaligned,
    /// The previous kernel did not preserve a page there.
    NotPreserved,
}

/// A host of the engine.
///
/// Callbacks run without the engine's lock; they may sleep and may call back
/// into [`crate::ops`] for FLBs.
pub trait Host: Sized {
    /// A reference to an open file. Dropping it gives it back.
    type File: Clone;
    /// A handler's table of callbacks. Two are equal if they are the same table.
    type Handler: Clone + PartialEq;
    /// Keeps a callback table's owner from going away. Dropping it lets it go.
    type Pin;
    /// What a handler remembers of a preserved file in this kernel.
    type Private;
    /// An FLB's table of callbacks. Two are equal if they are the same table.
    type Flb: Clone + PartialEq;
    /// An FLB's live object.
    type Object: Clone;
    /// A page that reaches the next kernel. Dropping it takes it back.
    type Block: BlockMemory;
    /// A page that came from the previous kernel, readable.
    type Page: AsRef<[u8]>;

    /// Runs `step` under the engine's lock. When it says [`Poll::Pending`], the
    /// host waits until another step has run and then runs it again.
    fn with<R>(&self, step: impl FnMut(&mut Engine<Self>) -> Poll<R>) -> R;

    /// A zeroed page for the next kernel.
    ///
    /// # Errors
    /// ENOMEM, or what the host's memory says.
    fn alloc_block(&self) -> Result<Self::Block, Errno>;

    /// The page that the previous kernel preserved at a physical address.
    ///
    /// # Errors
    /// [`PageError`] if there is none; the address is untrusted.
    fn read_page(&self, address: u64) -> Result<Self::Page, PageError>;

    /// Gives a page that was read to this kernel's allocator. Called once a
    /// page, after everything on it has been taken over.
    fn free_page(&self, address: u64);

    /// Keeps a handler's owner, or `None` if it is going away.
    ///
    /// Called under the engine's lock, while the handler is registered: only a
    /// table that is registered or pinned may be looked at. Must not sleep.
    fn pin_handler(&self, handler: &Self::Handler) -> Option<Self::Pin>;
    /// Says which object a file stands for: two files with equal numbers cannot
    /// both be preserved.
    fn object_id(&self, handler: &Self::Handler, file: &Self::File) -> u64;
    /// Asks a handler whether it knows this kind of file.
    fn can_preserve(&self, handler: &Self::Handler, file: &Self::File) -> bool;
    /// Saves a file's state.
    ///
    /// # Errors
    /// The handler's; it has undone what it did.
    fn preserve(
        &self,
        handler: &Self::Handler,
        file: &Self::File,
    ) -> Result<Preserved<Self>, Errno>;
    /// Undoes `preserve`.
    fn unpreserve(&self, file: Frozen<'_, Self>);
    /// Last look before the kexec; the answer is the handle to hand over.
    ///
    /// # Errors
    /// The handler's veto.
    fn freeze(&self, file: Frozen<'_, Self>) -> Result<u64, Errno>;
    /// Undoes `freeze`.
    fn unfreeze(&self, file: Frozen<'_, Self>);
    /// Restores a file.
    ///
    /// # Errors
    /// The handler's; it has released what it could.
    fn retrieve(&self, handler: &Self::Handler, data: u64) -> Result<Self::File, Errno>;
    /// Asks a handler whether it can let go of an incoming file.
    fn can_finish(&self, file: &Incoming<'_, Self>) -> bool;
    /// Releases what the handler still holds of an incoming file.
    fn finish(&self, file: &Incoming<'_, Self>);

    /// Keeps an FLB's owner, or `None` if it is going away. Called as
    /// [`Self::pin_handler`] is.
    fn pin_flb(&self, flb: &Self::Flb) -> Option<Self::Pin>;
    /// Saves an FLB's state: its handle and, if it has one, its object.
    ///
    /// # Errors
    /// The FLB's; it has undone what it did.
    fn flb_preserve(&self, flb: &Self::Flb) -> Result<(u64, Option<Self::Object>), Errno>;
    /// Undoes `flb_preserve`.
    fn flb_unpreserve(&self, flb: &Self::Flb, data: u64, object: Option<Self::Object>);
    /// Restores an FLB's object.
    ///
    /// # Errors
    /// The FLB's; it is not tried again.
    fn flb_retrieve(&self, flb: &Self::Flb, data: u64) -> Result<Option<Self::Object>, Errno>;
    /// Releases a restored FLB.
    fn flb_finish(&self, flb: &Self::Flb, object: Option<Self::Object>);
}
