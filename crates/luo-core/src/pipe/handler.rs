// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! The handler of pipes: each end is a file of its own, and both are of one pipe.
//!
//! ```text
//! preserve one end     a note is begun          the other end    joins it
//! freeze one end       note and contents        the other end    note and contents again
//! retrieve one end     the pipe is made, and    the other end    is what was kept
//!                      its other end is kept
//! ```

use luo_abi::errno::Errno;
use luo_abi::handover::BLOCK_SIZE;
use luo_abi::note::{Pipe, PACKETS, PIPE};

use super::contents::{read, Contents, Failed};
use super::ends::{End, Joint, Kept, Pipes};
use crate::file_kind::Kind;
use crate::handover::block::BlockMemory;
use crate::host::{Host, Subject, Unrestored};
use crate::mem::Vec;
use crate::note::{self, Unread};

/// The ends of a pipe that was made, the one that is read from first, and the pages that told of it.
type Restored<F> = (F, F, Vec<u64>);

/// The handler of pipes.
pub struct TwoEnds<K>(pub K);

impl<K> TwoEnds<K> {
    /// Writes down what a pipe is like, as one of its ends shows it.
    ///
    /// # Errors
    /// EFBIG if it holds more than a pipe of its size that is written to; ENOMEM; the host's.
    fn write<H: Host>(
        &self,
        host: &H,
        file: &H::File,
        end: End,
        joint: &mut Joint<H::Block>,
    ) -> Result<(), Errno>
    where
        K: Pipes<H>,
    {
        let contents = &mut joint.contents;
        contents.begin();
        let facts = self.0.look(host, file, &mut |bytes, is_packet| {
            contents.push(bytes, is_packet, || host.alloc_block())
        })?;
        let (_, nonblock) = end.bits();
        let mut flags = joint.note.flags & !nonblock;
        if facts.nonblock {
            flags |= nonblock;
        }
        // Only the end that writes knows.
        if end == End::Write {
            flags &= !PACKETS;
            flags |= if facts.packets { PACKETS } else { 0 };
        }
        joint.note.flags = flags;
        joint.note.slots = facts.slots;
        joint.contents.end(&mut joint.note);
        // Buffers from elsewhere may be larger than a page; there is no room for them then.
        let (bytes, slots) = (joint.note.bytes, joint.note.slots);
        if bytes > slots.saturating_mul(BLOCK_SIZE as u64) {
            return Err(Errno::EFBIG);
        }
        note::write(joint.page.bytes(), &joint.note);
        Ok(())
    }

    /// Makes the pipe of a note, with what it has held; gives the addresses of its pages too.
    fn restore<H: Host>(&self, host: &H, note: &Pipe) -> Result<Restored<H::File>, Failed>
    where
        K: Pipes<H>,
    {
        // All of it is looked at before anything is made.
        let page = |address| host.read_page(address);
        read(note, page, |_, _| Ok(()))?;
        let made = self.0.make(host, note).map_err(Failed::Host)?;
        let (reads, writes) = made;
        let addresses = read(note, page, |bytes, is_packet| {
            self.0.put(host, &writes, bytes, is_packet)
        })?;
        for (file, end) in [(&reads, End::Read), (&writes, End::Write)] {
            if note.flags & end.bits().1 != 0 {
                self.0.set_nonblock(host, file);
            }
        }
        Ok((reads, writes, addresses))
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
    H: Host,
    K: Pipes<H>,
{
    /// What is kept is with the host's pipes.
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

    fn bytes(&self, _: &H, _: &H::File) -> u64 {
        BLOCK_SIZE as u64
    }

    /// # Errors
    /// EBUSY if the other end is preserved in another session: who has one end would have to
    /// trust who has the other.
    fn preserve(&self, host: &H, of: &Subject, file: &H::File) -> Result<(u64, ()), Errno> {
        let (pipe, end) = self.0.find(host, file).ok_or(Errno::EINVAL)?;
        let page = host.alloc_block()?;
        self.0.alone(host, |ends| {
            let (own, _) = end.bits();
            if let Some(joint) = ends.joint(pipe) {
                if joint.session != of.session {
                    return Err(Errno::EBUSY);
                }
                joint.ends |= own;
                return Ok((joint.page.address() | end.bit(), ()));
            }
            let mut joint = Joint {
                pipe,
                session: of.session,
                ends: own,
                note: Pipe {
                    flags: 0,
                    slots: 0,
                    bytes: 0,
                    records: 0,
                    pages: 0,
                    first: 0,
                },
                page,
                contents: Contents::new(),
            };
            // Now there is somebody to tell that there is no memory for what it holds.
            self.write(host, file, end, &mut joint)?;
            let data = joint.page.address() | end.bit();
            ends.joints.push(joint).map_err(|_| Errno::ENOMEM)?;
            Ok((data, ()))
        })
    }

    fn unpreserve(&self, host: &H, file: &H::File) {
        let Some((pipe, end)) = self.0.find(host, file) else {
            return;
        };
        let gone = self.0.alone(host, |ends| {
            let joint = ends.joint(pipe)?;
            joint.ends &= !end.bits().0;
            joint.note.flags &= !end.bits().0;
            if joint.ends != 0 {
                return None;
            }
            let at = ends.joints.iter().position(|joint| joint.pipe == pipe)?;
            ends.joints.remove(at)
        });
        drop(gone);
    }

    fn freeze(&self, host: &H, file: &H::File, (): &mut ()) -> Result<(), Errno> {
        let (pipe, end) = self.0.find(host, file).ok_or(Errno::EIO)?;
        self.0.alone(host, |ends| {
            let joint = ends.joint(pipe).ok_or(Errno::EIO)?;
            joint.note.flags |= end.bits().0;
            self.write(host, file, end, joint)
        })
    }

    fn unfreeze(&self, host: &H, file: &H::File, (): &mut ()) {
        if let Some((pipe, end)) = self.0.find(host, file) {
            self.0.alone(host, |ends| {
                if let Some(joint) = ends.joint(pipe) {
                    joint.note.flags &= !end.bits().0;
                    note::write(joint.page.bytes(), &joint.note);
                }
            });
        }
    }

    fn retrieve(&self, host: &H, _: &Subject, data: u64) -> Result<H::File, Unrestored> {
        let (address, end) = End::of_handle(data);
        self.0.alone(host, |ends| {
            if let Some(file) = ends.take_kept(address, end) {
                return Ok(file);
            }
            let note = Self::read_note(host, address);
            let note = note.and_then(|note| match note.flags & end.bits().0 {
                0 => Err(Unread::Value),
                _ => Ok(note),
            });
            let note = note.map_err(|why| Self::unread(host, data, Failed::Unread(why)))?;
            let room = ends.kept.reserve(1);
            room.map_err(|_| Unrestored::Now(Errno::ENOMEM))?;
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
            if note.flags & its.bits().0 != 0 {
                let _ = ends.kept.push(Kept {
                    address,
                    end: its,
                    file: other,
                });
            }
            Ok(file)
        })
    }

    fn discard(&self, host: &H, data: u64) {
        let (address, end) = End::of_handle(data);
        let kept = self.0.alone(host, |ends| {
            let kept = ends.take_kept(address, end);
            if kept.is_none() {
                Self::discard_note(host, address, data);
            }
            kept
        });
        drop(kept);
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
            Err(Failed::Host(_)) => {}
        }
    }
}
