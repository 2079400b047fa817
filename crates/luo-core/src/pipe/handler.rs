// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The handler of pipes: each end is a file of its own, and both are of one pipe.
//!
//! ```text
//! preserve one end     a note is begun          the other end    joins it
//! freeze               the end that is read from brings what the pipe holds
//! retrieve one end     the pipe is made, and    the other end    is what was kept
//!                      its other end is kept
//! ```
//!
//! The two ends share their state in the engine (`joints`, `arrivals`). Work that may take long is
//! done without a lock: room in memory is made before a pipe is looked into, and a pipe that a
//! program has locked is waited for with patience.

use luo_abi::errno::Errno;
use luo_abi::handover::BLOCK_SIZE;
use luo_abi::note::{Pipe, PIPE, READ_END};

use super::arrival::Claim;
use super::contents::{most_pages, read, Contents, Failed, EMPTY};
use super::ends::{End, Facts, Pipes};
use super::joint::{bytes_of, Joint, Taken};
use crate::error::Error;
use crate::file_kind::Kind;
use crate::handover::PageError;
use crate::host::{Host, Subject, Unrestored};
use crate::lock::Lock;
use crate::mem::Vec;
use crate::note::{self, Unread};
use crate::room::with_room;

/// The ends of a pipe that was made, the one that is read from first, and the pages that told of it.
type Restored<F> = (F, F, Vec<u64>);

/// An end that was asked for, and the other one if it comes along.
type Ends<F> = (F, Option<(End, F)>);

/// How often a pipe is looked into: to see how much there is, to write it down, and once more
/// with room for all that there can be, if it has become more meanwhile.
const LOOKS: usize = 3;

/// The handler of pipes.
pub struct TwoEnds<K>(pub K);

impl<K> TwoEnds<K> {
    /// Writes down what a pipe holds.
    ///
    /// # Errors
    /// EFBIG if it holds more than a pipe of its size that is written to; EDQUOT if its user may
    /// not have one of that size; EBUSY; ENOMEM; the host's.
    fn write_down<H: Lock>(
        &self,
        host: &H,
        file: &H::File,
        taken: &mut Taken<H::Block>,
    ) -> Result<(Facts, Pipe), Errno>
    where
        K: Pipes<H>,
    {
        let mut facts = self.0.facts(host, file)?;
        let mut counted = None;
        let contents = &mut taken.work.contents;
        for look in 1..=LOOKS {
            contents.begin();
            let patience = &mut taken.patience;
            let each = &mut |bytes: &[u8], is_packet| contents.push(bytes, is_packet);
            facts.slots = self.0.look(host, file, patience, each)?;
            let most = usize::try_from(most_pages(facts.slots)).unwrap_or(usize::MAX);
            let room = facts.slots.saturating_mul(BLOCK_SIZE as u64);
            // Buffers from elsewhere may be larger than a page; there is no room for them then.
            let is_more = contents.bytes() > room || contents.buffers() > facts.slots;
            if is_more || contents.wanted() > most {
                return Err(Errno::EFBIG);
            }
            if counted.replace(facts.slots) != Some(facts.slots) {
                let bytes = bytes_of(facts.slots);
                let grown = taken.reader.map_or(Ok(()), |reader| {
                    host.now(|engine| engine.grow(reader, bytes))
                });
                grown.map_err(|why| why.errno())?;
            }
            if contents.is_whole() {
                let mut told = EMPTY;
                contents.end(&mut told);
                return Ok((facts, told));
            }
            let wanted = if look == 1 { contents.wanted() } else { most };
            contents.make_room(wanted, || host.alloc_block())?;
        }
        // It becomes larger and larger.
        Err(Errno::EBUSY)
    }

    /// Looks into a pipe through the end that is read from. What was written down before is gone
    /// if that fails.
    fn look<H: Lock>(
        &self,
        host: &H,
        pipe: u64,
        file: &H::File,
        in_transition: bool,
    ) -> Result<(), Errno>
    where
        K: Pipes<H>,
    {
        let end = End::Read;
        let mut taken = host.now(|engine| engine.take_work(pipe, end, in_transition))?;
        let seen = self.write_down(host, file, &mut taken);
        if seen.is_err() {
            taken.work.contents = Contents::new();
        }
        let told = seen.ok();
        drop(host.now(|engine| engine.put_work(pipe, end, taken, told)));
        seen.map(|_| ())
    }

    /// Takes down the facts of an end that is preserved already.
    fn see<H: Lock>(
        &self,
        host: &H,
        (pipe, end): (u64, End),
        file: &H::File,
        in_transition: bool,
    ) -> Result<(), Errno>
    where
        K: Pipes<H>,
    {
        match end {
            End::Read => self.look(host, pipe, file, in_transition),
            End::Write => {
                let facts = self.0.facts(host, file)?;
                host.now(|engine| engine.see_writer(pipe, &facts));
                Ok(())
            }
        }
    }

    /// Has an end join the other, or begin; gives its handle.
    fn join<H: Lock>(host: &H, of: &Subject, pipe: u64, end: End) -> Result<u64, Error> {
        if let Some(handle) = host.now(|engine| engine.join_pipe(pipe, end, of))? {
            return Ok(handle);
        }
        let mut joint = Some(Joint::new(pipe, host.alloc_block()?));
        with_room(|| host.now(|engine| engine.begin_pipe(&mut joint, end, of)))
    }

    fn leave<H: Lock>(host: &H, pipe: u64, end: End) {
        drop(host.now(|engine| engine.leave_pipe(pipe, end)));
    }

    /// Makes the pipe of a note, with what it has held; gives the addresses of its pages too.
    fn restore<H: Host>(&self, host: &H, note: &Pipe) -> Result<Restored<H::File>, Failed>
    where
        K: Pipes<H>,
    {
        // All of it is looked at before anything is made.
        let page = |address| host.read_page(address);
        let mut addresses = read(note, page, |_, _| Ok(()))?;
        let (reads, writes) = self.0.make(host, note).map_err(Failed::Host)?;
        // A program that has the other end alone could not read it.
        if note.flags & READ_END != 0 {
            addresses = read(note, page, |bytes, is_packet| {
                self.0.put(host, &writes, bytes, is_packet)
            })?;
        }
        for (file, end) in [(&reads, End::Read), (&writes, End::Write)] {
            if note.flags & end.bits().1 != 0 {
                self.0.set_nonblock(host, file);
            }
        }
        Ok((reads, writes, addresses))
    }

    /// Restores the pipe of a note: the end that was asked for, and the other one.
    fn arrive<H: Host>(&self, host: &H, address: u64, end: End) -> Result<Ends<H::File>, Unrestored>
    where
        K: Pipes<H>,
    {
        let data = address | end.bit();
        let note = Self::read_note(host, address);
        let note = note.and_then(|note| match note.flags & end.bits().0 {
            0 => Err(Unread::Value),
            _ => Ok(note),
        });
        let note = note.map_err(|why| Self::unread(host, data, Failed::Unread(why)))?;
        let made = self.restore(host, &note);
        let (reads, writes, pages) = made.map_err(|why| Self::unread(host, data, why))?;
        for &address in pages.iter() {
            host.free_page(address);
        }
        host.free_page(address);
        let (file, other, its) = match end {
            End::Read => (reads, writes, End::Write),
            End::Write => (writes, reads, End::Read),
        };
        // One that does not come along is closed: nobody has it any more.
        let kept = (note.flags & its.bits().0 != 0).then_some((its, other));
        Ok((file, kept))
    }

    fn unread<H: Host>(host: &H, data: u64, why: Failed) -> Unrestored {
        match why {
            Failed::Host(errno) => Unrestored::Now(errno),
            Failed::Unread(why) => {
                host.unread(PIPE, data, why);
                Unrestored::Ever(why.errno())
            }
        }
    }

    fn read_note<H: Host>(host: &H, address: u64) -> Result<Pipe, Unread> {
        note::read(&host.read_page(address)?)
    }
}

impl<H, K> Kind<H> for TwoEnds<K>
where
    H: Lock,
    K: Pipes<H>,
{
    /// Nothing: the engine keeps it.
    type Kept = ();

    fn compatible(&self) -> &'static str {
        PIPE
    }

    fn knows(&self, host: &H, file: &H::File) -> bool {
        self.0.find(host, file).is_some()
    }

    fn object_id(&self, host: &H, file: &H::File) -> u64 {
        let found = self.0.find(host, file);
        found.map_or(0, |(pipe, end)| pipe.wrapping_shl(1) | end.bit())
    }

    /// The size that the pipe may reach counts for the end that is read from; the note counts for
    /// each end.
    fn bytes(&self, host: &H, file: &H::File) -> u64 {
        let found = self.0.find(host, file);
        let facts = self.0.facts(host, file);
        match (found, facts) {
            (Some((_, End::Read)), Ok(facts)) => bytes_of(facts.slots),
            _ => BLOCK_SIZE as u64,
        }
    }

    /// # Errors
    /// EBUSY if the other end is in another session of the same owner's, or if somebody has the
    /// pipe locked for too long.
    fn preserve(&self, host: &H, of: &Subject, file: &H::File) -> Result<(u64, ()), Errno> {
        let (pipe, end) = self.0.find(host, file).ok_or(Errno::EINVAL)?;
        let data = Self::join(host, of, pipe, end).map_err(|why| why.errno())?;
        // Now there is somebody to tell that there is no memory for what it holds.
        let seen = self.see(host, (pipe, end), file, !of.in_call);
        seen.inspect_err(|_| Self::leave(host, pipe, end))?;
        Ok((data, ()))
    }

    fn unpreserve(&self, host: &H, file: &H::File) {
        if let Some((pipe, end)) = self.0.find(host, file) {
            Self::leave(host, pipe, end);
        }
    }

    fn freeze(&self, host: &H, file: &H::File, (): &mut ()) -> Result<(), Errno> {
        let (pipe, end) = self.0.find(host, file).ok_or(Errno::EIO)?;
        self.see(host, (pipe, end), file, true)?;
        host.now(|engine| engine.set_end_frozen(pipe, end, true));
        Ok(())
    }

    fn unfreeze(&self, host: &H, file: &H::File, (): &mut ()) {
        if let Some((pipe, end)) = self.0.find(host, file) {
            host.now(|engine| engine.set_end_frozen(pipe, end, false));
        }
    }

    fn retrieve(&self, host: &H, of: &Subject, data: u64) -> Result<H::File, Unrestored> {
        let (address, end) = End::of_handle(data);
        let claim = with_room(|| match of.in_call {
            true => host.wait_killable(|engine| engine.claim_pipe(address, end, true))?,
            false => host.now(|engine| match engine.claim_pipe(address, end, false) {
                core::task::Poll::Ready(claim) => claim,
                core::task::Poll::Pending => Err(Errno::EBUSY.into()),
            }),
        });
        match claim.map_err(|why| Unrestored::Now(why.errno()))? {
            Claim::Kept(file) => return Ok(file),
            Claim::Gone => {
                let why = Unread::Page(PageError::NotPreserved);
                return Err(Self::unread(host, data, why.into()));
            }
            Claim::Work => {}
        }
        let (answer, kept) = match self.arrive(host, address, end) {
            Ok((file, kept)) => (Ok(file), kept),
            Err(why) => (Err(why), None),
        };
        let mut kept = kept;
        drop(host.now(|engine| engine.end_arrival(address, kept.take())));
        answer
    }

    fn discard(&self, host: &H, data: u64) {
        let (address, end) = End::of_handle(data);
        match with_room(|| host.now(|engine| engine.give_up_end(address, end))) {
            Ok(Claim::Work) => {
                Self::discard_note(host, address, data);
                drop(host.now(|engine| engine.end_arrival(address, None)));
            }
            Ok(Claim::Kept(file)) => drop(file),
            // The call that restores from the note now closes this end, too.
            Ok(Claim::Gone) => {}
            // It stays reserved until the next reboot.
            Err(_) => host.unread(PIPE, data, Unread::NoMemory),
        }
    }
}

impl<K> TwoEnds<K> {
    /// Frees the pages of a pipe of which nobody has retrieved an end.
    fn discard_note<H: Host>(host: &H, address: u64, data: u64) {
        let note = match Self::read_note(host, address) {
            Ok(note) => note,
            // It has gone with the other end.
            Err(Unread::Page(_)) => return,
            Err(why) => return host.unread(PIPE, data, why),
        };
        let page = |address| host.read_page(address);
        match read(&note, page, |_, _| Ok(())) {
            Ok(pages) => {
                for &address in pages.iter() {
                    host.free_page(address);
                }
                host.free_page(address);
            }
            Err(Failed::Unread(why)) => host.unread(PIPE, data, why),
            // Its memory stays reserved until the next reboot.
            Err(Failed::Host(_)) => host.unread(PIPE, data, Unread::NoMemory),
        }
    }
}
