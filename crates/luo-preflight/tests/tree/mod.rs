// SPDX-License-Identifier: MIT OR Apache-2.0
//! A tree of files like that of a real system.

use std::fs;
use std::path::Path;

/// Puts a file there, with the folders that lead to it.
pub(crate) fn put(root: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}
