// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! One open of the device, and what it remembers.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use luo_abi::errno::Errno;
use luo_core::{ops, Error, Opener, SessionId};

use crate::caller::{Caller, Identity};
use crate::host::CallHost;
use crate::log;

/// An open instance of the device.
pub struct Instance {
    /// The number of changes of state that its owner knows of.
    seen: AtomicU64,
    /// The session of the files that are registered here: the bits of its id, 0
    /// before there is one.
    session: AtomicU64,
    /// The work that comes before the first call has been done.
    caught_up: AtomicBool,
    /// The opener who must have closed it before another may open the device, if there may be only
    /// one.
    opener: Option<Opener>,
}

impl Instance {
    /// Opens the device for a caller whom the mode of its file admits, and does no more: a
    /// host may open all its devices under one lock, and callbacks of handlers may need
    /// that very lock. So it is one step, which waits for as little as any, and for no memory. The
    /// rest comes with the first call. Whoever opens it has to close it.
    ///
    /// # Errors
    /// EACCES if the administrator has it so that only who may administer the machine may;
    /// EBUSY if another has it open, see [`luo_core::Engine::enter_device`]; EIO if the
    /// handover is known to be refused, ENOMEM; EAGAIN if the caller was killed before.
    pub fn open<H: CallHost>(host: &H, caller: Identity) -> Result<Self, Errno> {
        if host.opens_strictly() && !caller.privileged {
            return Err(Errno::EACCES);
        }
        let is_one_of_many = host.many_openers();
        let opened = host.at_once(|engine| {
            engine.check_not_refused()?;
            let entered = (!is_one_of_many).then(|| engine.enter_device(caller.actor()));
            let changes = (engine.state_changes(), engine.wants_takeover());
            Ok::<_, Error>((entered.transpose()?, changes))
        })?;
        let (opener, (changes, wants_takeover)) = opened.map_err(|why| why.errno())?;
        if wants_takeover {
            host.takeover_is_near();
        }
        Ok(Self {
            seen: AtomicU64::new(changes),
            session: AtomicU64::new(0),
            caught_up: AtomicBool::new(false),
            opener,
        })
    }

    /// The work before the first call on this instance: the handover of the previous kernel has to
    /// be taken over, and sessions are finished that could not be finished at their close.
    ///
    /// # Errors
    /// EIO if the handover is refused, ENOMEM, EAGAIN if the caller was killed while it
    /// waited, EBUSY if that took too long.
    pub(crate) fn catch_up<H: CallHost>(
        &self,
        host: &H,
        caller: &impl Caller,
    ) -> Result<(), Errno> {
        if self.caught_up.load(Ordering::Acquire) {
            return Ok(());
        }
        let by = caller.actor();
        ops::catch_up(host, by, |why| log::still_pending(host, by, why))
            .map_err(|why| why.errno())?;
        // Two threads may both have done it; there was nothing left for the second.
        self.caught_up.store(true, Ordering::Release);
        Ok(())
    }

    /// The last close of the device's descriptor.
    pub fn close<H: CallHost>(&self, host: &H) {
        if let Some(id) = self.session() {
            // Its session is an outgoing one, the close of which nobody can refuse.
            let _ = ops::close_session(host, id);
        }
        // Last: the next opener finds this instance closed.
        if let Some(opener) = self.opener {
            host.now(|engine| engine.leave_device(opener));
        }
    }

    /// Whether the state has changed since the owner last read it; `changes` is the
    /// number of its changes so far.
    #[must_use]
    pub fn has_news(&self, changes: u64) -> bool {
        // Another thread of the owner's may know of more by now.
        self.seen.load(Ordering::Relaxed) < changes
    }

    /// Notes that the owner knows of so many changes of state.
    pub(crate) fn knows(&self, changes: u64) {
        // Of two who read at once the later change counts.
        self.seen.fetch_max(changes, Ordering::Relaxed);
    }

    /// The session of the files that are registered here, if there is one.
    pub(crate) fn session(&self) -> Option<SessionId> {
        match self.session.load(Ordering::Acquire) {
            0 => None,
            bits => Some(SessionId::from_bits(bits)),
        }
    }

    /// That session, made if there is none.
    ///
    /// # Errors
    /// As [`ops::create_device_session`].
    pub(crate) fn make_session<H: CallHost>(&self, host: &H) -> Result<SessionId, Errno> {
        if let Some(id) = self.session() {
            return Ok(id);
        }
        let made = ops::create_device_session(host).map_err(|why| why.errno())?;
        let (bits, ordering) = (made.to_bits(), Ordering::AcqRel);
        let stored = self
            .session
            .compare_exchange(0, bits, ordering, Ordering::Acquire);
        match stored {
            Ok(_) => Ok(made),
            // Another thread was first: its session is the one. Ours has no files, so
            // its close cannot fail.
            Err(theirs) => {
                let _ = ops::close_session(host, made);
                Ok(SessionId::from_bits(theirs))
            }
        }
    }
}
