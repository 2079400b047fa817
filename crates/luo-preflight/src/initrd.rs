// SPDX-License-Identifier: MIT OR Apache-2.0
//! The initrd of a target: a regular file that begins as what the kernel unpacks does, or
//! several of them, one behind the other.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use crate::image::{Compression, Error, open, without_name};
use crate::limits::MAX_IMAGE;

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
    file.rewind().map_err(Error::Io)?;
    Ok((file, length))
}

/// Puts initrds together, as boot loaders do. Gives what the kernel gets, with its length;
/// `None` if there are none. Several are copied into memory, so together they are not longer
/// than [`MAX_IMAGE`].
///
/// # Errors
/// As [`look`], with the path that it is about; [`Error::TooLong`].
pub fn together<'a>(paths: &[&'a Path]) -> Result<Option<(File, u64)>, (&'a Path, Error)> {
    let (first, more) = match *paths {
        [] => return Ok(None),
        [only] => return look(only).map(Some).map_err(|why| (only, why)),
        [first, ref more @ ..] => (first, more),
    };
    let mut all = without_name().map_err(|why| (first, why))?;
    let mut length = 0;
    for &path in [first].iter().chain(more) {
        length = append(&mut all, length, path).map_err(|why| (path, why))?;
    }
    all.rewind().map_err(|why| (first, Error::Io(why)))?;
    Ok(Some((all, length)))
}

/// Puts one behind what is there; gives the length of all.
fn append(all: &mut File, length: u64, path: &Path) -> Result<u64, Error> {
    let (file, more) = look(path)?;
    // What grows meanwhile is not read on.
    let room = MAX_IMAGE.saturating_sub(length);
    if more > room {
        return Err(Error::TooLong(length.saturating_add(more)));
    }
    // The kernel looks for the next archive at a multiple of four.
    let padding = usize::try_from(length.wrapping_neg() & 3).unwrap_or(0);
    let zeros = [0; 3];
    let zeros = zeros.get(..padding).unwrap_or_default();
    all.write_all(zeros).map_err(Error::Io)?;
    let copied = io::copy(&mut file.take(room), all).map_err(Error::Io)?;
    Ok(length.saturating_add(padding as u64).saturating_add(copied))
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
}
