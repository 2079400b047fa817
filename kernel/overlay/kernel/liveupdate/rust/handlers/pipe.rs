// SPDX-License-Identifier: GPL-2.0-only
//! The handler of pipes: both ends, what they hold, how much they may, and how they are read and
//! written. `luo_core::pipe` decides when each is done.

use kernel::bindings;
use kernel::page::PAGE_SIZE;
use luo_abi::errno::Errno;
use luo_abi::note::{Pipe, PACKETS};
use luo_core::pipe::{Each, End, Facts, Pipes, TwoEnds};

use crate::errno;
use crate::host::Linux;
use crate::sys::lent::Lent;
use crate::sys::{memory, pipe};

/// The handler.
pub(super) static PIPES: TwoEnds<Nameless> = TwoEnds(Nameless);

/// Pipes without a name.
pub(super) struct Nameless;

/// Bytes that a pipe which holds what a note says takes at most, and its two files.
fn room_for(note: &Pipe) -> usize {
    // A `struct pipe_buffer`, rounded up.
    const OF_A_SLOT: u64 = 64;
    const OF_TWO_FILES: u64 = 16 << 10;
    let full = note.bytes.div_ceil(PAGE_SIZE as u64);
    let full = full.saturating_add(note.records).min(note.slots);
    let pages = full.saturating_mul(PAGE_SIZE as u64);
    let slots = note.slots.saturating_mul(OF_A_SLOT);
    let bytes = pages.saturating_add(slots).saturating_add(OF_TWO_FILES);
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl Pipes<Linux> for Nameless {
    fn find(&self, _: &Linux, file: &Lent) -> Option<(u64, End)> {
        let (pipe, is_write) = pipe::find(file)?;
        Some((pipe, if is_write { End::Write } else { End::Read }))
    }

    fn facts(&self, _: &Linux, file: &Lent) -> Result<Facts, Errno> {
        Ok(Facts {
            slots: pipe::slots(file).map_err(errno::of_kernel)?,
            nonblock: file.flags() & bindings::O_NONBLOCK != 0,
            packets: file.flags() & bindings::O_DIRECT != 0,
        })
    }

    fn look(
        &self,
        _: &Linux,
        file: &Lent,
        patience: &mut u32,
        each: &mut Each<'_>,
    ) -> Result<u64, Errno> {
        pipe::look(file, patience, each)
    }

    fn make(&self, _: &Linux, note: &Pipe) -> Result<(Lent, Lent), Errno> {
        memory::make_room(room_for(note)).map_err(errno::of_kernel)?;
        let made = pipe::make(note.slots, note.flags & PACKETS != 0);
        let (reads, writes) = made.map_err(errno::of_kernel)?;
        Ok((reads.into(), writes.into()))
    }

    fn put(&self, _: &Linux, write: &Lent, bytes: &[u8], is_packet: bool) -> Result<(), Errno> {
        pipe::put(write, bytes, is_packet).map_err(errno::of_kernel)
    }

    fn set_nonblock(&self, _: &Linux, file: &Lent) {
        pipe::set_nonblock(file);
    }
}
