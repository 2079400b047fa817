// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! ADD_DEPENDENCY and DROP_DEPENDENCY. `id` is the session of the file that needs the
//! other; a device has none before something is registered on it.

use luo_abi::contract::{Dependency, DEPENDENCY_BY_DESCRIPTOR, DEPENDENCY_ON_DEVICE};
use luo_abi::errno::Errno;
use luo_core::ops::{self, Needed};
use luo_core::{Error, SessionId, SessionName};

use crate::caller::Caller;
use crate::host::CallHost;
use crate::request::Request;

impl<H: CallHost, C: Caller<File = H::File>> Request<'_, H, C> {
    /// ADD_DEPENDENCY.
    pub(crate) fn add_dependency(&self, id: Option<SessionId>) -> Result<(), Errno> {
        let (token, on) = self.read_dependency()?;
        let id = id.ok_or(Errno::ENOENT)?;
        ops::add_dependency(self.host, self.actor(), id, token, on)
            .map_err(|why| self.refusal(&why))
    }

    /// DROP_DEPENDENCY.
    pub(crate) fn drop_dependency(&self, id: Option<SessionId>) -> Result<(), Errno> {
        let (token, on) = self.read_dependency()?;
        let id = id.ok_or(Errno::ENOENT)?;
        ops::drop_dependency(self.host, self.actor(), id, token, on).map_err(|why| why.errno())
    }

    /// The file that needs another, and that other.
    fn read_dependency(&self) -> Result<(u64, Needed), Errno> {
        let (call, answer) = self.read::<Dependency>()?;
        // The answer says nothing new; a program that cannot be answered has declared
        // nothing.
        answer.write(&call)?;
        let here = call.on_session.iter().all(|&byte| byte == 0);
        let by_descriptor = call.flags == DEPENDENCY_BY_DESCRIPTOR;
        if call.reserved != 0 || (call.session_fd != 0 && !by_descriptor) {
            return Err(Errno::EINVAL);
        }
        let on = match call.flags {
            0 if here => Needed::Here(call.on_token),
            0 => {
                let name = SessionName::parse(&call.on_session);
                Needed::In(name.map_err(|why| Error::from(why).errno())?, call.on_token)
            }
            DEPENDENCY_ON_DEVICE if here => Needed::OnDevice(call.on_token),
            DEPENDENCY_BY_DESCRIPTOR if here => {
                Needed::Of(self.caller.session(call.session_fd)?, call.on_token)
            }
            _ => return Err(Errno::EINVAL),
        };
        Ok((call.token, on))
    }
}
