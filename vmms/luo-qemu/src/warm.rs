// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU and its libraries, read from the disk before anybody waits for them.
//!
//! A new kernel has an empty page cache, and a guest that stands still waits until the QEMU that
//! goes on with it has been read. What it consists of was known when it ran: [`keep`](crate::keep)
//! lists it. So the next boot has it read as early as there is a disk, beside all else that comes up.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

/// How the name of a list ends.
pub const LIST: &str = "files";

/// The most bytes of a list.
const MOST: u64 = 1 << 20;

/// What was read ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Files.
    pub files: usize,
    /// Bytes in them.
    pub bytes: u64,
}

/// Lists what a QEMU consists of, beside the folder in which it is kept.
///
/// # Errors
/// The list cannot be written.
pub fn list<'a>(folder: &Path, files: impl Iterator<Item = &'a PathBuf>) -> io::Result<()> {
    let paths = files.filter_map(|path| path.to_str());
    // A name with a line's end in it is one that is not read ahead.
    let lines = paths.filter(|path| !path.contains('\n'));
    let text: String = lines.flat_map(|path| [path, "\n"]).collect();
    let path = folder.with_extension(LIST);
    let next = folder.with_extension("files.next");
    fs::write(&next, text)?;
    fs::rename(next, path)
}

/// Has all that is listed in a folder read. Nobody waits until it is.
///
/// # Errors
/// The lists cannot be looked at.
pub fn all(folder: &Path) -> io::Result<Read> {
    let mut done = Read::default();
    let entries = match fs::read_dir(folder) {
        // No guest has run here.
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(done),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let is_list = path.extension().is_some_and(|end| end == LIST);
        if !is_list || fs::metadata(&path)?.len() > MOST {
            continue;
        }
        for line in fs::read_to_string(&path)?.lines() {
            // An upgrade may have taken it away.
            if let Ok(bytes) = read(Path::new(line)) {
                done.files += 1;
                done.bytes += bytes;
            }
        }
    }
    Ok(done)
}

/// Has a file read; gives its bytes.
fn read(path: &Path) -> io::Result<u64> {
    let file = File::open(path)?;
    fadvise(&file, 0, None, Advice::WillNeed)?;
    Ok(file.metadata()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_and_there_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(all(&folder.path().join("none")).unwrap(), Read::default());
        let [one, two, gone] = ["one", "two", "gone"].map(|name| folder.path().join(name));
        fs::write(&one, [1; 5000]).unwrap();
        fs::write(&two, [2; 300]).unwrap();
        list(&folder.path().join("0123abcd"), [&one, &gone].into_iter()).unwrap();
        list(&folder.path().join("4567ef01"), [&two].into_iter()).unwrap();
        let read = Read {
            files: 2,
            bytes: 5300,
        };
        assert_eq!(all(folder.path()).unwrap(), read);
    }
}
