// SPDX-License-Identifier: MIT OR Apache-2.0
//! Initrds as they are found on machines, whole and not.

use super::cpio::make::{archive, entry};
use super::*;

fn compress(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    let finished = "what is written to memory is written";
    match compression {
        Compression::Gzip => {
            let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            to.write_all(bytes).and_then(|()| to.finish())
        }
        Compression::Bzip2 => {
            let mut to = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            to.write_all(bytes).and_then(|()| to.finish())
        }
        Compression::Zstd => {
            let mut to = zstd::Encoder::new(Vec::new(), 3).expect(finished);
            to.include_checksum(true).expect(finished);
            to.write_all(bytes).and_then(|()| to.finish())
        }
        Compression::Xz => {
            let mut options = lzma_rust2::XzOptions::with_preset(1);
            options.set_check_sum_type(lzma_rust2::CheckType::Crc32);
            let mut to = lzma_rust2::XzWriter::new(Vec::new(), options).expect(finished);
            to.write_all(bytes).and_then(|()| to.finish())
        }
        Compression::Lzma => {
            let options = lzma_rust2::LzmaOptions::with_preset(1);
            let to = lzma_rust2::LzmaWriter::new_use_header(Vec::new(), &options, None);
            let mut to = to.expect(finished);
            to.write_all(bytes).and_then(|()| to.finish())
        }
        Compression::Lz4 => {
            let mut out = 0x184c_2102_u32.to_le_bytes().to_vec();
            for block in bytes.chunks(8 << 20) {
                let packed = lz4_flex::block::compress(block);
                out.extend((packed.len() as u32).to_le_bytes());
                out.extend(packed);
            }
            Ok(out)
        }
        Compression::Lzo => {
            // Blocks that are as long packed as they are unpacked are stored.
            let mut out =
                b"\x89LZO\0\r\n\x1a\n\x10\x40\x20\xa0\x09\x40\x01\x05\x03\0\0\x0d".to_vec();
            out.extend([0; 12]);
            out.extend(b"\x04name\0\0\0\0");
            for block in bytes.chunks(256 << 10) {
                let length = (block.len() as u32).to_be_bytes();
                out.extend([length, length, [0; 4]].concat());
                out.extend(block);
            }
            out.extend([0; 4]);
            Ok(out)
        }
    }
    .expect(finished)
}

const ALL: [Compression; 7] = [
    Compression::Gzip,
    Compression::Bzip2,
    Compression::Lzma,
    Compression::Xz,
    Compression::Lzo,
    Compression::Lz4,
    Compression::Zstd,
];

/// An initrd in a file of its own.
fn file(bytes: &[u8]) -> File {
    let mut file = without_name().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn read_bytes(bytes: &[u8]) -> Result<Archive, Error> {
    read_file(&file(bytes), &Stop::default())
}

#[test]
fn one_whose_end_is_missing_is_found_out_however_it_is_packed() {
    let whole = archive(60);
    let found = read_bytes(&whole).unwrap();
    assert_eq!((found.entries, found.has_init), (61, true));
    assert_eq!(
        (found.bytes, found.unpacked),
        (whole.len() as u64, whole.len() as u64)
    );
    assert!(!found.is_summed);
    for compression in ALL {
        let packed = compress(compression, &whole);
        let found = read_bytes(&packed).unwrap_or_else(|why| panic!("{compression}: {why}"));
        assert_eq!(found.packed, [compression]);
        assert_eq!(found.unpacked, whole.len() as u64, "{compression}");
        let is_closed = compression == Compression::Lzo;
        assert_eq!(found.closed.is_some(), is_closed);
        assert_eq!(found.entries, if is_closed { 0 } else { 61 });
        let length = packed.len();
        for cut in [
            2,
            6,
            8,
            100,
            length / 2,
            length - 4096.min(length / 3),
            length - 20,
            length - 1,
        ] {
            let why = read_bytes(&packed[..cut]).expect_err(&format!("{compression}, {cut}"));
            assert!(
                matches!(why, Error::Archive { .. } | Error::Decompress { .. }),
                "{compression}, {cut} of {length}: {why}"
            );
        }
    }
    for cut in [6, 110, 1000, whole.len() - 130, whole.len() - 1] {
        let why = read_bytes(&whole[..cut]).unwrap_err();
        assert!(matches!(why, Error::Archive { .. }), "{cut}: {why}");
    }
    // A disk that was full, or a copy that was interrupted, leaves zeros.
    let mut zeros = whole.clone();
    zeros[whole.len() / 2..].fill(0);
    assert!(read_bytes(&zeros).is_err());
}

#[test]
fn archives_and_what_is_packed_come_one_behind_the_other() {
    let (microcode, root) = (archive(1), archive(30));
    for compression in ALL.into_iter().filter(|it| *it != Compression::Lzo) {
        let packed = compress(compression, &root);
        let all = [&microcode[..], &[0; 512], &packed, &[0; 9]].concat();
        let found = read_bytes(&all).unwrap_or_else(|why| panic!("{compression}: {why}"));
        assert_eq!((found.entries, found.junk), (33, None), "{compression}");
        // What follows begins where the packed part ends, to the byte.
        let twice = [&packed[..], &[0; 8], &packed].concat();
        let found = read_bytes(&twice).unwrap_or_else(|why| panic!("{compression}: {why}"));
        assert_eq!(found.entries, 62, "{compression}");
        let tight = [&packed[..], &packed].concat();
        // LZ4 knows several magics, and what they begin is one part.
        let found = read_bytes(&tight).unwrap_or_else(|why| panic!("{compression}: {why}"));
        assert_eq!(found.entries, 62, "{compression}");
    }
    let why = read_bytes(&[&microcode[..], &[0; 2], &microcode].concat()).unwrap_err();
    assert!(why.to_string().contains("a multiple of four"), "{why}");
    // The kernel would take the second one for a block.
    let lz4 = compress(Compression::Lz4, &root);
    assert!(read_bytes(&[&lz4[..], &microcode].concat()).is_err());
    let apart = [&lz4[..], &vec![0; 8 - lz4.len() % 4], &microcode].concat();
    assert_eq!(read_bytes(&apart).unwrap().entries, 33);
}

#[test]
fn junk_behind_is_told_and_costs_nothing() {
    let whole = archive(3);
    for junk in [&b"junk"[..], &[0xff; 100_000], b"x"] {
        let found = read_bytes(&[&whole[..], junk].concat()).unwrap();
        assert_eq!(found.junk, Some(whole.len() as u64));
        assert_eq!(found.bytes, (whole.len() + junk.len()) as u64);
        let checked = check(Ok(Some(&found)), None).unwrap();
        assert_eq!(checked.status, luo_varlink::CheckStatus::Warning);
    }
    // In a part that is packed the kernel gives up as well, and where the junk ends is not
    // known.
    let packed = compress(Compression::Gzip, &[&whole[..], b"junk"].concat());
    assert!(read_bytes(&packed).is_err());
    // A boot configuration is no junk.
    let mut with = whole.clone();
    with.extend(b"a\x01\x02\0\0\0\x62\0\0\0#BOOTCONFIG\n");
    let found = read_bytes(&with).unwrap();
    assert_eq!((found.junk, found.boot_config), (None, Some(22)));
}

#[test]
fn what_the_kernel_cannot_unpack_is_refused() {
    let whole = archive(3);
    // The check of `xz` without options.
    let options = lzma_rust2::XzOptions::with_preset(1);
    let mut to = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    to.write_all(&whole).unwrap();
    let why = read_bytes(&to.finish().unwrap()).unwrap_err();
    assert!(why.to_string().contains("CRC32"), "{why}");
    // A comment in gzip's header.
    let commented = flate2::GzBuilder::new().comment("no");
    let mut to = commented.write(Vec::new(), flate2::Compression::fast());
    to.write_all(&whole).unwrap();
    assert!(read_bytes(&to.finish().unwrap()).is_err());
    // LZ4's other framing, a checksum that is wrong, and no archive in what is packed.
    let damaged = entry("070702", "a", b"b", 7);
    let none = compress(Compression::Gzip, b"0707 and no more");
    for bad in [&b"\x04\x22\x4d\x18"[..], &[damaged, whole].concat(), &none] {
        assert!(read_bytes(bad).is_err());
    }
}

#[test]
fn a_bit_that_is_wrong_is_found_where_there_is_a_checksum() {
    for compression in ALL {
        let mut packed = compress(compression, &archive(60));
        let summed = read_bytes(&packed).unwrap().is_summed;
        let middle = packed.len() / 2;
        packed[middle] ^= 0x10;
        assert!(!summed || read_bytes(&packed).is_err(), "{compression}");
    }
}

#[test]
fn a_target_without_the_decompressor_is_refused() {
    let found = read_bytes(&compress(Compression::Zstd, &archive(1))).unwrap();
    let mut image = crate::image::Image::of_config("CONFIG_RD_GZIP=y");
    let status = |image: &crate::image::Image| check(Ok(Some(&found)), Some(image)).unwrap().status;
    assert_eq!(status(&image), luo_varlink::CheckStatus::Failed);
    image = crate::image::Image::of_config("CONFIG_RD_ZSTD=y");
    assert_eq!(status(&image), luo_varlink::CheckStatus::Ok);
}

#[test]
fn who_calls_it_off_waits_for_nothing() {
    let sparse = file(&archive(1));
    sparse.set_len(MAX_INITRD).unwrap();
    let stop = Stop::default();
    stop.stop();
    assert!(matches!(read_file(&sparse, &stop), Err(Error::Io(_))));
    sparse.set_len(MAX_INITRD + 1).unwrap();
    let why = read_file(&sparse, &Stop::default()).unwrap_err();
    assert!(matches!(why, Error::TooLongToLoad(_)), "{why}");
}

#[test]
fn several_are_read_each_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let read = |paths: &[&Path]| read(paths, &Stop::default());
    let whole = archive(2);
    let first = put("first", &[&whole[..], &[0; 3]].concat());
    let second = put("second", &compress(Compression::Lz4, &whole));
    let found = read(&[&first, &second]).unwrap().unwrap();
    let bytes = std::fs::metadata(&second).unwrap().len();
    assert_eq!(
        (found.entries, found.bytes),
        (6, whole.len() as u64 + 4 + bytes)
    );
    assert_eq!(read(&[]).unwrap(), None);
    // The kernel would go wrong between them.
    let junk = put("junk", &[&whole[..], b"junk"].concat());
    let cut = put("cut", &whole[..whole.len() - 100]);
    for bad in [&second, &junk, &cut] {
        let why = read(&[bad, &first]).unwrap_err();
        assert_eq!(why.path, bad.display().to_string());
    }
    assert!(read(&[&first, &second]).is_ok() && read(&[&first, &junk]).is_ok());
}

fn is_one(bytes: &[u8]) -> bool {
    judge(&mut io::Cursor::new(bytes)).is_ok()
}

#[test]
fn what_the_kernel_unpacks_is_one() {
    assert!(is_one(b"070701 and so on"));
    assert!(is_one(b"\0\0\0\x00070702 and so on"));
    for compressed in [
        &b"\x1f\x8b\x08"[..],
        b"\x28\xb5\x2f\xfd",
        b"\x02\x21\x4c\x18",
    ] {
        assert!(is_one(compressed));
    }
    for other in [&b""[..], b"070707", b"#!/bin/sh", &[0; 20_000], b"\x7fELF"] {
        assert!(!is_one(other), "{other:?}");
    }
}

#[test]
fn several_are_put_one_behind_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let microcode = put("microcode", "070701 microcode");
    let (odd, bad) = (put("odd", "070702 odd"), put("bad", "#!/bin/sh"));
    let (mut file, length) = together(&[&odd, &microcode]).unwrap().unwrap();
    let mut all = String::new();
    file.read_to_string(&mut all).unwrap();
    assert_eq!(all, "070702 odd\0\x00070701 microcode");
    assert_eq!(length, 28);
    assert!(together(&[]).unwrap().is_none());
    // Nothing of a giant is copied.
    let giant = folder.path().join("giant");
    std::fs::copy(&odd, &giant).unwrap();
    let file = File::options().write(true).open(&giant).unwrap();
    file.set_len(8 << 40).unwrap();
    let (path, why) = together(&[&odd, &giant]).unwrap_err();
    assert_eq!(path, giant);
    assert!(matches!(why, Error::TooLong(bytes) if bytes > 8 << 40));
    let (path, why) = together(&[&odd, &bad]).unwrap_err();
    assert_eq!(path, bad);
    assert!(matches!(why, Error::NotAnArchive));
}

#[test]
fn only_a_regular_file_is_one_and_nothing_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    let kind = rustix::fs::FileType::Fifo;
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
    for path in [&fifo, folder.path(), Path::new("/dev/zero")] {
        assert!(matches!(look(path), Err(Error::NotAFile)), "{path:?}");
    }
    let file = folder.path().join("initrd");
    std::fs::write(&file, "070701 and so on").unwrap();
    assert_eq!(look(&file).unwrap().1, 16);
    std::fs::write(&file, "").unwrap();
    assert!(matches!(look(&file), Err(Error::NotAnArchive)));
}
