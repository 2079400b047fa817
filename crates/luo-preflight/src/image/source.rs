// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reading parts of an image, and why one cannot be read.

use std::io::{self, Read};

use super::compression::Compression;
#[cfg(doc)]
use crate::limits::MAX_DECOMPRESSED;
use crate::limits::{MAX_IMAGE, MAX_INITRD};

/// Why an image could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened or read.
    #[error("it cannot be read: {0}")]
    Io(#[source] io::Error),
    /// It is not a regular file.
    #[error("it is not a regular file")]
    NotAFile,
    /// It is longer than [`MAX_IMAGE`].
    #[error("it has {0} bytes, more than the {limit} that are read", limit = MAX_IMAGE)]
    TooLong(u64),
    /// `kexec_file_load` reads no file of this length.
    #[error("it has {0} bytes, more than the {limit} that the kernel loads", limit = MAX_INITRD)]
    TooLongToLoad(u64),
    /// No format is recognised.
    #[error("it is no Linux kernel image")]
    NotAKernel,
    /// It begins as nothing that a kernel unpacks as its initrd.
    #[error("it is no archive that a kernel unpacks (cpio, also compressed)")]
    NotAnArchive,
    /// Its header points out of the file.
    #[error("it is damaged or cut off: {0}")]
    Damaged(&'static str),
    /// The kernel would not unpack it to its end.
    #[error("at byte {at}: {why}")]
    Archive {
        /// The part of it that is bad begins here, or the bad place is here.
        at: u64,
        /// What is wrong there.
        why: &'static str,
    },
    /// Its compression is not supported.
    #[error("it is compressed with {0}, which cannot be looked into")]
    Unsupported(&'static str),
    /// It could not be decompressed.
    #[error("it cannot be decompressed ({compression}): {why}")]
    Decompress {
        /// How it is compressed.
        compression: Compression,
        /// The decompressor's own error.
        why: io::Error,
    },
    /// Decompressed, it is longer than [`MAX_DECOMPRESSED`] or the caller's limit.
    #[error("decompressed it has more than {0} bytes")]
    Bomb(u64),
}

/// Reads until the buffer is full or the source at its end.
pub(super) fn read_up_to(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(count) => filled = filled.saturating_add(count),
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    Ok(filled)
}
