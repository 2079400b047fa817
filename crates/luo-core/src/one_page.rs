// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Files that are small: all that comes along of one is a note, on one page.
//!
//! A host says how such a file is looked at and made ([`Small`]); when that is done, and what
//! becomes of the page, is the same for all of them and on each host ([`OnePage`]).

use luo_abi::errno::Errno;
use luo_abi::handover::BLOCK_SIZE;

use crate::file_kind::Kind;
use crate::handover::block::BlockMemory;
use crate::host::{Host, Subject, Unrestored};
use crate::note::{self, Note};

/// A kind of file of which a note tells everything.
pub trait Small<H: Host>: Sync {
    /// The note.
    type Note: Note;

    /// See [`Kind::compatible`].
    fn compatible(&self) -> &'static str;

    /// See [`Kind::knows`].
    fn knows(&self, host: &H, file: &H::File) -> bool;

    /// See [`Kind::object_id`].
    fn object_id(&self, host: &H, file: &H::File) -> u64;

    /// Looks at the file as it is now. Called when it is preserved, and at freeze.
    ///
    /// # Errors
    /// The kind's refusal, and its veto.
    fn look(&self, host: &H, file: &H::File) -> Result<Self::Note, Errno>;

    /// Makes a file that is like that.
    ///
    /// # Errors
    /// [`Unrestored::Now`] if it can be tried again.
    fn make(&self, host: &H, note: &Self::Note) -> Result<H::File, Unrestored>;
}

/// The handler of a kind of small files.
pub struct OnePage<K>(pub K);

impl<H, K> Kind<H> for OnePage<K>
where
    H: Host,
    H::Block: Send + 'static,
    K: Small<H>,
{
    /// The page with the note.
    type Kept = H::Block;

    fn compatible(&self) -> &'static str {
        self.0.compatible()
    }

    fn knows(&self, host: &H, file: &H::File) -> bool {
        self.0.knows(host, file)
    }

    fn object_id(&self, host: &H, file: &H::File) -> u64 {
        self.0.object_id(host, file)
    }

    fn bytes(&self, _: &H, _: &H::File) -> u64 {
        BLOCK_SIZE as u64
    }

    fn preserve(&self, host: &H, _: &Subject, file: &H::File) -> Result<(u64, H::Block), Errno> {
        let note = self.0.look(host, file)?;
        let mut page = host.alloc_block()?;
        note::write(page.bytes(), &note);
        Ok((page.address(), page))
    }

    fn freeze(&self, host: &H, file: &H::File, page: &mut H::Block) -> Result<(), Errno> {
        note::write(page.bytes(), &self.0.look(host, file)?);
        Ok(())
    }

    fn retrieve(&self, host: &H, _: &Subject, data: u64) -> Result<H::File, Unrestored> {
        let read = host.read_page(data).map_err(note::Unread::from);
        let read = read.and_then(|page| note::read(&page));
        let note = read.map_err(|why| {
            // Nobody can tell to which file the page belongs: it stays reserved until the next reboot.
            host.unread(self.0.compatible(), data, why);
            Unrestored::Ever(why.errno())
        })?;
        let made = self.0.make(host, &note);
        if !matches!(made, Err(Unrestored::Now(_))) {
            host.free_page(data);
        }
        made
    }

    fn discard(&self, host: &H, data: u64) {
        let read = host.read_page(data).map_err(note::Unread::from);
        match read.and_then(|page| note::read::<K::Note>(&page)) {
            Ok(_) => host.free_page(data),
            Err(why) => host.unread(self.0.compatible(), data, why),
        }
    }
}
