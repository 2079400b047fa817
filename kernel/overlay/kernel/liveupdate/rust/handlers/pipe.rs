// SPDX-License-Identifier: GPL-2.0-only
//! The handler of pipes: both ends, what they hold, how much they may, and how they are read and
//! written. What is done when is `luo_core::pipe`.

use kernel::bindings;
use kernel::fs::File;
use kernel::page::PAGE_SIZE;
use kernel::sync::aref::ARef;
use luo_abi::errno::Errno;
use luo_abi::note::{Pipe, PACKETS};
use luo_core::pipe::{Each, End, Ends, Facts, Pipes, TwoEnds};

use crate::errno;
use crate::host::Linux;
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
    fn find(&self, _: &Linux, file: &ARef<File>) -> Option<(u64, End)> {
        let (pipe, is_write) = pipe::find(file)?;
        Some((pipe, if is_write { End::Write } else { End::Read }))
    }

    fn look(&self, _: &Linux, file: &ARef<File>, each: &mut Each<'_>) -> Result<Facts, Errno> {
        let slots = pipe::look(file, each)?;
        Ok(Facts {
            slots,
            nonblock: file.flags() & bindings::O_NONBLOCK != 0,
            packets: file.flags() & bindings::O_DIRECT != 0,
        })
    }

    fn make(&self, _: &Linux, note: &Pipe) -> Result<(ARef<File>, ARef<File>), Errno> {
        memory::make_room(room_for(note)).map_err(errno::of_kernel)?;
        pipe::make(note.slots, note.flags & PACKETS != 0).map_err(errno::of_kernel)
    }

    fn put(
        &self,
        _: &Linux,
        write: &ARef<File>,
        bytes: &[u8],
        is_packet: bool,
    ) -> Result<(), Errno> {
        pipe::put(write, bytes, is_packet).map_err(errno::of_kernel)
    }

    fn set_nonblock(&self, _: &Linux, file: &ARef<File>) {
        pipe::set_nonblock(file);
    }

    fn alone<R>(&self, linux: &Linux, work: impl FnOnce(&mut Ends<Linux>) -> R) -> R {
        linux.with_pipes(work)
    }
}
