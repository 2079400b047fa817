// SPDX-License-Identifier: MIT OR Apache-2.0
//! The compressed parts of an initrd, unpacked to their end as the kernel's decompressors
//! (`lib/decompress_*.c` of Linux) do. What is unpacked is fed to a sink and not kept.

use std::io::{self, BufRead, Read};

use super::cpio::Fault;
use super::source::Source;
use crate::image::{Compression, Error};
use crate::limits::{MAX_DICTIONARY, MAX_INITRD_UNPACKED};

/// Bytes that are unpacked at once.
const CHUNK: usize = 64 << 10;

/// Bytes of a block of LZ4's legacy framing, unpacked and packed.
const LZ4_BLOCK: usize = 8 << 20;
const LZ4_PACKED: usize = LZ4_BLOCK + LZ4_BLOCK / 255 + 16;

/// Bytes of a block of LZO.
const LZO_BLOCK: u32 = 256 << 10;

/// The parts of what `lzop` writes that the kernel skips, see [`Packed::lzo`].
const LZO_MAGIC: &[u8] = b"\x89LZO\0\r\n\x1a\n";
const LZO_HAS_FILTER: u32 = 0x800;
const LZO_NEW: u16 = 0x940;

/// The kernel looks at two bytes.
const MAGICS: [([u8; 2], Compression); 8] = [
    ([0x1f, 0x8b], Compression::Gzip),
    ([0x1f, 0x9e], Compression::Gzip),
    (*b"BZ", Compression::Bzip2),
    ([0x5d, 0x00], Compression::Lzma),
    ([0xfd, b'7'], Compression::Xz),
    ([0x89, b'L'], Compression::Lzo),
    ([0x02, 0x21], Compression::Lz4),
    ([0x28, 0xb5], Compression::Zstd),
];

/// The compression that the kernel takes what begins with these bytes for.
pub(super) fn recognise(head: &[u8]) -> Option<Compression> {
    let known = MAGICS.iter().find(|(magic, _)| head.starts_with(magic));
    known.map(|(_, compression)| *compression)
}

/// What is known of a part once it is unpacked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// Whether a checksum covers it.
    pub(super) is_summed: bool,
    /// Whether it ends only where the file does, for want of an end of its own.
    pub(super) is_endless: bool,
    /// Whether only its frame was looked at.
    pub(super) is_closed: bool,
}

/// A compressed part that is about to be unpacked.
pub(super) struct Packed<'s, R, S> {
    pub(super) compression: Compression,
    pub(super) source: &'s mut Source<R>,
    /// Takes what is unpacked.
    pub(super) sink: S,
    /// Bytes that were unpacked before, and with this part.
    pub(super) unpacked: &'s mut u64,
}

impl<R: Read, S: FnMut(&[u8]) -> Result<(), Error>> Packed<'_, R, S> {
    /// Unpacks it; the source stands behind it then.
    pub(super) fn unpack(mut self) -> Result<Known, Error> {
        const KIB: u32 = (MAX_DICTIONARY >> 10) + 1024;
        let compression = self.compression;
        let failed = |why| Error::Decompress { compression, why };
        let head = self.source.peek(8).map_err(Error::Io)?;
        let head: [u8; 8] = std::array::from_fn(|at| head.get(at).copied().unwrap_or(0));
        let mut known = Known {
            is_summed: compression.is_summed(&head),
            ..Known::default()
        };
        match compression {
            Compression::Gzip => {
                const NAME_OR_TEXT: u8 = 0x08 | 0x01;
                if head[3] & !NAME_OR_TEXT != 0 {
                    return Err(self.fault("its gzip header has more than a name in it"));
                }
                let source = &mut *self.source;
                let decoder = flate2::bufread::GzDecoder::new(source);
                pump(compression, decoder, &mut self.sink, self.unpacked)?;
            }
            Compression::Bzip2 => {
                let decoder = bzip2::bufread::BzDecoder::new(&mut *self.source);
                pump(compression, decoder, &mut self.sink, self.unpacked)?;
            }
            Compression::Zstd => {
                let decoder = zstd::Decoder::with_buffer(&mut *self.source);
                let mut decoder = decoder.map_err(failed)?;
                let log = MAX_DICTIONARY.ilog2();
                decoder.window_log_max(log).map_err(failed)?;
                let decoder = decoder.single_frame();
                pump(compression, decoder, &mut self.sink, self.unpacked)?;
            }
            Compression::Xz => {
                const CRC32: u8 = 1;
                if head[7] > CRC32 {
                    let why =
                        "the kernel unpacks XZ with no other check than CRC32 (xz --check=crc32)";
                    return Err(self.fault(why));
                }
                let decoder = lzma_rust2::XzReader::new_mem_limit(&mut *self.source, false, KIB);
                pump(compression, decoder, &mut self.sink, self.unpacked)?;
            }
            Compression::Lzma => {
                let source = &mut *self.source;
                let decoder = lzma_rust2::LzmaReader::new_mem_limit(source, KIB, None);
                let mut decoder = decoder.map_err(failed)?;
                pump(compression, &mut decoder, &mut self.sink, self.unpacked)?;
                // The decoder has read on; where it ended is known.
                let (source, ahead) = decoder.into_parts();
                source.give_back(&ahead);
            }
            Compression::Lz4 => known.is_endless = self.lz4()?,
            Compression::Lzo => {
                known.is_closed = true;
                self.lzo()?;
            }
        }
        Ok(known)
    }

    fn fault(&self, why: Fault) -> Error {
        Error::Archive {
            at: self.source.position(),
            why,
        }
    }

    /// Takes bytes that have to be there.
    fn take(&mut self, count: usize, why: Fault) -> Result<Vec<u8>, Error> {
        let bytes = self.source.peek(count).map_err(Error::Io)?;
        let bytes = bytes.get(..count).map(<[u8]>::to_vec);
        let bytes = bytes.ok_or_else(|| self.fault(why))?;
        self.source.consume(count);
        Ok(bytes)
    }

    fn number(&mut self, why: Fault) -> Result<u32, Error> {
        let bytes = self.take(4, why)?;
        let number = bytes.first_chunk().copied();
        Ok(u32::from_be_bytes(number.unwrap_or_default()))
    }

    /// LZ4's legacy framing: the magic, then blocks, each behind its size. It has no end but
    /// zeros or that of the file: the kernel takes what follows for a block. Gives whether it
    /// was the file's end.
    fn lz4(&mut self) -> Result<bool, Error> {
        const MAGIC: u32 = 0x184c_2102;
        let mut is_first = true;
        let mut block = vec![0; LZ4_BLOCK];
        loop {
            let word = self.source.peek(4).map_err(Error::Io)?.first_chunk();
            let word = match word.copied().map(u32::from_le_bytes) {
                None => return Ok(true),
                Some(0) => return Ok(false),
                Some(word) => word,
            };
            if is_first && word != MAGIC {
                return Err(self.fault("it is LZ4 in another framing than the kernel's (lz4 -l)"));
            }
            is_first = false;
            if word == MAGIC {
                self.source.consume(4);
                continue;
            }
            let size = word as usize;
            if size > LZ4_PACKED {
                return Err(self.fault(
                    "a block of LZ4 is too long, or behind the last one stands \
                                       what is none: LZ4 has no end, the kernel reads on",
                ));
            }
            self.source.consume(4);
            let packed = self.take(size, "it ends in a block of LZ4")?;
            let filled = lz4_flex::block::decompress_into(&packed, &mut block);
            let filled = filled.map_err(|why| Error::Decompress {
                compression: self.compression,
                why: io::Error::new(io::ErrorKind::InvalidData, why),
            })?;
            count(self.unpacked, filled)?;
            (self.sink)(block.get(..filled).unwrap_or_default())?;
        }
    }

    /// What `lzop` writes: a header, then blocks, each behind its sizes, and a zero at the
    /// end. The blocks are counted and not unpacked.
    fn lzo(&mut self) -> Result<(), Error> {
        const CUT: Fault = "it ends in the header of LZO";
        const BLOCK: Fault = "it ends in a block of LZO";
        if self.take(LZO_MAGIC.len(), CUT)? != LZO_MAGIC {
            return Err(self.fault("its LZO header is damaged"));
        }
        let version = self.take(2, CUT)?;
        let version = u16::from_be_bytes(version.first_chunk().copied().unwrap_or_default());
        let is_new = version >= LZO_NEW;
        // The library's version, the version to extract with, the method; a level.
        self.take(if is_new { 6 } else { 5 }, CUT)?;
        if self.number(CUT)? & LZO_HAS_FILTER != 0 {
            self.take(4, CUT)?;
        }
        // The mode and a time; the time's upper half.
        self.take(if is_new { 12 } else { 8 }, CUT)?;
        let name = self.take(1, CUT)?.first().copied().unwrap_or(0);
        // The name, and a checksum.
        self.take(usize::from(name).saturating_add(4), CUT)?;
        loop {
            let unpacked = self.number(BLOCK)?;
            if unpacked == 0 {
                return Ok(());
            }
            let packed = self.number(BLOCK)?;
            if unpacked > LZO_BLOCK || packed == 0 || packed > unpacked {
                return Err(self.fault("a block of LZO has a wrong size"));
            }
            // A checksum.
            self.take(4, BLOCK)?;
            self.take(packed as usize, BLOCK)?;
            count(self.unpacked, unpacked as usize)?;
            self.source.stop().heed().map_err(Error::Io)?;
        }
    }
}

/// Feeds the sink all that a decoder gives.
fn pump(
    compression: Compression,
    mut decoder: impl Read,
    sink: &mut impl FnMut(&[u8]) -> Result<(), Error>,
    unpacked: &mut u64,
) -> Result<(), Error> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = match decoder.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
            Err(why) => return Err(Error::Decompress { compression, why }),
        };
        count(unpacked, read)?;
        sink(chunk.get(..read).unwrap_or_default())?;
    }
}

fn count(unpacked: &mut u64, more: usize) -> Result<(), Error> {
    *unpacked = unpacked.saturating_add(more as u64);
    match *unpacked > MAX_INITRD_UNPACKED {
        true => Err(Error::Bomb(MAX_INITRD_UNPACKED)),
        false => Ok(()),
    }
}
