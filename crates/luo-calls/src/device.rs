// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The calls on the device: sessions, files that are registered, events, queries.

use core::mem::size_of;

use luo_abi::contract::{Failure, Info, FEATURE_MANY_OPENERS, FEATURE_POLL};
use luo_abi::errno::Errno;
use luo_abi::rfc::LiveupdateFd;
use luo_abi::uapi::{CreateSession, RetrieveSession};
use luo_core::{ops, Actor, Error, SessionId, SessionName};

use crate::caller::Caller;
use crate::host::CallHost;
use crate::instance::Instance;
use crate::request::Request;

impl<H: CallHost, C: Caller<File = H::File>> Request<'_, H, C> {
    /// CREATE_SESSION.
    pub(crate) fn create_session(&self) -> Result<(), Errno> {
        let (mut call, answer) = self.read::<CreateSession>()?;
        let name = SessionName::parse(&call.name).map_err(|why| Error::from(why).errno())?;
        let slot = self.caller.reserve()?;
        call.fd = C::number(&slot);
        // A program that cannot be answered has made nothing. The descriptor is none
        // before the call has succeeded.
        answer.write(&call)?;
        let by = self.actor();
        let id = ops::create_session(self.host, by, &name).map_err(|why| self.refusal(&why))?;
        let installed = self.install_session(slot, by, &name, id);
        let fd = installed.inspect_err(|_| {
            // It has no files yet: closing it cannot fail.
            let _ = ops::close_session(self.host, id);
        })?;
        answer.amend(&mut call, |call| &mut call.fd, fd);
        Ok(())
    }

    /// RETRIEVE_SESSION.
    pub(crate) fn retrieve_session(&self) -> Result<(), Errno> {
        let (mut call, answer) = self.read::<RetrieveSession>()?;
        // An invalid name cannot match a session: ENOENT, as in mainline.
        let name = SessionName::parse(&call.name).map_err(|_| Errno::ENOENT)?;
        let slot = self.caller.reserve()?;
        call.fd = C::number(&slot);
        let by = self.actor();
        let id = ops::retrieve_session(self.host, by, &name).map_err(|why| why.errno())?;
        // A program that cannot be told gets nothing, and the session is there for
        // another try. Told before the descriptor is made: closing that would close
        // the session.
        let installed = answer
            .write(&call)
            .and_then(|()| self.install_session(slot, by, &name, id));
        let fd = installed.inspect_err(|_| ops::put_back_session(self.host, id))?;
        answer.amend(&mut call, |call| &mut call.fd, fd);
        Ok(())
    }

    /// Gives the caller the descriptor of a session that it calls by a name.
    fn install_session(
        &self,
        slot: C::Slot,
        by: Actor,
        name: &SessionName,
        id: SessionId,
    ) -> Result<i32, Errno> {
        let full = match by {
            Actor::Administrator => *name,
            Actor::User(_) => {
                let info = self.host.now(|engine| engine.session_info(id));
                info.ok_or(Errno::EINVAL)?.0
            }
        };
        self.caller.install_session(slot, &full, id)
    }

    /// FD_PRESERVE.
    pub(crate) fn register_file(&self, instance: &Instance) -> Result<(), Errno> {
        let (mut call, answer) = self.read_fixed::<LiveupdateFd>()?;
        if call.flags != 0 {
            return Err(Errno::EINVAL);
        }
        let id = instance.make_session(self.host)?;
        let fd = call.fd;
        let open = || self.caller.file(fd);
        // A program that does not learn the token has registered nothing.
        let tell = |token| {
            call.token = token;
            answer.write(&call)
        };
        let registered = ops::register_file(self.host, id, tell, open);
        registered.map(drop).map_err(|why| why.errno())
    }

    /// FD_UNPRESERVE.
    pub(crate) fn unregister_file(&self, instance: &Instance) -> Result<(), Errno> {
        let (token, _) = self.read_fixed::<u64>()?;
        // The state comes first, even if nothing is registered.
        let changeable = self.host.wait_killable(|engine| engine.may_change())?;
        changeable.map_err(|why| why.errno())?;
        let id = instance.session().ok_or(Errno::ENOENT)?;
        ops::unpreserve_file(self.host, id, token).map_err(|why| why.errno())
    }

    /// FD_RESTORE.
    pub(crate) fn restore_file(&self) -> Result<(), Errno> {
        let (mut call, answer) = self.read_fixed::<LiveupdateFd>()?;
        if call.flags != 0 {
            return Err(Errno::EINVAL);
        }
        let slot = self.caller.reserve()?;
        let restored = ops::restore_file(self.host, call.token);
        let (id, file) = restored.map_err(|why| why.errno())?;
        call.fd = C::number(&slot);
        // A program that cannot be told gets nothing, and the file can be restored again.
        let installed = answer
            .write(&call)
            .and_then(|()| self.caller.install_file(slot, file));
        let fd = installed.inspect_err(|_| ops::put_back_file(self.host, id))?;
        answer.amend(&mut call, |call| &mut call.fd, fd);
        Ok(())
    }

    /// GET_STATE; from now on the owner of the instance knows the state.
    pub(crate) fn get_state(&self, instance: &Instance) -> Result<(), Errno> {
        let (state, changes) = self
            .host
            .now_killable(|engine| (engine.state(), engine.state_changes()))?;
        self.answer(size_of::<u32>()).write(&(state as u32))?;
        self.told_state(instance, changes);
        Ok(())
    }

    /// GET_INFO; from now on the owner of the instance knows the state.
    pub(crate) fn get_info(&self, instance: &Instance) -> Result<(), Errno> {
        let (call, answer) = self.read::<Info>()?;
        let many = if self.host.many_openers() {
            FEATURE_MANY_OPENERS
        } else {
            0
        };
        let by = self.actor();
        let mut info = self
            .host
            .now_killable(|engine| engine.info(by, H::IMPLEMENTATION, FEATURE_POLL | many))?;
        info.size = call.size;
        answer.write(&info)?;
        self.told_state(instance, info.state_changes);
        Ok(())
    }

    fn told_state(&self, instance: &Instance, changes: u64) {
        instance.knows(changes);
        self.caller.knows_state();
    }

    /// GET_FAILURE.
    pub(crate) fn get_failure(&self) -> Result<(), Errno> {
        let (call, answer) = self.read::<Failure>()?;
        let mut info = self.host.now_killable(|engine| engine.failure_info())?;
        info.size = call.size;
        answer.write(&info)
    }
}

/// The answer to an event. What happened is in the log already.
pub(crate) fn event<T, E: Into<luo_core::Failure>>(outcome: Result<T, E>) -> Result<(), Errno> {
    match outcome {
        Ok(_) => Ok(()),
        Err(why) => Err(why.into().errno()),
    }
}
