// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
//! Pipes: what they hold, as bytes, and their two ends, which are preserved as a file each.
//!
//! ```text
//! handle of one end ──> [note] ──> [Held][Piece bytes][Piece bytes]... ──> [Held]...
//! handle of the other ──'
//! ```

mod arrival;
mod arrivals;
mod contents;
mod ends;
mod handler;
mod joint;
mod joints;
#[cfg(test)]
mod tests;

pub use contents::{read, Contents, Failed};
pub use ends::{Each, End, Facts, Pipes};
pub use handler::TwoEnds;

pub(crate) use arrival::Arrivals;
pub(crate) use joint::Joints;

use luo_abi::handover::BLOCK_SIZE;
use luo_abi::note::{
    Pipe, PACKETS, PIPE_MAGIC, READ_END, READ_NONBLOCK, WRITE_END, WRITE_NONBLOCK,
};

use crate::note::Note;

/// The most that a pipe may hold, in pages: 2 GiB, as the kernel has it.
const MOST_SLOTS: u64 = 1 << 19;

impl Note for Pipe {
    const MAGIC: [u8; 16] = PIPE_MAGIC;

    fn is_sane(&self) -> bool {
        const KNOWN: u64 = READ_END | WRITE_END | READ_NONBLOCK | WRITE_NONBLOCK | PACKETS;
        let (slots, pages, records) = (self.slots, self.pages, self.records);
        let bytes = self.bytes;
        let has_pages = self.first != 0;
        self.flags & !KNOWN == 0
            && self.flags & (READ_END | WRITE_END) != 0
            && (1..=MOST_SLOTS).contains(&slots)
            // A page of the pipe takes two at most: one that is full is in two pieces.
            && pages <= slots.saturating_mul(2)
            && records >= pages
            && bytes <= slots.saturating_mul(BLOCK_SIZE as u64)
            && has_pages == (pages > 0)
    }
}
