// SPDX-License-Identifier: MIT OR Apache-2.0
//! The initrd of a target: a regular file, or several of them, one behind the other.
//!
//! A check [reads](read) all of it, as the kernel will: one whose end is missing would be
//! jumped into like any other, and the new kernel would find no root. The loader
//! [puts the files together](together).

mod boot_config;
mod check;
mod cpio;
mod packed;
mod source;
#[cfg(test)]
mod tests;
mod walk;

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

pub(crate) use check::check;
pub use source::Stop;
pub use walk::Archive;

use crate::image::{Compression, Error, open, without_name};
use crate::limits::{MAX_IMAGE, MAX_INITRD};
use source::Part;

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

/// Why an initrd cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}")]
pub struct Unusable {
    /// Which one.
    pub path: String,
    /// What is wrong with it.
    pub why: Error,
}

/// Reads initrds that come one behind the other to their end; `None` if there are none. It
/// takes little memory, and as long as unpacking them takes.
///
/// # Errors
/// One cannot be read, or the kernel would not unpack it to its end.
pub fn read(paths: &[&Path], stop: &Stop) -> Result<Option<Archive>, Unusable> {
    let mut all: Option<Archive> = None;
    for (at, path) in paths.iter().enumerate() {
        let unusable = |why| Unusable {
            path: path.display().to_string(),
            why,
        };
        let is_last = at.saturating_add(1) == paths.len();
        let (file, bytes) = look(path).map_err(unusable)?;
        if paths.len() > 1 && bytes > MAX_IMAGE {
            return Err(unusable(Error::TooLong(bytes)));
        }
        let next = read_one(&file, is_last, stop).map_err(unusable)?;
        all = Some(match all.take() {
            Some(before) => before.and(next),
            None => next,
        });
        let bytes = all.as_ref().map_or(0, |all| all.bytes);
        if paths.len() > 1 && bytes > MAX_IMAGE {
            return Err(unusable(Error::TooLong(bytes)));
        }
    }
    Ok(all)
}

/// Reads an initrd that lies in a file to its end.
///
/// # Errors
/// As [`read`].
pub fn read_file(file: &File, stop: &Stop) -> Result<Archive, Error> {
    read_one(file, true, stop)
}

fn read_one(file: &File, is_last: bool, stop: &Stop) -> Result<Archive, Error> {
    let bytes = file.metadata().map_err(Error::Io)?.len();
    if bytes > MAX_INITRD {
        return Err(Error::TooLongToLoad(bytes));
    }
    let boot_config = match is_last {
        true => boot_config::length(file, bytes).map_err(Error::Io)?,
        false => None,
    };
    let end = bytes.saturating_sub(boot_config.unwrap_or(0));
    let found = walk::walk(Part { file, at: 0, end }, stop)?;
    let behind = |at, why| Err(Error::Archive { at, why });
    match (is_last, found.junk) {
        (false, Some(at)) => behind(
            at,
            "behind its archive stands what is none, and the kernel unpacks nothing of what follows",
        ),
        (false, None) if found.is_endless => behind(
            end,
            "LZ4 has no end: the kernel takes the initrd behind it for a part of it. Put this one \
             last",
        ),
        _ => Ok(Archive {
            bytes,
            boot_config,
            ..found
        }),
    }
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
