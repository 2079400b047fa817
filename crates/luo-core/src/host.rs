// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The traits that a host implements: memory that survives, callbacks and a log. The lock that
//! it supplies is in `crate::lock`.

use luo_abi::errno::Errno;
use luo_abi::rfc::{Event, State};

use crate::error::Error;
use crate::failure::Failure;
use crate::file_name::FileName;
use crate::handover::block::{BlockMemory, HandedMemory};
use crate::handover::PageError;
use crate::id::{FileId, SessionId};
use crate::losses::Part;
use crate::note::Unread;
use crate::text::Compat;
use crate::update::Report;
use crate::user_kinds::UserKinds;

/// How many missing handlers a host is told of by name; a line of the log each.
pub const MOST_MISSING_NAMED: usize = 16;

/// The file that a handler works for: whose it is, and under which token. With it the handler
/// can say which other files this one needs ([`crate::ops::need_object`]), and gets those back
/// ([`crate::ops::needed_file`]).
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    pub(crate) file: FileId,
    /// Whether a program's call is at it, and not a transition.
    pub(crate) in_call: bool,
    /// The handle of the previous kernel's file that it carries on, if it does.
    pub(crate) carries: Option<u64>,
    /// The session that the file is in.
    pub session: SessionId,
    /// The token that it has there.
    pub token: u64,
}

impl Subject {
    /// Whether a program's call is at it, for the program; else it is for the machine.
    #[must_use]
    pub const fn is_in_call(&self) -> bool {
        self.in_call
    }

    /// The handle that the previous kernel's handler has left, of the file that this one carries
    /// on for who has not come yet.
    #[must_use]
    pub const fn carries(&self) -> Option<u64> {
        self.carries
    }
}

/// The state that a handler saved when it preserved a file.
pub struct Preserved<H: Host> {
    /// The handler's handle; reaches the next kernel.
    pub data: u64,
    /// State of this kernel only; goes back to the handler when it unpreserves.
    pub private: H::Private,
}

/// A preserved file as its handler sees it at freeze, unfreeze and unpreserve.
pub struct Outgoing<'a, H: Host> {
    /// The file that was preserved.
    pub file: &'a H::File,
    /// Whether a program's call is at it, and not a transition.
    pub in_call: bool,
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

/// Why a handler has not restored a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrestored {
    /// It never will: the handler has released what it could, and is not asked again.
    Ever(Errno),
    /// Nothing is lost, and the handler can be asked again: memory is short, say.
    Now(Errno),
}

impl Unrestored {
    /// The error that the caller is told.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Self::Ever(errno) | Self::Now(errno) => errno,
        }
    }
}

/// A handler that says no more has failed for good.
impl From<Errno> for Unrestored {
    fn from(errno: Errno) -> Self {
        Self::Ever(errno)
    }
}

/// An incoming file as its handler sees it at finish.
pub struct Incoming<'a, H: Host> {
    /// The handle that the previous kernel's handler left.
    pub data: u64,
    /// Whether it was retrieved.
    pub retrieval: Retrieval,
    /// The restored file, if it was.
    pub file: Option<&'a H::File>,
}

/// The access that a descriptor gives to its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read and write.
    Full,
    /// Read only.
    ReadOnly,
    /// Write only.
    WriteOnly,
}

impl Access {
    /// Its number in a handover.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Full => 0,
            Self::ReadOnly => 1,
            Self::WriteOnly => 2,
        }
    }

    /// The access with a number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Full),
            1 => Some(Self::ReadOnly),
            2 => Some(Self::WriteOnly),
            _ => None,
        }
    }
}

/// A host of the engine.
pub trait Host: Sized {
    /// A reference to an open file. Dropping it gives it back.
    type File: Clone;
    /// A handler's table of callbacks. Two are equal if they are the same table.
    type Handler: FileCallbacks<Self>;
    /// Keeps a callback table's owner from going away. Dropping it lets it go.
    type Pin;
    /// The state that a handler keeps of a preserved file in this kernel.
    type Private;
    /// An FLB's table of callbacks. Two are equal if they are the same table.
    type Flb: FlbCallbacks<Self>;
    /// An FLB's live object.
    type Object: Clone;
    /// A subsystem's table of callbacks. Two are equal if they are the same table.
    type Subsystem: SubsystemCallbacks<Self>;
    /// A page that reaches the next kernel. Dropping it takes it back.
    type Block: BlockMemory;
    /// A page that came from the previous kernel, readable.
    type Page: HandedMemory;

    /// A transition begins, `None` for what a reboot does. Called without the lock,
    /// as are the two that follow.
    fn transition_begun(&self, _event: Option<Event>) {}
    /// A transition has ended well; the state is the new one. The host says so to
    /// all who wait for a change.
    fn transition_ended(&self, _report: &Report) {}
    /// A transition has failed and is undone; the state is `state`. The host says
    /// who and why.
    fn transition_failed(&self, _event: Option<Event>, _state: State, _why: &Failure) {}

    /// A reboot goes on without a file, a session or a subsystem: the host says which and
    /// why. Called without the lock, for as many as [`Part::most_named`] has.
    fn lost(&self, _why: &Failure) {}
    /// `more` further losses of `part` were not named, and the host says the number. Called
    /// after those that were named, if there are more.
    fn lost_unnamed(&self, _part: Part, _more: u64) {}

    /// So many sessions and files of the previous kernel's are taken over. Called without the
    /// lock, as is the next, before those who wait for it go on: what they do next is in a
    /// log behind it.
    fn taken_over(&self, _sessions: usize, _files: usize) {}
    /// The handover of the previous kernel cannot be read. Called once for each reason that is
    /// new.
    fn handover_refused(&self, _why: &Error) {}

    /// Files have come whose handler is not here: the first, and so many more, wait for it. Called
    /// as [`Self::taken_over`] is, for as many handlers as [`MOST_MISSING_NAMED`].
    fn handler_is_missing(&self, _handler: &Compat, _first: &FileName, _more: usize) {}
    /// So many more handlers are missing that were not named.
    fn more_are_missing(&self, _handlers: usize) {}
    /// A handler is registered for which so many files have waited. Called without the lock.
    fn handler_has_come(&self, _handler: &Compat, _files: usize) {}

    /// Which kinds of files users without privileges may preserve.
    fn user_kinds(&self) -> UserKinds;

    /// The bytes that a file has left cannot be read: the host says of which handler, where, and
    /// why. Their memory stays reserved until the next reboot.
    fn unread(&self, _compatible: &str, _data: u64, _why: Unread) {}

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

    /// Gives a page that was read to this kernel's allocator, after everything on it has been
    /// taken over. Nothing happens if it has gone already: two files that are damaged may name
    /// the same page.
    fn free_page(&self, address: u64);

    /// The access that a file gives.
    fn access(&self, file: &Self::File) -> Access;
    /// Opens a restored file anew, with less access than its handler gave it.
    ///
    /// # Errors
    /// The host's. The file does not come back at all: never with more access
    /// than it had.
    fn narrow(&self, file: Self::File, access: Access) -> Result<Self::File, Errno>;
}

// The participants in an update, as the engine calls them. A value of these types is a
// table of callbacks: two are equal if they are the same table. Callbacks run without the
// engine's lock, except `pin`. They may sleep and may call `crate::ops` for FLBs.

/// A file handler: saves one kind of file and restores it.
pub trait FileCallbacks<H: Host>: Clone + PartialEq {
    /// Keeps a handler's owner, or `None` if it is going away.
    ///
    /// Called under the engine's lock, while the handler is registered: only a
    /// table that is registered or pinned may be looked at. Must not sleep.
    fn pin(&self, host: &H) -> Option<H::Pin>;
    /// Whether files that have waited for the handler can have it now: not before its owner is
    /// all there, with the FLBs that it registers after the handler. Called as [`Self::pin`] is.
    fn is_ready(&self, _host: &H) -> bool {
        true
    }
    /// Says which object a file stands for: two files with equal numbers cannot
    /// both be preserved.
    fn object_id(&self, host: &H, file: &H::File) -> u64;
    /// Asks a handler whether it knows this kind of file.
    fn can_preserve(&self, host: &H, file: &H::File) -> bool;
    /// Bytes of memory that a file keeps when it is preserved, as far as the host
    /// can tell; 0 if it cannot.
    fn bytes(&self, host: &H, file: &H::File) -> u64;
    /// Saves a file's state.
    ///
    /// # Errors
    /// The handler's; it has undone what it did.
    fn preserve(&self, host: &H, of: &Subject, file: &H::File) -> Result<Preserved<H>, Errno>;
    /// Undoes `preserve`.
    fn unpreserve(&self, host: &H, file: Outgoing<'_, H>);
    /// Last look before the kexec; the answer is the handle to hand over. The kexec may be some
    /// time away: a session can be frozen before the others.
    ///
    /// # Errors
    /// The handler's veto.
    fn freeze(&self, host: &H, file: Outgoing<'_, H>) -> Result<u64, Errno>;
    /// Undoes `freeze`.
    fn unfreeze(&self, host: &H, file: Outgoing<'_, H>);
    /// The file does not go to the next kernel, and nobody lets go of it: what the next kernel
    /// is told of it beside its handle is not told. May be called more than once; the next
    /// `freeze` undoes it. Must not wait for anybody.
    fn lose(&self, host: &H, file: Outgoing<'_, H>);
    /// Restores a file. What it needs of its session is restored already.
    ///
    /// # Errors
    /// The handler's: [`Unrestored`] says whether it can be tried again.
    fn retrieve(&self, host: &H, of: &Subject, data: u64) -> Result<H::File, Unrestored>;
    /// Asks a handler whether it can let go of an incoming file.
    fn can_finish(&self, host: &H, file: &Incoming<'_, H>) -> bool;
    /// Releases what the handler still holds of an incoming file.
    fn finish(&self, host: &H, file: &Incoming<'_, H>);
}

/// An FLB: state that files of a handler share, which lives as long as any of them.
pub trait FlbCallbacks<H: Host>: Clone + PartialEq {
    /// Keeps an FLB's owner, or `None` if it is going away. Called as
    /// [`FileCallbacks::pin`] is.
    fn pin(&self, host: &H) -> Option<H::Pin>;
    /// Saves an FLB's state: its handle and, if it has one, its object.
    ///
    /// # Errors
    /// The FLB's; it has undone what it did.
    fn preserve(&self, host: &H) -> Result<(u64, Option<H::Object>), Errno>;
    /// Undoes `preserve`.
    fn unpreserve(&self, host: &H, data: u64, object: Option<H::Object>);
    /// Restores an FLB's object.
    ///
    /// # Errors
    /// The FLB's; it is not tried again.
    fn retrieve(&self, host: &H, data: u64) -> Result<Option<H::Object>, Errno>;
    /// Releases a restored FLB.
    fn finish(&self, host: &H, object: Option<H::Object>);
}

/// A subsystem: takes part in updates without having files.
pub trait SubsystemCallbacks<H: Host>: Clone + PartialEq {
    /// Keeps a subsystem's owner, or `None` if it is going away. Called as
    /// [`FileCallbacks::pin`] is.
    fn pin(&self, host: &H) -> Option<H::Pin>;
    /// Gets a subsystem ready; the answer is what it leaves for itself.
    ///
    /// # Errors
    /// The subsystem's veto; it has undone what it did.
    fn prepare(&self, host: &H) -> Result<u64, Errno>;
    /// A subsystem's last look; the answer is what it leaves for itself.
    ///
    /// # Errors
    /// The subsystem's veto; it is cancelled afterwards.
    fn freeze(&self, host: &H, data: u64) -> Result<u64, Errno>;
    /// Undoes a subsystem's prepare, and freeze.
    fn cancel(&self, host: &H, data: u64);
    /// The update is over: a subsystem lets go of what it had handed over.
    fn finish(&self, host: &H, data: u64);
}
