// SPDX-License-Identifier: MIT OR Apache-2.0
//! The initrd of a target: a regular file that begins as what the kernel unpacks does.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::image::{Compression, Error, open};

/// Bytes at the beginning that may be zero: the kernel passes over them.
const PADDING: usize = 4096;

/// The first bytes of an archive, see `Documentation/driver-api/early-userspace/buffer-format.rst`
/// of Linux.
const ARCHIVES: [&[u8]; 2] = [b"070701", b"070702"];

/// Opens an initrd, and looks whether it can be one. Gives it with its length.
///
/// # Errors
/// It cannot be read; it is no regular file; it begins as no archive does.
pub fn look(path: &Path) -> Result<(File, u64), Error> {
    let mut file = open(path)?;
    let length = file.metadata().map_err(Error::Io)?.len();
    judge(&mut file)?;
    io::Seek::rewind(&mut file).map_err(Error::Io)?;
    Ok((file, length))
}

fn judge(source: &mut impl Read) -> Result<(), Error> {
    let mut head = Vec::new();
    let mut limited = source.take(2 * PADDING as u64);
    limited.read_to_end(&mut head).map_err(Error::Io)?;
    let begin = head.iter().take(PADDING).position(|byte| *byte != 0);
    let archive = begin
        .and_then(|begin| head.get(begin..))
        .unwrap_or_default();
    let is_archive = ARCHIVES.iter().any(|magic| archive.starts_with(magic));
    match is_archive || Compression::recognise(archive).is_some() {
        true => Ok(()),
        false => Err(Error::NotAnArchive),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
