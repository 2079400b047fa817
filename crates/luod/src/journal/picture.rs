// SPDX-License-Identifier: MIT OR Apache-2.0
//! The picture of an update that is over, for whoever has asked for one.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use luo_varlink::HistoryEntry;

/// The name that a picture has until it is whole.
fn unfinished(path: &Path) -> io::Result<PathBuf> {
    let refused = |why: &str| io::Error::new(ErrorKind::InvalidInput, why);
    let text = path.to_str().unwrap_or_default();
    if !path.is_absolute() || text.chars().any(char::is_control) {
        return Err(refused("it has to be an absolute path on one line"));
    }
    // Only a file is replaced: no device, and nothing that somebody has put there for us to
    // follow.
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => return Err(ErrorKind::IsADirectory.into()),
        Ok(there) if !there.is_file() => return Err(refused("what is there is no regular file")),
        _ => {}
    }
    let name = path
        .file_name()
        .ok_or_else(|| refused("it names no file"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".luod");
    Ok(path.with_file_name(hidden))
}

/// Makes the file that has that name until it is whole. Nothing that is there is opened: it may
/// be a link to another file, or wait for a reader. What an agent that was ended has left is
/// taken away first.
pub(super) fn create(unfinished: &Path) -> io::Result<File> {
    match File::create_new(unfinished) {
        Err(why) if why.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(unfinished)?;
            File::create_new(unfinished)
        }
        made => made,
    }
}

/// Finds out whether a picture could be written. Nothing is left of that.
///
/// # Errors
/// Why it could not.
pub fn check(path: &Path) -> io::Result<()> {
    let trial = unfinished(path)?;
    drop(create(&trial)?);
    fs::remove_file(&trial)
}

/// Writes a picture: whoever looks at the file finds all of it or what was there before.
///
/// # Errors
/// As the file system answers.
pub fn write(path: &Path, entry: &HistoryEntry) -> io::Result<()> {
    let new = unfinished(path)?;
    let mut file = create(&new)?;
    file.write_all(luo_timeline::svg(entry).as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_none_can_be_written_is_found_out_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("update.svg");
        check(&path).unwrap();
        assert!(
            fs::read_dir(&folder).unwrap().next().is_none(),
            "nothing is left"
        );
        assert!(check(folder.path()).is_err());
        assert!(check(Path::new("update.svg")).is_err());
        assert!(check(Path::new("/")).is_err());
        assert!(check(&folder.path().join("two\nlines")).is_err());
        assert!(check(&folder.path().join("missing/update.svg")).is_err());
    }

    /// What others have put there is neither replaced, nor written through, nor waited for.
    #[test]
    fn only_a_regular_file_is_replaced_and_no_link_is_followed() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        fs::write(at("precious"), "precious").unwrap();
        std::os::unix::fs::symlink(at("precious"), at("link")).unwrap();
        for odd in ["fifo", "link"] {
            let why = check(&at(odd)).unwrap_err();
            assert!(why.to_string().contains("no regular file"), "{why}");
        }
        std::os::unix::fs::symlink(at("precious"), at(".a.svg.luod")).unwrap();
        mknodat(CWD, at(".b.svg.luod"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        for name in ["a.svg", "b.svg"] {
            check(&at(name)).unwrap();
        }
        assert_eq!(fs::read_to_string(at("precious")).unwrap(), "precious");
    }
}
