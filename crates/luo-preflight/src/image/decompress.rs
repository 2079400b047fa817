// SPDX-License-Identifier: MIT OR Apache-2.0
//! The compressions that kernels are packed with.
//!
//! The kernel's build appends the decompressed size to some of them, so what follows
//! the compressed data is not looked at.

use core::fmt;
use std::io::{self, Read};

use super::{Error, read_up_to};
use crate::limits::MAX_DICTIONARY;

/// How something is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// gzip.
    Gzip,
    /// bzip2.
    Bzip2,
    /// LZMA alone.
    Lzma,
    /// XZ.
    Xz,
    /// LZO, which this crate cannot decompress.
    Lzo,
    /// LZ4 in its legacy framing.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// From the kernel's boot protocol: what the payload begins with.
const MAGICS: [(&[u8], Compression); 7] = [
    (&[0x1f, 0x8b], Compression::Gzip),
    (b"BZh", Compression::Bzip2),
    (&[0x5d, 0x00, 0x00], Compression::Lzma),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0x00], Compression::Xz),
    (&[0x89, b'L', b'Z', b'O'], Compression::Lzo),
    (&LZ4_LEGACY, Compression::Lz4),
    (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
];

const LZ4_LEGACY: [u8; 4] = 0x184c_2102_u32.to_le_bytes();

impl Compression {
    /// What begins like this.
    #[must_use]
    pub fn recognise(head: &[u8]) -> Option<Self> {
        let known = MAGICS.iter().find(|(magic, _)| head.starts_with(magic));
        known.map(|(_, compression)| *compression)
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Lzma => "lzma",
            Self::Xz => "xz",
            Self::Lzo => "lzo",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What decompresses a source, within [`MAX_DICTIONARY`].
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
