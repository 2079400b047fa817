// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Files of the previous kernel whose handler is not here yet: it may be in a module that is
//! loaded later.
//!
//! ```text
//! waits --its handler is registered, and it is asked for--> has it, as any other file
//!   |
//!   '--a reboot comes first--> lost, alone
//! ```
//!
//! Such a file waits alone, with those that need it: everything else of its session can be had.
//! Nothing of it can be let go of by others than its handler, so its session is not finished
//! before that is here; nor can it be carried on.
//!
//! The files that wait for one handler are counted at its entry, which is there from the taking
//! over on. Registering looks at the entry alone. Each file gets the handler in the step that
//! asks for it, and a pin with it; until then the entry's pin keeps the handler's owner.

use crate::engine::Engine;
use crate::error::Error;
use crate::host::{FileCallbacks, Host};
use crate::id::{FileId, HandlerId};
use crate::participant::handler::Handler;
use crate::session::{Arrived, File, Progress};
use crate::text::Compat;

impl<H: Host> Engine<H> {
    /// The entry of a handler that was missing when the files were read; one for it is made if
    /// there is none, for which room is set aside. By now it may be registered.
    pub(crate) fn expect_handler(&mut self, host: &H, name: Compat) -> Option<HandlerId> {
        let mut known = None;
        for (id, handler) in self.handlers.iter().filter(|(_, h)| h.name == name) {
            if known.is_none() || handler.is_registered() {
                known = Some(id);
            }
        }
        let id = match known {
            Some(id) => id,
            None => self.handlers.insert(Handler::new(name, None)).ok()?,
        };
        let entry = self.handlers.get_mut(id)?;
        if entry.pin.is_none() {
            entry.pin = entry.table.as_ref().and_then(|table| table.pin(host));
        }
        Some(id)
    }

    /// Whether a file has its handler. One that has waited for it gets it here, if it has come: to
    /// be called in the step that needs it.
    pub(crate) fn has_handler(&mut self, host: &H, id: FileId) -> bool {
        let incoming = self.files.get(id).and_then(File::as_incoming);
        let awaits = incoming.is_some_and(|file| file.awaits_handler);
        !awaits || self.give_handler(host, id).is_some()
    }

    fn give_handler(&mut self, host: &H, id: FileId) -> Option<()> {
        let file = self.files.get_mut(id)?;
        let entry = self.handlers.get_mut(file.handler?)?;
        let table = entry.table.as_ref().filter(|table| table.is_ready(host))?;
        // The last one takes the entry's, so that none is dropped under the lock.
        let of_entry = match entry.waiting {
            1 => entry.pin.take(),
            _ => None,
        };
        let arrived = Arrived {
            handler: table.clone(),
            progress: Progress::Waiting,
            pin: of_entry.or_else(|| table.pin(host))?,
        };
        entry.waiting = entry.waiting.saturating_sub(1);
        let incoming = file.as_incoming_mut()?;
        incoming.awaits_handler = false;
        incoming.arrived = Some(arrived);
        Some(())
    }

    /// An error about the handler of a file.
    pub(crate) fn about_handler(&self, id: FileId, error: impl FnOnce(Compat) -> Error) -> Error {
        let handler = self.files.get(id).and_then(|file| file.handler);
        let entry = handler.and_then(|id| self.handlers.get(id));
        entry.map_or(Error::Inconsistent, |entry| error(entry.name))
    }

    /// Whether a file waits for its handler, as far as can be told without asking that one's
    /// owner.
    pub(crate) fn awaits_handler(&self, file: &File<H>) -> bool {
        let awaits = file.as_incoming().is_some_and(|file| file.awaits_handler);
        let handler = file.handler.and_then(|id| self.handlers.get(id));
        awaits && !handler.is_some_and(Handler::is_registered)
    }
}
