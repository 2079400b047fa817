// SPDX-License-Identifier: MIT OR Apache-2.0
//! How much of a history is kept, read and told.

/// Bytes at which the file is put aside and a new one begun; one old one is kept.
pub(super) const MAX_FILE: u64 = 16 << 20;

/// Bytes of a file that is read: more than this writes.
pub(super) const MAX_READ: u64 = 4 * MAX_FILE;

/// Bytes of lines that one question to luod is answered with, the newest lines.
pub(super) const MAX_ANSWER: usize = 4 << 20;
