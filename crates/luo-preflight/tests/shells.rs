// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernels in what distributions put around them.

mod build;

use std::fs::{self, File};
use std::io::Read;

use build::Kernel;
use luo_preflight::image::{self, Compression, Error, Format, Image, Shell, Unpacked};

const FAMILIES: [&str; 4] = ["luo", "kho", "memfd", "luo-contract"];

fn unpack(bytes: &[u8]) -> Result<Unpacked, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    fs::write(&path, bytes).unwrap();
    image::unpack(&path)
}

fn read(mut unpacked: Unpacked) -> Image {
    let image = image::read_unpacked(&mut unpacked, &FAMILIES).unwrap();
    assert_eq!(image.contents.release(), Some("7.3.4-ours"));
    assert_eq!(image.contents.strings.len(), 4);
    image
}

fn content(file: Option<File>) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.expect("an initrd").read_to_end(&mut bytes).unwrap();
    bytes
}

fn bz_image() -> Vec<u8> {
    build::bz_image(&build::payload(Compression::Zstd, &Kernel::ours().bytes()))
}

#[test]
fn a_unified_image_is_taken_apart() {
    let kernel = bz_image();
    let bytes = build::unified(&[
        (".text", b"the stub"),
        (".osrel", b"ID=debian"),
        (".cmdline", b" root=/dev/vda\nliveupdate=on \0 more"),
        (".uname", b"7.3.4-ours"),
        (".ucode", b"micro"),
        (".initrd", b"initrd"),
        (".linux", &kernel),
    ]);
    let mut unpacked = unpack(&bytes).unwrap();
    assert_eq!(
        unpacked.command_line.as_deref(),
        Some("root=/dev/vda liveupdate=on")
    );
    assert_eq!(unpacked.release.as_deref(), Some("7.3.4-ours"));
    // The microcode comes first, and an archive begins at a multiple of four.
    assert_eq!(content(unpacked.initrd.take()), b"micro\0\0\0initrd\0\0");
    let mut bare = Vec::new();
    unpacked.kernel.read_to_end(&mut bare).unwrap();
    assert_eq!(bare, kernel, "not a byte more: the loader looks at its end");
    let image = read(unpacked);
    assert_eq!(image.format, Format::BzImage);
    assert_eq!(image.shells, [Shell::Unified]);
    assert_eq!(image.said_release.as_deref(), Some("7.3.4-ours"));
}

#[test]
fn sections_of_profiles_are_not_the_default() {
    let kernel = bz_image();
    let bytes = build::unified(&[
        (".linux", &kernel),
        (".profile", b"ID=rescue"),
        (".cmdline", b"rescue"),
        (".initrd", b"another"),
    ]);
    let unpacked = unpack(&bytes).unwrap();
    assert_eq!(unpacked.command_line, None);
    assert!(unpacked.initrd.is_none());
}

#[test]
fn compressed_files_and_zboot_images_are_decompressed() {
    for compression in build::COMPRESSIONS {
        let packed = read(unpack(&build::compress(compression, &bz_image())).unwrap());
        assert_eq!(packed.format, Format::BzImage);
        assert_eq!(packed.shells, [Shell::Packed(compression)]);

        let arm = build::arm64_image(&Kernel::ours().bytes());
        let zboot = build::efi_zboot(&build::compress(compression, &arm));
        let image = read(unpack(&zboot).unwrap());
        assert_eq!(image.format, Format::Image);
        assert_eq!(image.shells, [Shell::Zboot]);

        let unified = build::unified(&[(".linux", &zboot)]);
        let image = read(unpack(&unified).unwrap());
        assert_eq!(image.shells, [Shell::Unified, Shell::Zboot]);
    }
}

#[test]
fn what_is_in_no_shell_stays_as_it_is() {
    let image = read(unpack(&bz_image()).unwrap());
    assert!(image.shells.is_empty());
    let mut signed = bz_image();
    build::sign(&mut signed);
    let image = read(unpack(&signed).unwrap());
    assert!(image.signed && image.shells.is_empty());
    let text = unpack(b"#!/bin/sh").unwrap();
    assert!(text.shells.is_empty());
}

#[test]
fn shells_without_end_are_refused() {
    let mut bytes = bz_image();
    for _ in 0..3 {
        bytes = build::compress(Compression::Gzip, &bytes);
    }
    assert!(unpack(&bytes).is_ok());
    bytes = build::compress(Compression::Gzip, &bytes);
    assert!(matches!(unpack(&bytes), Err(Error::Damaged(_))));
}

#[test]
fn parts_outside_of_the_file_are_refused() {
    let kernel = bz_image();
    let whole = build::unified(&[(".cmdline", b"quiet"), (".linux", &kernel)]);
    let cut = whole.get(..whole.len() - 512).unwrap();
    assert!(matches!(unpack(cut), Err(Error::Damaged(_))));
    let long = vec![b'x'; 100_000];
    let long = build::unified(&[(".cmdline", &long), (".linux", &kernel)]);
    assert!(matches!(unpack(&long), Err(Error::Damaged(_))));
    let empty = build::unified(&[(".linux", b"")]);
    assert!(matches!(unpack(&empty), Err(Error::Damaged(_))));
    let packed = build::compress(Compression::Gzip, &kernel);
    let cut = packed.get(..packed.len() / 2).unwrap();
    assert!(matches!(unpack(cut), Err(Error::Decompress { .. })));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn damaged_headers_do_no_harm(at in 0_usize..700, byte: u8) {
        let kernel = bz_image();
        let mut bytes = build::unified(&[(".cmdline", b"quiet"), (".linux", &kernel)]);
        bytes[at] = byte;
        if let Ok(mut unpacked) = unpack(&bytes) {
            let _ = image::read_unpacked(&mut unpacked, &FAMILIES);
        }
    }
}
