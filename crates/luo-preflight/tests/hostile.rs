// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hostile images: nothing panics, and memory stays within limits.

mod build;

use std::io::Cursor;

use build::{COMPRESSIONS, Kernel};
use luo_preflight::image::{self, Compression, Error};
use luo_preflight::{command_line, kconfig::Config};
use proptest::prelude::*;

const FAMILIES: [&str; 3] = ["luo", "kho", "memfd"];

/// Bytes of decompressed kernel that these tests allow.
const LIMIT: u64 = 4 << 20;

fn read(bytes: &[u8]) -> Result<image::Image, Error> {
    image::read_within(&mut Cursor::new(bytes), &FAMILIES, LIMIT)
}

/// The most memory that this process ever had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.unwrap().trim().trim_end_matches("kB").trim();
    kib.parse::<u64>().unwrap() * 1024
}

#[test]
fn a_bomb_is_refused_in_little_memory() {
    // Some more than the limit, in a few thousand bytes.
    let zeros = vec![0; LIMIT as usize + 1];
    for compression in COMPRESSIONS {
        let payload = build::compress(compression, &zeros);
        assert!(payload.len() < 40_000, "{compression}: {}", payload.len());
        let refused = read(&build::bz_image(&payload)).unwrap_err();
        assert!(
            matches!(refused, Error::Bomb(LIMIT)),
            "{compression}: {refused}"
        );
    }
    let mut exactly = vec![0; LIMIT as usize];
    exactly[..4].copy_from_slice(b"\x7fELF");
    let payload = build::compress(Compression::Gzip, &exactly);
    assert!(read(&build::bz_image(&payload)).is_ok());
}

#[test]
fn a_dictionary_of_gigabytes_is_refused() {
    // LZMA: properties, dictionary size, unknown length.
    let mut lzma = vec![0x5d, 0, 0, 0, 0xf0];
    lzma.extend([0xff; 8]);
    lzma.extend([0; 100]);
    // Zstandard: a window of 2^41 bytes.
    let mut zstd = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8];
    zstd.extend([0x01, 0x00, 0x00]);
    for (compression, payload) in [(Compression::Lzma, lzma), (Compression::Zstd, zstd)] {
        let refused = read(&build::bz_image(&payload)).unwrap_err();
        let is_right =
            matches!(refused, Error::Decompress { compression: is, .. } if is == compression);
        assert!(is_right, "{compression}: {refused}");
    }
    // XZ: the byte of the dictionary's size in the block header, and its checksum.
    let mut options = lzma_rust2::XzOptions::with_preset(6);
    options.lzma_options.dict_size = 1 << 30;
    let writer = lzma_rust2::XzWriter::new(Vec::new(), options);
    let mut writer = writer.expect("a big dictionary can be written");
    std::io::Write::write_all(&mut writer, &[0; 1000]).unwrap();
    let payload = writer.finish().unwrap();
    let refused = read(&build::bz_image(&payload)).unwrap_err();
    assert!(matches!(refused, Error::Decompress { .. }), "{refused}");
    assert!(peak() < 1 << 30, "{} bytes", peak());
}

#[test]
fn many_beginnings_of_a_configuration_take_no_memory() {
    let mut kernel = b"\x7fELF".to_vec();
    while kernel.len() < 3 << 20 {
        kernel.extend(b"IKCFG_ST\x1f\x8b");
    }
    kernel.extend(b"Linux version 1.0 x\0");
    let image = read(&kernel).unwrap();
    assert_eq!(image.contents.config, None);
}

#[test]
fn a_configuration_that_is_a_bomb_is_none() {
    let zeros = vec![b'#'; luo_preflight::limits::MAX_CONFIG + 1];
    let packed = build::compress(Compression::Gzip, &zeros);
    assert_eq!(Config::unpack(&packed), None);
    assert!(Config::unpack(&build::compress(Compression::Gzip, &zeros[1..])).is_some());
}

/// Changes of an image: where, and into what.
fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
        let _ = read(&bytes);
        let _ = read(&build::bz_image(&bytes));
        for compression in COMPRESSIONS {
            let start = build::compress(compression, b"\x7fELF");
            let mut payload = start[..start.len().min(14)].to_vec();
            payload.extend(&bytes);
            let _ = read(&build::bz_image(&payload));
            let _ = read(&payload);
        }
        prop_assert!(peak() < 1 << 30, "{} bytes", peak());
    }

    #[test]
    fn a_changed_image_never_panics(changes in changes(), cut in any::<prop::sample::Index>()) {
        thread_local! {
            static IMAGES: Vec<Vec<u8>> = {
                let kernel = Kernel::ours().bytes();
                let packed = COMPRESSIONS.map(|it| build::bz_image(&build::payload(it, &kernel)));
                let plain = [kernel.clone(), build::arm64_image(&kernel), build::efi_zboot(&kernel)];
                packed.into_iter().chain(plain).collect()
            };
        }
        IMAGES.with(|images| for image in images {
            let mut bytes = image.clone();
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            // Headers are where it matters most.
            for (at, byte) in &changes {
                bytes[0x1f0 + at.index(0x90)] = *byte;
            }
            let _ = read(&bytes);
            let cut = cut.index(bytes.len());
            let _ = read(&bytes[..cut]);
        });
        prop_assert!(peak() < 1 << 30, "{} bytes", peak());
    }

    #[test]
    fn a_changed_payload_never_panics(changes in changes()) {
        thread_local! {
            static PAYLOADS: Vec<Vec<u8>> = {
                let kernel = Kernel::ours().bytes();
                COMPRESSIONS.map(|it| build::payload(it, &kernel)).to_vec()
            };
        }
        PAYLOADS.with(|payloads| for payload in payloads {
            let mut payload = payload.clone();
            for (at, byte) in &changes {
                let at = at.index(payload.len());
                payload[at] = *byte;
            }
            let _ = read(&build::bz_image(&payload));
        });
        prop_assert!(peak() < 1 << 30, "{} bytes", peak());
    }

    #[test]
    fn any_command_line_can_be_checked(line in "[ -~\\x00-\\x1f\u{a0}]{0,200}") {
        let _ = command_line::checks(&line, None);
        let line = format!("kho_scratch={line}");
        let _ = command_line::scratch_size(&line);
    }
}
