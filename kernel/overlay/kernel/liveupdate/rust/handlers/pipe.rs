// SPDX-License-Identifier: GPL-2.0-only
//! The handler of pipes: both ends, what they hold, how much they may, and how they are read and
//! written. What is done when is `luo_core::pipe`.

use kernel::bindings;
use kernel::fs::File;
use kernel::sync::aref::ARef;
use luo_abi::errno::Errno;
use luo_abi::note::{Pipe, PACKETS};
use luo_core::pipe::{Each, End, Ends, Facts, Pipes, TwoEnds};

use crate::errno;
use crate::host::Linux;
use crate::sys::pipe;

/// The handler.
pub(super) static PIPES: TwoEnds<Nameless> = TwoEnds(Nameless);

/// Pipes without a name.
pub(super) struct Nameless;

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
        linux.alone_with_pipes(work)
    }
}
