// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The calls on a session's descriptor alone, and its last close.

use luo_abi::contract::{SessionFreeze, UnpreserveFd};
use luo_abi::errno::Errno;
use luo_abi::uapi::{Finish, GetName, PreserveFd, RetrieveFd};
use luo_core::{ops, SessionId};

use crate::caller::Caller;
use crate::host::CallHost;
use crate::log;
use crate::request::Request;

/// The last close of a session's descriptor.
pub fn close_session<H: CallHost>(host: &H, id: SessionId) {
    let Err(why) = ops::close_session(host, id) else {
        return;
    };
    let (info, of) = host.now(|engine| (engine.session_info(id), engine.part_of_session(id)));
    // If it is gone by now, somebody else has finished it.
    if let Some((name, _)) = info {
        // close(2) has nobody to tell; the session is not lost.
        log::closed_pending(host, of, &name, &why);
    }
}

impl<H: CallHost, C: Caller<File = H::File>> Request<'_, H, C> {
    /// PRESERVE_FD.
    pub(crate) fn preserve_file(&self, id: SessionId) -> Result<(), Errno> {
        let (call, answer) = self.read::<PreserveFd>()?;
        // The answer says nothing new, so it is given before the work: a program
        // that cannot be answered has preserved nothing, and a freeze does not wait
        // for a page of the program's.
        answer.write(&call)?;
        let open = || self.caller.file(call.fd);
        let preserved = ops::preserve_file(self.host, self.actor(), id, call.token, open);
        preserved.map_err(|why| self.refusal(&why))
    }

    /// UNPRESERVE_FD.
    pub(crate) fn unpreserve_file(&self, id: SessionId) -> Result<(), Errno> {
        let (call, answer) = self.read::<UnpreserveFd>()?;
        if call.reserved != 0 {
            return Err(Errno::EINVAL);
        }
        answer.write(&call)?;
        ops::unpreserve_file(self.host, id, call.token).map_err(|why| why.errno())
    }

    /// SESSION_FREEZE.
    pub(crate) fn freeze_session(&self, id: SessionId) -> Result<(), Errno> {
        let (call, answer) = self.read::<SessionFreeze>()?;
        if call.reserved != 0 {
            return Err(Errno::EINVAL);
        }
        answer.write(&call)?;
        ops::freeze_session(self.host, id).map_err(|why| {
            log::not_frozen(self.host, id, &why);
            why.errno()
        })
    }

    /// RETRIEVE_FD.
    pub(crate) fn retrieve_file(&self, id: SessionId) -> Result<(), Errno> {
        let (mut call, answer) = self.read::<RetrieveFd>()?;
        let slot = self.caller.reserve()?;
        let file = ops::retrieve_file(self.host, self.actor(), id, call.token);
        let file = file.map_err(|why| why.errno())?;
        call.fd = C::number(&slot);
        // If this or the next step fails the file stays with the session: asking again
        // gives it.
        answer.write(&call)?;
        let fd = self.caller.install_file(slot, file)?;
        answer.amend(&mut call, |call| &mut call.fd, fd);
        Ok(())
    }

    /// FINISH.
    pub(crate) fn finish_session(&self, id: SessionId) -> Result<(), Errno> {
        let (call, answer) = self.read::<Finish>()?;
        if call.reserved != 0 {
            return Err(Errno::EINVAL);
        }
        answer.write(&call)?;
        ops::finish_session(self.host, id).map_err(|why| why.errno())
    }

    /// GET_NAME.
    pub(crate) fn get_name(&self, id: SessionId) -> Result<(), Errno> {
        let (mut call, answer) = self.read::<GetName>()?;
        if call.reserved != 0 {
            return Err(Errno::EINVAL);
        }
        let info = self.host.now_killable(|engine| engine.session_info(id))?;
        let (name, _) = info.ok_or(Errno::EINVAL)?;
        call.name = *self.actor().name_of(&name).room();
        answer.write(&call)
    }
}
