// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls without manners: what the typed interface would not let through.

use std::os::fd::AsRawFd as _;

use luo_abi::contract::{
    DEPENDENCY_BY_DESCRIPTOR, Dependency, LIST_FILES, LIST_INCOMING, List, SESSION_FREEZE,
    SessionFreeze,
};
use luo_abi::rfc::LiveupdateFd;
use luo_abi::uapi::{CreateSession, SESSION_NAME_LENGTH};
use luo_sys::SessionName;
use luo_sys::raw::{self, Target};
use zerocopy::IntoBytes;

use super::stage::Stage;

impl Stage {
    /// A call whose argument lies where nothing can be read.
    pub(super) fn nowhere(&self, target: &impl Target, command: u32) -> luo_sys::Result<()> {
        raw::ioctl_bad_address(target, command).map(drop)
    }

    /// A call of the session whose structure is `{ size, reserved }` and zeros.
    pub(super) fn reserved(&self, command: u32, size: u8) -> luo_sys::Result<()> {
        let mut argument = [0; u8::MAX as usize];
        argument[0] = size;
        argument[4] = 1;
        raw::ioctl(&self.session, command, &mut argument).map(drop)
    }

    /// A call on a name that the typed interface would not let through.
    pub(super) fn named(
        &self,
        command: u32,
        field: &[u8; SESSION_NAME_LENGTH],
    ) -> luo_sys::Result<()> {
        let mut argument = self.name_argument(field);
        raw::ioctl(&self.device, command, argument.as_mut_bytes()).map(drop)
    }

    /// The same, and the answer cannot be written.
    pub(super) fn named_unanswered(&self, command: u32, name: &SessionName) -> luo_sys::Result<()> {
        let argument = self.name_argument(name.as_field());
        raw::ioctl_read_only(&self.device, command, argument.as_bytes()).map(drop)
    }

    /// The structure of both calls on names.
    fn name_argument(&self, field: &[u8; SESSION_NAME_LENGTH]) -> CreateSession {
        CreateSession {
            size: size_of::<CreateSession>() as u32,
            fd: -1,
            name: *field,
        }
    }

    /// A call of the proposal.
    pub(super) fn rfc(&self, command: u32, fd: i32, flags: u32) -> luo_sys::Result<()> {
        let mut argument = self.rfc_argument(fd, flags);
        raw::ioctl(&self.device, command, argument.as_mut_bytes()).map(drop)
    }

    /// The same, and the answer cannot be written.
    pub(super) fn rfc_unanswered(&self, command: u32) -> luo_sys::Result<()> {
        let argument = self.rfc_argument(self.free.as_raw_fd(), 0);
        raw::ioctl_read_only(&self.device, command, argument.as_bytes()).map(drop)
    }

    fn rfc_argument(&self, fd: i32, flags: u32) -> LiveupdateFd {
        let token = self.token.0;
        LiveupdateFd { fd, flags, token }
    }

    /// A call of the session on a file; one of mainline's two, or UNPRESERVE_FD.
    pub(super) fn on_file(&self, command: u32, fd: i32, token: u64) -> luo_sys::Result<()> {
        let mut argument = file_argument(fd, token);
        raw::ioctl(&self.session, command, &mut argument).map(drop)
    }

    /// The same, and the answer cannot be written.
    pub(super) fn on_file_unanswered(
        &self,
        command: u32,
        fd: i32,
        token: u64,
    ) -> luo_sys::Result<()> {
        raw::ioctl_read_only(&self.session, command, &file_argument(fd, token)).map(drop)
    }

    /// SESSION_FREEZE, and the answer cannot be written.
    pub(super) fn freeze_unanswered(&self) -> luo_sys::Result<()> {
        let argument = [size_of::<SessionFreeze>() as u32, 0];
        raw::ioctl_read_only(&self.session, SESSION_FREEZE, argument.as_bytes()).map(drop)
    }

    /// A dependency of file 1 of the session on its file 2, with something odd.
    pub(super) fn dependency(
        &self,
        command: u32,
        odd: impl FnOnce(&mut Dependency),
    ) -> luo_sys::Result<()> {
        let mut argument = Dependency {
            size: size_of::<Dependency>() as u32,
            flags: 0,
            token: 1,
            on_token: 2,
            on_session: [0; SESSION_NAME_LENGTH],
            session_fd: 0,
            reserved: 0,
        };
        odd(&mut argument);
        raw::ioctl(&self.session, command, argument.as_mut_bytes()).map(drop)
    }

    /// A list of one entry, with something odd.
    pub(super) fn list(
        &self,
        target: &impl Target,
        command: u32,
        odd: impl FnOnce(&mut List),
    ) -> luo_sys::Result<()> {
        let mut argument = List {
            size: size_of::<List>() as u32,
            flags: 0,
            cursor: 0,
            entries: 0,
            entry_size: 96,
            capacity: 1,
            count: 0,
            reserved: 0,
            total: 0,
            token: 0,
        };
        odd(&mut argument);
        raw::list(target, command, &mut argument, &mut []).map(drop)
    }

    /// The same, of what was registered on the device in the previous kernel.
    pub(super) fn list_arrived(&self, odd: impl FnOnce(&mut List)) -> luo_sys::Result<()> {
        self.list(&self.device, LIST_FILES, |argument| {
            argument.flags = LIST_INCOMING;
            odd(argument);
        })
    }

    /// The same, with the entries at null.
    pub(super) fn list_nowhere(&self, target: &impl Target, command: u32) -> luo_sys::Result<()> {
        let mut argument = [0; size_of::<List>()];
        argument[0] = size_of::<List>() as u8;
        argument[24] = 96;
        argument[28] = 1;
        raw::ioctl(target, command, &mut argument).map(drop)
    }
}

/// Names the session of the file that is needed by a descriptor.
pub(super) fn by_descriptor(fd: i32) -> impl FnOnce(&mut Dependency) {
    move |odd| {
        odd.flags = DEPENDENCY_BY_DESCRIPTOR;
        odd.session_fd = fd;
    }
}

/// `{ size, fd, token }`.
fn file_argument(fd: i32, token: u64) -> [u8; 16] {
    let mut argument = [0; 16];
    argument[0] = 16;
    argument[4..8].copy_from_slice(&fd.to_ne_bytes());
    argument[8..].copy_from_slice(&token.to_ne_bytes());
    argument
}
