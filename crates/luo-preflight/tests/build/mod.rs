// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernel images made by hand: nothing in them runs, but they say what real ones say.
#![allow(dead_code, reason = "not all test programs use all of it")]

use std::io::Write;

use luo_preflight::image::Compression;

/// A kernel, decompressed.
#[derive(Clone)]
pub(crate) struct Kernel {
    pub(crate) strings: Vec<&'static str>,
    pub(crate) config: Option<&'static str>,
    pub(crate) release: &'static str,
}

/// The options of a kernel that takes part.
pub(crate) const CONFIG: &str = "CONFIG_KEXEC_HANDOVER=y\nCONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT=y\n\
                          CONFIG_LIVEUPDATE=y\nCONFIG_LIVEUPDATE_MEMFD=y\nCONFIG_PAGE_SHIFT=12\n";

impl Kernel {
    /// One with this project's orchestrator.
    pub(crate) fn ours() -> Self {
        Self {
            strings: vec!["luo-v5", "kho-v4", "memfd-v2", "luo-contract-v1"],
            config: Some(CONFIG),
            release: "7.3.4-ours",
        }
    }

    /// An ELF file's magic, and what else there is in a kernel between noise.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(64, 0);
        bytes[18] = 62;
        let mut noise = 12345_u32;
        bytes.extend((0..30_000).map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // No letters, and some repetition.
            (noise >> 28) as u8
        }));
        bytes.extend(b"\0Linux version %s\0");
        for string in &self.strings {
            bytes.extend([0, 0xbe]);
            bytes.extend(string.as_bytes());
            bytes.extend([0; 3]);
        }
        bytes.extend(format!("\0Linux version {} (a@b) #1\n\0", self.release).as_bytes());
        if let Some(config) = self.config {
            bytes.extend(b"IKCFG_ST");
            bytes.extend(compress(Compression::Gzip, config.as_bytes()));
            bytes.extend(b"IKCFG_ED");
        }
        bytes.extend([0xcc; 1000]);
        bytes
    }
}

/// All compressions that can be looked into.
pub(crate) const COMPRESSIONS: [Compression; 6] = [
    Compression::Gzip,
    Compression::Bzip2,
    Compression::Lzma,
    Compression::Xz,
    Compression::Lz4,
    Compression::Zstd,
];

/// Compresses as the kernel's build does.
pub(crate) fn compress(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match compression {
        Compression::Gzip => {
            let mut to = flate2::write::GzEncoder::new(out, flate2::Compression::best());
            to.write_all(bytes).unwrap();
            to.finish().unwrap()
        }
        Compression::Bzip2 => {
            let mut to = bzip2::write::BzEncoder::new(out, bzip2::Compression::best());
            to.write_all(bytes).unwrap();
            to.finish().unwrap()
        }
        Compression::Lzma => {
            let options = lzma_rust2::LzmaOptions::with_preset(6);
            let mut to = lzma_rust2::LzmaWriter::new_use_header(out, &options, None).unwrap();
            to.write_all(bytes).unwrap();
            to.finish().unwrap()
        }
        Compression::Xz => {
            let mut options = lzma_rust2::XzOptions::with_preset(6);
            options.set_check_sum_type(lzma_rust2::CheckType::Crc32);
            options.prepend_pre_filter(lzma_rust2::FilterType::BcjX86, 0);
            let mut to = lzma_rust2::XzWriter::new(out, options).unwrap();
            to.write_all(bytes).unwrap();
            to.finish().unwrap()
        }
        Compression::Lz4 => {
            out.extend(0x184c_2102_u32.to_le_bytes());
            for block in bytes.chunks(8 << 20) {
                let packed = lz4_flex::block::compress(block);
                out.extend((packed.len() as u32).to_le_bytes());
                out.extend(packed);
            }
            out
        }
        Compression::Zstd => zstd::encode_all(bytes, 19).unwrap(),
        Compression::Lzo => b"\x89LZO\0\r\n\x1a\n damaged".to_vec(),
    }
}

/// The same with the decompressed size behind it, as the kernel's build appends it to
/// all but gzip.
pub(crate) fn payload(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut out = compress(compression, bytes);
    if compression != Compression::Gzip {
        out.extend((bytes.len() as u32).to_le_bytes());
    }
    out
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    bytes[at..at + what.len()].copy_from_slice(what);
}

/// Bytes before a bzImage's protected-mode code.
pub(crate) const SETUP: usize = 5 * 512;

/// Bytes between its start and the payload.
pub(crate) const BEFORE_PAYLOAD: usize = 100;

/// A bzImage around a payload.
pub(crate) fn bz_image(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; SETUP + BEFORE_PAYLOAD];
    put(&mut bytes, 0x1f1, &[4]);
    put(&mut bytes, 0x1fe, &[0x55, 0xaa]);
    put(&mut bytes, 0x202, b"HdrS");
    put(&mut bytes, 0x206, &0x020f_u16.to_le_bytes());
    put(&mut bytes, 0x211, &[1]);
    put(&mut bytes, 0x230, &(2_u32 << 20).to_le_bytes());
    put(&mut bytes, 0x236, &3_u16.to_le_bytes());
    put(&mut bytes, 0x238, &2047_u32.to_le_bytes());
    put(&mut bytes, 0x248, &(BEFORE_PAYLOAD as u32).to_le_bytes());
    put(&mut bytes, 0x24c, &(payload.len() as u32).to_le_bytes());
    put(&mut bytes, 0x258, &(16_u64 << 20).to_le_bytes());
    put(&mut bytes, 0x260, &(20_u32 << 20).to_le_bytes());
    bytes.extend(payload);
    bytes.extend([0; 100]);
    bytes.resize(SETUP + (bytes.len() - SETUP).next_multiple_of(16), 0);
    let units = ((bytes.len() - SETUP) / 16) as u32;
    put(&mut bytes, 0x1f4, &units.to_le_bytes());
    bytes
}

/// arm64's `Image`.
pub(crate) fn arm64_image(kernel: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    put(&mut bytes, 16, &(20_u64 << 20).to_le_bytes());
    put(&mut bytes, 56, b"ARM\x64");
    bytes.extend(kernel);
    bytes
}

/// An image that EFI starts, around a payload.
pub(crate) fn efi_zboot(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    put(&mut bytes, 0, b"MZ");
    put(&mut bytes, 4, b"zimg");
    put(&mut bytes, 8, &512_u32.to_le_bytes());
    put(&mut bytes, 12, &(payload.len() as u32).to_le_bytes());
    put(&mut bytes, 0x3c, &64_u32.to_le_bytes());
    put(&mut bytes, 64, b"PE\0\0");
    put(&mut bytes, 68, &0xaa64_u16.to_le_bytes());
    bytes.extend(payload);
    bytes
}

/// Makes a bzImage a PE file with a table of certificates behind it.
pub(crate) fn sign(image: &mut Vec<u8>) {
    let end = image.len() as u32;
    image.extend([0x5a; 1000]);
    put(image, 0, b"MZ");
    put(image, 0x3c, &64_u32.to_le_bytes());
    put(image, 64, b"PE\0\0");
    put(image, 88, &0x20b_u16.to_le_bytes());
    put(image, 88 + 108, &6_u32.to_le_bytes());
    put(image, 88 + 112 + 4 * 8, &end.to_le_bytes());
    put(image, 88 + 112 + 4 * 8 + 4, &1000_u32.to_le_bytes());
}

/// A unified kernel image: an EFI program with these sections.
pub(crate) fn unified(sections: &[(&str, &[u8])]) -> Vec<u8> {
    const HEADERS: usize = 4096;
    const OPTIONAL: usize = 240;
    let mut bytes = vec![0; HEADERS];
    put(&mut bytes, 0, b"MZ");
    put(&mut bytes, 0x3c, &64_u32.to_le_bytes());
    put(&mut bytes, 64, b"PE\0\0");
    put(&mut bytes, 68, &0x8664_u16.to_le_bytes());
    put(&mut bytes, 70, &(sections.len() as u16).to_le_bytes());
    put(&mut bytes, 84, &(OPTIONAL as u16).to_le_bytes());
    put(&mut bytes, 88, &0x20b_u16.to_le_bytes());
    put(&mut bytes, 88 + 108, &16_u32.to_le_bytes());
    for (index, (name, content)) in sections.iter().enumerate() {
        let at = 88 + OPTIONAL + index * 40;
        let start = bytes.len() as u32;
        let filled = content.len().next_multiple_of(512);
        put(&mut bytes, at, name.as_bytes());
        put(&mut bytes, at + 8, &(content.len() as u32).to_le_bytes());
        put(&mut bytes, at + 12, &start.to_le_bytes());
        put(&mut bytes, at + 16, &(filled as u32).to_le_bytes());
        put(&mut bytes, at + 20, &start.to_le_bytes());
        bytes.extend(*content);
        bytes.resize(start as usize + filled, 0);
    }
    bytes
}
