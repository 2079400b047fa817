// SPDX-License-Identifier: MIT OR Apache-2.0
//! The compressions that kernels are packed with.

use core::fmt;

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

/// The first bytes of a payload, from the kernel's boot protocol.
const MAGICS: [(&[u8], Compression); 7] = [
    (&[0x1f, 0x8b], Compression::Gzip),
    (b"BZh", Compression::Bzip2),
    (&[0x5d, 0x00, 0x00], Compression::Lzma),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0x00], Compression::Xz),
    (&[0x89, b'L', b'Z', b'O'], Compression::Lzo),
    (&LZ4_LEGACY, Compression::Lz4),
    (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
];

pub(super) const LZ4_LEGACY: [u8; 4] = 0x184c_2102_u32.to_le_bytes();

impl Compression {
    /// The compression of what begins with these bytes.
    #[must_use]
    pub fn recognise(head: &[u8]) -> Option<Self> {
        let known = MAGICS.iter().find(|(magic, _)| head.starts_with(magic));
        known.map(|(_, compression)| *compression)
    }

    /// Whether what is packed so has a checksum, by its first bytes: if one of them is changed
    /// later on, who unpacks it to the end is told.
    #[must_use]
    pub fn is_summed(self, head: &[u8]) -> bool {
        /// Bits of XZ's and Zstandard's heads.
        const CHECK: u8 = 0x0f;
        const SUMMED: u8 = 1 << 2;
        let byte = |at: usize| head.get(at).copied().unwrap_or(0);
        match self {
            Self::Gzip | Self::Bzip2 => true,
            Self::Xz => byte(7) & CHECK != 0,
            Self::Zstd => byte(4) & SUMMED != 0,
            Self::Lzma | Self::Lzo | Self::Lz4 => false,
        }
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
