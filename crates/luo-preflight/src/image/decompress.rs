// SPDX-License-Identifier: MIT OR Apache-2.0
//! Decompressing kernels.
//!
//! The kernel's build appends the decompressed size to some of them, so what follows
//! the compressed data is not looked at.

use std::io::{self, Read};

use super::compression::{Compression, LZ4_LEGACY};
use super::source::{Error, read_up_to};
use crate::limits::MAX_DICTIONARY;

/// A reader that decompresses a source, within [`MAX_DICTIONARY`].
pub(super) fn decoder<'r, R: Read + 'r>(
    compression: Compression,
    source: R,
) -> Result<Box<dyn Read + 'r>, Error> {
    // Dictionaries and, for LZMA, some tables.
    const KIB: u32 = (MAX_DICTIONARY >> 10) + 1024;
    let failed = |why| Error::Decompress { compression, why };
    Ok(match compression {
        Compression::Gzip => Box::new(flate2::read::GzDecoder::new(source)),
        Compression::Bzip2 => Box::new(bzip2::read::BzDecoder::new(source)),
        Compression::Lzma => {
            Box::new(lzma_rust2::LzmaReader::new_mem_limit(source, KIB, None).map_err(failed)?)
        }
        Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(source, false, KIB)),
        Compression::Lz4 => Box::new(Lz4Legacy::new(source)),
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::new(source).map_err(failed)?;
            let log = MAX_DICTIONARY.ilog2();
            decoder.window_log_max(log).map_err(failed)?;
            Box::new(decoder.single_frame())
        }
        Compression::Lzo => return Err(Error::Unsupported("LZO")),
    })
}

/// LZ4's legacy framing: the magic, then blocks of at most 8 MiB, each behind its
/// compressed size.
struct Lz4Legacy<R> {
    source: R,
    packed: Vec<u8>,
    block: Vec<u8>,
    given: usize,
    begun: bool,
    ended: bool,
}

/// Bytes of a decompressed block.
const BLOCK: usize = 8 << 20;

/// Bytes of a block that does not compress.
const MAX_PACKED: usize = BLOCK + BLOCK / 255 + 16;

impl<R: Read> Lz4Legacy<R> {
    fn new(source: R) -> Self {
        Self {
            source,
            packed: Vec::new(),
            block: Vec::new(),
            given: 0,
            begun: false,
            ended: false,
        }
    }

    /// Decompresses the next block; `ended` after the last.
    fn next_block(&mut self) -> io::Result<()> {
        let damaged = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
        let mut word = [0; 4];
        let count = read_up_to(&mut self.source, &mut word)?;
        if !self.begun {
            if word != LZ4_LEGACY {
                return Err(damaged("not the legacy framing"));
            }
            self.begun = true;
            return Ok(());
        }
        if word == LZ4_LEGACY {
            return Ok(());
        }
        let size = u32::from_le_bytes(word) as usize;
        self.packed.clear();
        let mut limited = (&mut self.source).take(size.min(MAX_PACKED) as u64);
        limited.read_to_end(&mut self.packed)?;
        if count < word.len() || self.packed.is_empty() {
            // The end, or the decompressed size that the kernel's build appends.
            self.ended = true;
            return Ok(());
        }
        if self.packed.len() != size {
            return Err(damaged("a block is too long or cut off"));
        }
        self.block.resize(BLOCK, 0);
        let filled = lz4_flex::block::decompress_into(&self.packed, &mut self.block)
            .map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
        self.block.truncate(filled);
        self.given = 0;
        Ok(())
    }
}

impl<R: Read> Read for Lz4Legacy<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given >= self.block.len() && !self.ended {
            self.next_block()?;
        }
        let rest = self.block.get(self.given..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.given = self.given.saturating_add(count);
        Ok(count)
    }
}
