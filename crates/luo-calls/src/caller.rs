// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The trait of the program that calls: its memory, its files and its identity.

use luo_abi::errno::Errno;
use luo_core::{Actor, SessionId, SessionName};

/// The caller, as it is when the call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The effective user, as the first user namespace numbers it.
    pub uid: u32,
    /// It may administer the machine: CAP_SYS_ADMIN in the first user namespace.
    pub privileged: bool,
}

impl Identity {
    /// On whose behalf the engine acts.
    #[must_use]
    pub const fn actor(self) -> Actor {
        if self.privileged {
            Actor::Administrator
        } else {
            Actor::User(self.uid)
        }
    }
}

/// The program that has made a call: its memory and its descriptors.
pub trait Caller {
    /// A reference to an open file, the engine's [`luo_core::Host::File`].
    type File;
    /// A free descriptor that is set aside. Dropping it gives it back.
    type Slot;

    /// The caller's identity now. A descriptor may have been passed on and privileges dropped
    /// since it was opened, so the opener's identity says nothing about the caller's.
    fn identity(&self) -> Identity;

    /// On whose behalf the engine acts. A host may know it without asking who it is.
    fn actor(&self) -> Actor {
        self.identity().actor()
    }

    /// Reads the program's memory, all of `to`.
    ///
    /// # Errors
    /// EFAULT.
    fn read(&self, from: u64, to: &mut [u8]) -> Result<(), Errno>;

    /// Writes the program's memory. Nothing is written if there are no bytes, whatever
    /// the address.
    ///
    /// # Errors
    /// EFAULT; some of the bytes may be written then.
    fn write(&self, to: u64, bytes: &[u8]) -> Result<(), Errno>;

    /// The file behind one of the program's descriptors.
    ///
    /// # Errors
    /// EBADF if there is none, it was opened with `O_PATH`, or can neither be read nor
    /// written: it would come back with more.
    fn file(&self, fd: i32) -> Result<Self::File, Errno>;

    /// The session behind one of the program's descriptors. It may be closed by the time
    /// that it is looked for.
    ///
    /// # Errors
    /// EBADF if there is no such descriptor, EINVAL if it is not one of a session.
    fn session(&self, fd: i32) -> Result<SessionId, Errno>;

    /// Sets a free descriptor of the program's aside.
    ///
    /// # Errors
    /// EMFILE if there is none. A host that cannot set one aside says so at
    /// [`Self::install_file`] or [`Self::install_session`] instead.
    fn reserve(&self) -> Result<Self::Slot, Errno>;

    /// The number of a descriptor that is set aside; -1 on a host that does not know it
    /// before something is installed.
    fn number(slot: &Self::Slot) -> i32;

    /// Makes a file one of the program's, to be closed when it executes another, and
    /// gives the number of the descriptor.
    ///
    /// # Errors
    /// EMFILE.
    fn install_file(&self, slot: Self::Slot, file: Self::File) -> Result<i32, Errno>;

    /// The same for a session. Its full name is what everybody reads of the descriptor in
    /// `/proc`: a manager with privileges that keeps it for a user asks for it by that
    /// after the update. If it fails, the session is as before: it has not been
    /// closed.
    ///
    /// # Errors
    /// EMFILE, ENOMEM, or what the host says.
    fn install_session(
        &self,
        slot: Self::Slot,
        name: &SessionName,
        id: SessionId,
    ) -> Result<i32, Errno>;

    /// The program has just been told the state through this open of the device. A host
    /// that signals changes by something that stays takes it away.
    fn knows_state(&self) {}
}
