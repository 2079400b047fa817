// SPDX-License-Identifier: MIT OR Apache-2.0
//! Facts of kernel images.

mod build;

use std::io::Cursor;

use build::{COMPRESSIONS, Kernel};
use luo_preflight::image::{self, Compression, Error, Format, Image};

const FAMILIES: [&str; 4] = ["luo", "kho", "memfd", "luo-contract"];

fn read(bytes: &[u8]) -> Result<Image, Error> {
    image::read(&mut Cursor::new(bytes), &FAMILIES)
}

fn assert_is_ours(image: &Image) {
    let strings: Vec<_> = image.contents.strings.iter().map(String::as_str).collect();
    assert_eq!(strings, ["kho-v4", "luo-contract-v1", "luo-v5", "memfd-v2"]);
    assert_eq!(image.contents.release(), Some("7.3.4-ours"));
    let config = image.contents.config.as_ref().expect("a configuration");
    assert!(config.has("LIVEUPDATE"));
    assert!(!config.has("RUST"));
    assert_eq!(image.contents.bytes, Kernel::ours().bytes().len() as u64);
}

#[test]
fn each_compression_of_a_bz_image_is_looked_into() {
    let kernel = Kernel::ours().bytes();
    for compression in COMPRESSIONS {
        let bytes = build::bz_image(&build::payload(compression, &kernel));
        let image = read(&bytes).unwrap_or_else(|why| panic!("{compression}: {why}"));
        assert_is_ours(&image);
        assert_eq!(image.packed, Some(compression));
        assert_eq!(image.format, Format::BzImage);
        assert_eq!(image.machine, Some("x86_64"));
        assert_eq!(image.boot.memory_bytes, 20 << 20);
        assert_eq!(image.boot.lowest, 16 << 20);
        assert_eq!(image.boot.max_command_line, Some(2047));
        assert_eq!(image.boot.unloadable, None);
        assert!(!image.signed);
    }
}

#[test]
fn a_payload_may_be_as_it_is() {
    let image = read(&build::bz_image(&Kernel::ours().bytes())).unwrap();
    assert_is_ours(&image);
    assert_eq!(image.packed, None);
}

#[test]
fn lz4_in_several_blocks_is_read() {
    let mut kernel = vec![0; 9 << 20];
    kernel[..4].copy_from_slice(b"\x7fELF");
    kernel.extend(Kernel::ours().bytes());
    let packed = build::payload(Compression::Lz4, &kernel);
    let image = read(&build::bz_image(&packed)).unwrap();
    assert_eq!(image.contents.bytes, kernel.len() as u64);
    assert_eq!(image.contents.strings.len(), 4);
}

#[test]
fn other_formats_are_looked_into() {
    let kernel = Kernel::ours().bytes();
    let vmlinux = read(&kernel).unwrap();
    assert_is_ours(&vmlinux);
    assert_eq!(
        (vmlinux.format, vmlinux.machine),
        (Format::Elf, Some("x86_64"))
    );

    let arm = build::arm64_image(&kernel);
    let image = read(&arm).unwrap();
    assert_eq!(
        (image.format, image.machine),
        (Format::Image, Some("aarch64"))
    );
    assert_eq!(image.contents.strings.len(), 4);
    assert_eq!(image.boot.memory_bytes, 20 << 20);

    for compression in COMPRESSIONS {
        let wrapped = read(&build::compress(compression, &arm)).unwrap();
        assert_eq!(wrapped.format, Format::Image);
        assert_eq!(wrapped.wrapped, Some(compression));
        assert_eq!(wrapped.contents, image.contents);

        let zboot = read(&build::efi_zboot(&build::compress(compression, &kernel))).unwrap();
        assert_is_ours(&zboot);
        assert_eq!(
            (zboot.format, zboot.machine),
            (Format::EfiZboot, Some("aarch64"))
        );
    }
}

#[test]
fn signatures_are_seen() {
    let mut bytes = build::bz_image(&Kernel::ours().bytes());
    build::sign(&mut bytes);
    assert!(read(&bytes).unwrap().signed);
    let mut appended = build::bz_image(&Kernel::ours().bytes());
    appended.extend(b"~Module signature appended~\n");
    assert!(read(&appended).unwrap().signed);
}

#[test]
fn an_image_whose_end_is_missing_is_no_image() {
    let damaged = |bytes: &[u8], what: &str| {
        let read = read(bytes);
        assert!(matches!(read, Err(Error::Damaged(_))), "{what}: {read:?}");
    };
    let kernel = Kernel::ours().bytes();
    for compression in COMPRESSIONS {
        let whole = build::bz_image(&build::payload(compression, &kernel));
        read(&whole).unwrap();
        for missing in [1, 16, 60, 99] {
            damaged(
                &whole[..whole.len() - missing],
                &format!("{compression} -{missing}"),
            );
        }
        let mut signed = whole.clone();
        build::sign(&mut signed);
        read(&signed).unwrap();
        for missing in [16, 999] {
            damaged(
                &signed[..signed.len() - missing],
                &format!("signed {compression}"),
            );
        }
        // One that says that it is another kernel's length, unpacked.
        let mut other = whole.clone();
        let payload = build::payload(compression, &kernel).len();
        other[build::SETUP + build::BEFORE_PAYLOAD + payload - 1] ^= 1;
        assert!(read(&other).is_err(), "{compression}");
    }
}

#[test]
fn a_unified_image_whose_end_is_missing_is_no_image() {
    let kernel = build::bz_image(&Kernel::ours().bytes());
    let whole = build::unified(&[(".linux", &kernel), (".other", &[7; 5000])]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("linux.efi");
    std::fs::write(&path, &whole).unwrap();
    image::unpack(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 600]).unwrap();
    assert!(matches!(image::unpack(&path), Err(Error::Damaged(_))));
}

#[test]
fn headers_that_the_loader_refuses_are_seen() {
    let spoil = |at: usize, byte: u8| {
        let mut bytes = build::bz_image(&Kernel::ours().bytes());
        bytes[at] = byte;
        read(&bytes).unwrap().boot.unloadable
    };
    assert_eq!(spoil(0x1fe, 0), Some("it has no boot sector"));
    assert_eq!(
        spoil(0x206, 0x0b),
        Some("its boot protocol is older than 2.12")
    );
    assert_eq!(spoil(0x211, 0), Some("it is a zImage"));
    assert_eq!(spoil(0x236, 2), Some("it has no 64-bit entry"));
    assert_eq!(spoil(0x236, 1), Some("it cannot lie above 4 GiB"));
}

#[test]
fn a_second_configuration_is_taken_if_the_first_is_none() {
    let mut kernel = b"\x7fELF IKCFG_ST no gzip at all IKCFG_ED".to_vec();
    kernel.extend(Kernel::ours().bytes());
    let image = read(&kernel).unwrap();
    assert!(image.contents.config.unwrap().has("LIVEUPDATE"));
}

#[test]
fn what_is_no_kernel_is_refused() {
    let refused = |bytes: &[u8]| read(bytes).unwrap_err();
    assert!(matches!(refused(b""), Error::NotAKernel));
    assert!(matches!(refused(&[0; 10_000]), Error::NotAKernel));
    assert!(matches!(refused(b"#!/bin/sh\n"), Error::NotAKernel));
    assert!(matches!(
        refused(b"\x7fELF\x02\x01\x01 a program"),
        Error::NotAKernel
    ));
    let text = build::compress(Compression::Gzip, b"no kernel");
    assert!(matches!(refused(&text), Error::NotAKernel));
    let twice = build::bz_image(&Kernel::ours().bytes());
    let twice = build::compress(Compression::Gzip, &twice);
    assert!(matches!(refused(&twice), Error::NotAKernel));
    let lzo = build::bz_image(&build::compress(Compression::Lzo, b""));
    assert!(matches!(refused(&lzo), Error::Unsupported("LZO")));
    let nothing_known = build::bz_image(b"neither ELF nor compressed");
    assert!(matches!(refused(&nothing_known), Error::Damaged(_)));
    let empty = build::bz_image(b"");
    assert!(matches!(refused(&empty), Error::Damaged(_)));
}

#[test]
fn a_cut_image_is_refused() {
    let kernel = Kernel::ours().bytes();
    for compression in COMPRESSIONS {
        let bytes = build::bz_image(&build::payload(compression, &kernel));
        for length in [
            0x205,
            0x262,
            build::SETUP,
            bytes.len() / 2,
            bytes.len() - 101,
        ] {
            assert!(
                read(&bytes[..length]).is_err(),
                "{compression}, {length} bytes"
            );
        }
    }
}

/// Whether what is in it is right is known where it has a checksum, and not otherwise.
#[test]
fn which_images_have_a_checksum_is_known() {
    let kernel = Kernel::ours().bytes();
    let mut summed = zstd::stream::write::Encoder::new(Vec::new(), 19).unwrap();
    summed.include_checksum(true).unwrap();
    std::io::copy(&mut kernel.as_slice(), &mut summed).unwrap();
    let mut summed = summed.finish().unwrap();
    summed.extend((kernel.len() as u32).to_le_bytes());
    assert!(read(&build::bz_image(&summed)).unwrap().is_summed);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vmlinuz");
    for compression in COMPRESSIONS {
        // Zstandard may have one, and what is made here has none.
        let has_one = matches!(
            compression,
            Compression::Gzip | Compression::Bzip2 | Compression::Xz
        );
        let plain = read(&build::bz_image(&build::payload(compression, &kernel))).unwrap();
        assert_eq!(plain.is_summed, has_one, "{compression}");
        let arm = build::arm64_image(&kernel);
        let wrapped = build::compress(compression, &arm);
        assert_eq!(read(&wrapped).unwrap().is_summed, has_one, "{compression}");
        // Taken out of it, it has been looked at all the same.
        for shell in [
            wrapped,
            build::efi_zboot(&build::compress(compression, &arm)),
        ] {
            std::fs::write(&path, shell).unwrap();
            let mut unpacked = image::unpack(&path).unwrap();
            assert_eq!(unpacked.shells.len(), 1);
            let taken_out = image::read_unpacked(&mut unpacked, &FAMILIES).unwrap();
            assert_eq!(taken_out.is_summed, has_one, "{compression}");
        }
    }
    assert!(!read(&build::bz_image(&kernel)).unwrap().is_summed);
}

#[test]
fn a_damaged_payload_is_refused() {
    // LZ4's legacy framing and plain LZMA have no checksum: what is damaged there may
    // be read, as the kernel itself would.
    let kernel = Kernel::ours().bytes();
    for compression in [Compression::Gzip, Compression::Bzip2, Compression::Xz] {
        let payload = build::payload(compression, &kernel);
        let mut bytes = build::bz_image(&payload);
        let middle = build::SETUP + build::BEFORE_PAYLOAD + payload.len() / 2;
        bytes[middle] ^= 0x10;
        let refused = read(&bytes).unwrap_err();
        assert!(
            matches!(refused, Error::Decompress { .. }),
            "{compression}: {refused}"
        );
    }
}

#[test]
fn only_regular_files_are_read() {
    let refused = |path: &str| image::read_file(path.as_ref(), &FAMILIES).unwrap_err();
    assert!(matches!(refused("/dev/zero"), Error::NotAFile));
    assert!(matches!(refused("/proc"), Error::NotAFile));
    assert!(matches!(refused("/nonexistent"), Error::Io(_)));
}
