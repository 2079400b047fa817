// SPDX-License-Identifier: GPL-2.0-only

//! Files that go over live updates: what a driver says of them.

use super::{
    Needed,
    Session, //
};
use crate::{
    fs::File,
    prelude::*,
    sync::aref::ARef, //
};

/// A handler of one kind of file.
///
/// In the old kernel it saves what a file is like, in the next one it makes a file that is like
/// that. The calls for one file come one after the other, those for different files at the same
/// time. All may sleep, and none is made while a lock of the orchestrator's is held.
///
/// ```text
///     old kernel                            next kernel
///
///     can_preserve                          retrieve --> finish
///          |                                    '------> finish (nobody asked for the file)
///     preserve --> freeze ===== kexec =====>
///        | ^         |
///        | '- unfreeze
///        v
///     unpreserve
/// ```
///
/// # Examples
///
/// A file of which one number tells everything, and which needs no memory for that:
///
/// ```
/// use kernel::{
///     fs::File,
///     liveupdate::{
///         FileHandler,
///         Handler,
///         HandlerRegistration,
///         Incoming,
///         Preserved,
///         Session, //
///     },
///     sync::aref::ARef, //
/// };
///
/// struct Clocks;
///
/// #[vtable]
/// impl FileHandler for Clocks {
///     const COMPATIBLE: &'static CStr = c"clock-v1";
///     type Data = ();
///
///     fn can_preserve(&self, _file: &File) -> bool {
///         false
///     }
///
///     fn preserve(&self, _session: &Session<'_>, _file: &File) -> Result<Preserved<()>> {
///         Ok(Preserved { handle: 7, data: () })
///     }
///
///     fn retrieve(&self, _session: &Session<'_>, _handle: u64) -> Result<ARef<File>> {
///         Err(ENODEV)
///     }
///
///     fn finish(&self, _file: &Incoming<'_>) {}
/// }
///
/// static CLOCKS: Handler<Clocks> = Handler::new(Clocks);
///
/// /// Files can be preserved until the result is dropped.
/// fn begin() -> Result<HandlerRegistration<Clocks>> {
///     CLOCKS.register()
/// }
/// ```
#[vtable]
pub trait FileHandler: Send + Sync + 'static {
    /// The name of what a file leaves for the next kernel, of 1 to 47 bytes: only a handler of
    /// this name gets it there. It stands for the format, and changes when that does.
    const COMPATIBLE: &'static CStr;

    /// What this kernel keeps of a preserved file. Its drop undoes what
    /// [`preserve`](Self::preserve) did.
    type Data: Send;

    /// Whether a file is of this kind. Asked of each file that is to be preserved: looks, and
    /// does no more.
    fn can_preserve(&self, file: &File) -> bool;

    /// The number of what a file stands for: two files with one number cannot both be preserved.
    /// If this is not there, each open file stands for itself.
    fn object_id(file: &File) -> usize {
        file.as_ptr() as usize
    }

    /// Saves what a file is like, while programs go on to use it.
    ///
    /// # Errors
    ///
    /// An error refuses the file. What was done before it is undone by who returns it.
    fn preserve(&self, session: &Session<'_>, file: &File) -> Result<Preserved<Self::Data>>;

    /// The file does not go over, or not yet: undoes [`preserve`](Self::preserve).
    fn unpreserve(&self, _file: &File, _handle: u64, data: Self::Data) {
        drop(data);
    }

    /// The last look at a file before the kexec. The answer replaces the file's handle. Programs
    /// may run still, and this may come more than once.
    ///
    /// # Errors
    ///
    /// An error is a veto: of the whole update, or of this file's part in it.
    fn freeze(&self, file: &mut Outgoing<'_, Self::Data>) -> Result<u64> {
        Ok(file.handle)
    }

    /// The kexec does not come about: undoes [`freeze`](Self::freeze). The file stays preserved.
    fn unfreeze(&self, _file: &mut Outgoing<'_, Self::Data>) {}

    /// Makes a file that is like the one that has left this handle. It is called once a file at
    /// most, and [`finish`](Self::finish) follows later: what the handle leads to stays until
    /// then.
    ///
    /// What the previous kernel has left is hostile: nothing is believed before it is checked.
    ///
    /// # Errors
    ///
    /// An error is final: who asks for the file gets it, each time.
    fn retrieve(&self, session: &Session<'_>, handle: u64) -> Result<ARef<File>>;

    /// Whether the previous kernel's part of a file can be let go of. Asked of all files of a
    /// session, before the first one goes.
    fn can_finish(&self, _file: &Incoming<'_>) -> bool {
        true
    }

    /// Lets go of what the handle leads to. Whoever has the file has it for good.
    fn finish(&self, file: &Incoming<'_>);
}

/// What comes of preserving a file.
pub struct Preserved<D> {
    /// For the next kernel: usually where the memory is that tells of the file.
    pub handle: u64,
    /// For this kernel.
    pub data: D,
}

/// A preserved file, at freeze and unfreeze.
pub struct Outgoing<'a, D> {
    /// The file.
    pub file: &'a File,
    /// What the next kernel would get.
    pub handle: u64,
    /// What [`FileHandler::preserve`] has made.
    pub data: &'a mut D,
}

/// A file that the previous kernel has handed over, when its session ends.
pub struct Incoming<'a> {
    /// What the previous kernel has left.
    pub handle: u64,
    /// What has come of retrieving it.
    pub retrieval: Retrieval,
    /// The file that was made, if one was.
    pub file: Option<&'a File>,
}

/// What has come of retrieving a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Retrieval {
    /// Nobody has asked for it.
    None,
    /// It was made.
    Done,
    /// It could not be made.
    Failed(Error),
}

/// The number of a file in its session, which does not change on the way to the next kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(pub u64);

impl Session<'_> {
    /// Within [`FileHandler::preserve`]: the file that is being preserved needs another one, which
    /// has to be preserved in the same session already. Gives the number by which
    /// [`get`](Self::get) knows that one in the next kernel.
    ///
    /// From then on the other file is restored before this one and frozen after it, and an update
    /// without it does not come about. Said twice it counts once.
    ///
    /// No lock may be held that a handler takes: this may wait for a transition, and that for a
    /// handler.
    ///
    /// # Errors
    ///
    /// - [`ENOENT`] if the other file is not in the session, or is the same one.
    /// - [`EINVAL`] elsewhere than in [`FileHandler::preserve`].
    /// - Those of declaring a dependency: [`ENOSPC`], [`EDQUOT`], [`ENOMEM`] and others.
    pub fn need(&self, other: &Needed) -> Result<Token> {
        self.token_of(other).map(Token)
    }

    /// Within [`FileHandler::retrieve`]: a file that [`need`](Self::need) has named in the
    /// previous kernel. It is restored already.
    ///
    /// # Errors
    ///
    /// - [`ENOENT`] if there is no such file, or nobody has said that this one needs it.
    /// - [`EINVAL`] elsewhere than in [`FileHandler::retrieve`].
    pub fn get(&self, token: Token) -> Result<ARef<File>> {
        self.file_of(token.0)
    }
}
