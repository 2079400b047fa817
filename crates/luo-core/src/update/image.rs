// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The image that a reboot jumps into: whether it takes over what is preserved.
//!
//! The system call kexec_load loads an image without telling it where the handover is.
//! Behind such a jump everything that is preserved is lost, and no participant could know.

use crate::engine::outgoing::Whose;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::host::Host;
use crate::lock::Lock;
use crate::losses::Part;
use crate::participant::subsystem::Subsystem;
use crate::update::loss::tell;
use crate::update::takeover::bring_over;

/// The image that is loaded for the next kexec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// Nothing.
    None,
    /// An image that takes over what is preserved.
    Handover,
    /// An image that takes nothing over.
    Legacy,
}

impl Image {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Handover => "handover",
            Self::Legacy => "legacy",
        }
    }
}

/// The fate of a reboot into an image that takes nothing over while something is preserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Legacy {
    /// It is refused.
    Refused,
    /// It goes on, and everything is lost.
    Booted,
}

impl Legacy {
    /// The words by which an administrator chooses, the default first.
    pub const WORDS: [&'static str; 2] = ["refuse", "boot"];

    /// The choice that the first or the second word stands for.
    #[must_use]
    pub const fn of(second: bool) -> Self {
        if second {
            Self::Booted
        } else {
            Self::Refused
        }
    }

    /// Decides about a reboot into `image`, before anything is done for it.
    ///
    /// # Errors
    /// [`Failure::Image`] if something would be lost with everything else, and that is not
    /// what the administrator wants.
    pub(crate) fn decide<H: Lock>(self, host: &H, image: Image) -> Result<(), Failure> {
        if image != Image::Legacy {
            return Ok(());
        }
        // The sessions of the previous kernel would be carried on. If they cannot be read, all
        // is lost either way.
        let _ = bring_over(host);
        let (files, subsystems) = host.now(|engine| engine.count_preserved());
        if files == 0 && subsystems == 0 {
            return Ok(());
        }
        let why = Failure::Image { files, subsystems };
        match self {
            Self::Refused => Err(why),
            Self::Booted => {
                tell(host, Part::Administrators, &why);
                Ok(())
            }
        }
    }
}

impl<H: Host> Engine<H> {
    /// Files that a reboot would hand over, those that nobody has claimed included, and
    /// subsystems that have got ready for it.
    fn count_preserved(&self) -> (usize, usize) {
        let mut files = self.outgoing_files(Whose::All).count();
        let mut next = self.incoming.first;
        while let Some(session) = next.and_then(|id| self.sessions.get(id)) {
            next = session.links.next;
            if session.is_unclaimed() {
                files = files.saturating_add(session.files.len);
            }
        }
        let ready = |entry: &&Subsystem<H>| entry.prepared.is_some();
        (files, self.subsystems.iter().filter(ready).count())
    }
}
