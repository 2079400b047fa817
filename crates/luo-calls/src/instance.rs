// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! What one open of the device knows.

use core::sync::atomic::{AtomicU64, Ordering};

use luo_abi::errno::Errno;
use luo_core::{ops, SessionId};

use crate::host::CallHost;
use crate::log;

/// An open instance of the device. Whether there may be another is the host's business.
pub struct Instance {
    /// The number of changes of state that its owner knows of.
    seen: AtomicU64,
    /// The session of the files that are registered here: the bits of its id, 0
    /// before there is one.
    session: AtomicU64,
}

impl Instance {
    /// Opens the device: the first open takes over what the previous kernel left, and
    /// each one finishes what could not be finished at its close.
    ///
    /// # Errors
    /// EIO if the handover was refused, ENOMEM.
    pub fn open<H: CallHost>(host: &H) -> Result<Self, Errno> {
        let opened = ops::open_device(host, |why| log::still_unfinished(host, why));
        match opened {
            Ok(report) => {
                if let Some((sessions, files)) = report.taken_over {
                    log::took_over(host, sessions, files);
                }
            }
            Err((why, is_new)) => {
                if is_new {
                    log::refused(host, &why);
                }
                return Err(why.errno());
            }
        }
        Ok(Self {
            seen: AtomicU64::new(host.now(|engine| engine.state_changes())),
            session: AtomicU64::new(0),
        })
    }

    /// The last close of the device's descriptor.
    pub fn close<H: CallHost>(&self, host: &H) {
        if let Some(id) = self.session() {
            // Its session is an outgoing one, the close of which nobody can refuse.
            let _ = ops::close_session(host, id);
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
