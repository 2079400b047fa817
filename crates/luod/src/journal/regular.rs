// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files that administrators name, opened as files: a FIFO or a device in their place is not
//! waited for, and nothing is read without an end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a regular file, at once.
///
/// # Errors
/// It cannot be opened, or is something else.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let opened = options.custom_flags(flags.cast_signed()).open(path);
    let file = opened.map_err(|why| match why.raw_os_error() {
        // A FIFO that nobody reads.
        Some(number) if number == rustix::io::Errno::NXIO.raw_os_error() => other(),
        _ => why,
    })?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(other()),
    }
}

/// Reads a text of so many bytes at most. /dev/null is an empty one: so one names no file.
///
/// # Errors
/// As [`open`]; it is longer, or no text.
pub fn read(path: &Path, most: u64) -> io::Result<String> {
    if is_null(path) {
        return Ok(String::new());
    }
    String::from_utf8(read_bytes(path, most)?).map_err(|why| {
        let good = why.as_bytes().get(..why.utf8_error().valid_up_to());
        let lines = good.unwrap_or_default().iter();
        let line = lines.filter(|byte| **byte == b'\n').count() + 1;
        let why = format!("line {line} is no text in UTF-8: write it anew in an editor");
        io::Error::new(io::ErrorKind::InvalidData, why)
    })
}

/// Reads a file of so many bytes at most.
///
/// # Errors
/// As [`open`]; it is longer.
pub fn read_bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path, OpenOptions::new().read(true))?;
    let mut bytes = Vec::new();
    // A file of /proc says no length, so the bytes are counted.
    let count = file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match count as u64 > most {
        true => {
            let why = format!("it is longer than the {most} bytes that are read");
            Err(io::Error::other(why))
        }
        false => Ok(bytes),
    }
}

/// Whether it is the device that has nothing, by whatever name.
fn is_null(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|stat| {
        stat.file_type().is_char_device() && stat.rdev() == rustix::fs::makedev(1, 3)
    })
}

fn other() -> io::Error {
    io::Error::other("it is no regular file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_or_has_no_end_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        let kind = rustix::fs::FileType::Fifo;
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
        for path in [&fifo, folder.path(), Path::new("/dev/zero")] {
            let why = read(path, 10).unwrap_err().to_string();
            assert!(why.contains("no regular file"), "{path:?}: {why}");
        }
        let append = open(&fifo, OpenOptions::new().append(true)).unwrap_err();
        assert!(append.to_string().contains("no regular file"), "{append}");
        let file = folder.path().join("file");
        std::fs::write(&file, "0123456789").unwrap();
        assert_eq!(read(&file, 10).unwrap(), "0123456789");
        assert!(read(&file, 9).is_err());
        assert_eq!(read(Path::new("/dev/null"), 10).unwrap(), "");
        std::fs::write(&file, b"a\nb\xff\n").unwrap();
        let why = read(&file, 10).unwrap_err().to_string();
        assert!(why.starts_with("line 2 is no text in UTF-8"), "{why}");
    }
}
