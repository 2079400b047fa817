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
    if path.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    let name = path
        .file_name()
        .ok_or_else(|| refused("it names no file"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".luod");
    Ok(path.with_file_name(hidden))
}

/// Finds out whether a picture could be written. Nothing is left of that.
///
/// # Errors
/// Why it could not.
pub fn check(path: &Path) -> io::Result<()> {
    let trial = unfinished(path)?;
    File::create(&trial)?;
    fs::remove_file(&trial)
}

/// Writes a picture: whoever looks at the file finds all of it or what was there before.
///
/// # Errors
/// As the file system answers.
pub fn write(path: &Path, entry: &HistoryEntry) -> io::Result<()> {
    let new = unfinished(path)?;
    let mut file = File::create(&new)?;
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
}
