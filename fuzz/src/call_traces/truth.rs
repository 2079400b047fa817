// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the machine's answers have promised.

use luo_abi::rfc::State;
use luo_core::{Access, SessionId};

/// A file, as it was preserved or registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) token: u64,
    pub(super) object: u64,
    pub(super) kind: u32,
    pub(super) access: Access,
    /// What it needs, as often as it was said: on the device, the session's name,
    /// the token.
    pub(super) needs: Vec<(bool, String, u64)>,
    /// It was registered on a device in the previous kernel, and somebody got it.
    pub(super) restored: bool,
    /// It was preserved when all had agreed to an update already.
    pub(super) late: bool,
}

/// An outgoing session.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) id: SessionId,
    /// None for that of a device.
    pub(super) label: Option<u8>,
    /// The client that has it, `None` once it is closed.
    pub(super) owner: Option<usize>,
    pub(super) files: Vec<File>,
    /// It is frozen before the others.
    pub(super) frozen: bool,
    /// It was made when all had agreed to an update already.
    pub(super) late: bool,
}

/// A session of the previous kernel.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    pub(super) label: Option<u8>,
    pub(super) files: Vec<File>,
    /// The client that claimed it.
    pub(super) held: Option<(usize, SessionId)>,
    /// Its owner, or FINISH, has let it go: it may be gone at any time.
    pub(super) released: bool,
}

impl Incoming {
    /// The session in the next kernel.
    pub(super) fn of(session: Outgoing) -> Self {
        Self {
            label: session.label,
            files: session.files,
            held: None,
            released: false,
        }
    }

    /// Whether it has to be carried on. Of a device are only files that nobody got.
    pub(super) fn is_unclaimed(&self) -> bool {
        let any = self.files.iter().any(|file| !file.restored);
        self.held.is_none() && !self.released && (any || self.label.is_some())
    }
}

#[derive(Default)]
pub(super) struct Truth {
    pub(super) outgoing: Vec<Outgoing>,
    pub(super) incoming: Vec<Incoming>,
    /// The device is open: what arrived has been read.
    pub(super) opened: bool,
    /// NORMAL or UPDATED, whichever it was last.
    pub(super) rested: Option<State>,
    /// A reboot has frozen everything: nothing changes any more.
    pub(super) sealed: bool,
    /// Something has failed while files were restored: that they do not come back
    /// is no wonder.
    pub(super) tainted: bool,
    pub(super) flb_out: usize,
    pub(super) flb_in: usize,
}

/// The name of a session.
pub(super) fn text(label: u8) -> String {
    format!("session-{label}")
}

impl Truth {
    pub(super) fn files_out(&self) -> impl Iterator<Item = &File> {
        self.outgoing.iter().flat_map(|session| &session.files)
    }

    /// Whether an object is preserved, or may be.
    pub(super) fn is_taken(&self, object: u64) -> bool {
        let arrived = self.incoming.iter().flat_map(|session| &session.files);
        self.files_out()
            .chain(arrived)
            .any(|file| file.object == object)
    }

    /// Position of one of the named sessions that a client has.
    pub(super) fn outgoing_of(&self, who: usize, which: u8) -> Option<usize> {
        let held = |(at, session): (usize, &Outgoing)| {
            (session.owner == Some(who) && session.label.is_some()).then_some(at)
        };
        pick(self.outgoing.iter().enumerate().filter_map(held), which)
    }

    /// Position of the session of a client's device.
    pub(super) fn device_of(&self, who: usize) -> Option<usize> {
        self.outgoing
            .iter()
            .position(|session| session.owner == Some(who) && session.label.is_none())
    }

    /// Position of one of the sessions that a client has claimed.
    pub(super) fn incoming_of(&self, who: usize, which: u8) -> Option<usize> {
        let held = |(at, session): (usize, &Incoming)| {
            let by = session.held.map(|(by, _)| by);
            (by == Some(who)).then_some(at)
        };
        pick(self.incoming.iter().enumerate().filter_map(held), which)
    }

    /// Closed sessions go with a return to a state in which nothing is kept.
    pub(super) fn settle(&mut self) {
        self.outgoing.retain(|session| session.owner.is_some());
        self.sealed = false;
        self.nobody_is_late();
    }

    /// Everything was unfrozen.
    pub(super) fn thaw(&mut self) {
        for session in &mut self.outgoing {
            session.frozen = false;
        }
    }

    /// A reboot has frozen everything.
    pub(super) fn seal(&mut self) {
        self.sealed = true;
        self.nobody_is_late();
    }

    fn nobody_is_late(&mut self) {
        for session in &mut self.outgoing {
            session.late = false;
            for file in &mut session.files {
                file.late = false;
            }
        }
    }
}

/// One of those that are there.
pub(super) fn pick<T>(all: impl Iterator<Item = T>, which: u8) -> Option<T> {
    let mut all: Vec<T> = all.collect();
    let at = usize::from(which).checked_rem(all.len())?;
    Some(all.swap_remove(at))
}
