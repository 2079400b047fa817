// SPDX-License-Identifier: GPL-2.0-only

//! The registers of an `edu`, as QEMU's `docs/specs/edu.rst` has them.

/// Gives back the complement of what was written to it.
pub(crate) const MARK: usize = 0x04;
/// Whether it is to send an interrupt when it has computed something.
pub(crate) const STATUS: usize = 0x20;
/// What has caused an interrupt, a bit each.
pub(crate) const CAUSES: usize = 0x24;
/// Causes that are dealt with, as in [`CAUSES`].
pub(crate) const DEALT_WITH: usize = 0x64;
/// Where it brings bytes from. This and those that follow have 64 bits, of which the upper ones
/// are zeros where nothing but the lower ones is written.
pub(crate) const SOURCE: usize = 0x80;
/// Where it brings them to.
pub(crate) const TARGET: usize = 0x88;
/// How many.
pub(crate) const COUNT: usize = 0x90;
/// What it is to do: [`RUN`] and the others.
pub(crate) const COMMAND: usize = 0x98;

/// Behind the last register that is used.
pub(crate) const END: usize = 0xa0;

/// [`COMMAND`]: it has begun, and is not done.
pub(crate) const RUN: u32 = 1;
/// [`COMMAND`]: from its buffer into memory.
pub(crate) const TO_MEMORY: u32 = 2;
/// [`COMMAND`]: an interrupt when it is done.
pub(crate) const INTERRUPT: u32 = 4;

/// Its buffer, as it knows it itself.
pub(crate) const BUFFER: u32 = 0x4_0000;
/// The most that it brings at once. Its buffer has 4096 bytes, but QEMU aborts where a transfer ends
/// at the buffer's end, so the last word of eight bytes is left alone.
pub(crate) const MOST: usize = 4096 - 8;
