// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's root: a cpio archive written without root's help.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use cpio::newc::{Builder, ModeFileType, trailer};
use walkdir::WalkDir;

use crate::build::kernel::Images;
use crate::build::{clients, selftests};
use crate::cache::{Cache, Key, forget_oldest, write_whole};

/// Of the package `busybox-static`.
const BUSYBOX: &[&str] = &["/bin/busybox", "/usr/bin/busybox"];
const FOLDERS: &[&str] = &[
    "bin",
    "clients",
    "dev",
    "kernels",
    "proc",
    "root",
    "selftests",
    "sys",
    "tmp",
];
/// How many archives are kept.
const KEPT: usize = 12;

/// A file of a root.
#[derive(Clone, Debug)]
pub enum Node {
    /// A folder with nothing in it. Others come with what is in them.
    Folder,
    /// A copy of a file, and its permissions.
    File {
        /// Where its content is.
        from: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A symbolic link.
    Link(String),
}

/// A root by place, without a slash at the beginning.
pub type Tree = BTreeMap<String, Node>;

/// Puts the files below a folder into a tree, but only those whose places are wanted.
///
/// # Errors
/// One cannot be looked at.
pub fn add_all(tree: &mut Tree, folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<()> {
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let entry = entry.with_context(|| folder.display().to_string())?;
        let place = entry.path().strip_prefix(folder)?;
        let place = place.to_str().context("a name that is no text")?.to_owned();
        if entry.file_type().is_dir() || !wanted(&place) {
            continue;
        }
        let node = if entry.file_type().is_symlink() {
            let target = fs::read_link(entry.path())?;
            Node::Link(
                target
                    .to_str()
                    .context("a link that is no text")?
                    .to_owned(),
            )
        } else {
            use std::os::unix::fs::PermissionsExt as _;
            // Not all of it: a checkout has other permissions for each user.
            let runs = entry.metadata()?.permissions().mode() & 0o100 != 0;
            Node::File {
                from: entry.path().to_owned(),
                mode: if runs { 0o755 } else { 0o644 },
            }
        };
        tree.insert(place, node);
    }
    Ok(())
}

/// What goes into the archive.
#[derive(Debug)]
pub enum Contents<'a> {
    /// Our own init, and little else.
    Own(Own<'a>),
    /// A root with an init of its own, and the kernels that the guest can kexec into.
    Root(&'a Tree, &'a Images),
}

/// What a guest with our own init has.
#[derive(Debug)]
pub struct Own<'a> {
    /// The init program.
    pub init: &'a Path,
    /// The kernels that the guest can kexec into.
    pub kernels: &'a Images,
    /// Whether it has a shell.
    pub shell: bool,
    /// The folder with selftest programs, if any are wanted.
    pub selftests: Option<&'a Path>,
    /// The folder with our own programs in C, if any are wanted.
    pub clients: Option<&'a Path>,
    /// Further files.
    pub files: Option<&'a Tree>,
}

/// Writes the archive, named by its content, and gives its path. It has `least` MiB at
/// least.
///
/// # Errors
/// A file cannot be read or the archive cannot be written.
pub fn build(cache: &Cache, contents: &Contents<'_>, least: u32) -> Result<PathBuf> {
    let archive = archive(contents)?;
    let key = Key::default().add("archive", &archive);
    let key = match least {
        0 => key,
        _ => key.add("least", least.to_string()),
    };
    let key = key.short();
    let folder = cache.path("initramfs");
    let path = folder.join(format!("{key}.cpio"));
    if !path.exists() {
        write_whole(&path, &archive)?;
        let file = fs::File::options().write(true).open(&path)?;
        // The kernel takes zeros after an archive for nothing, and the file has a hole.
        file.set_len((u64::from(least) << 20).max(archive.len() as u64))?;
    }
    // The time is that of the last use, and this one is in use now.
    fs::File::open(&path)?.set_modified(SystemTime::now())?;
    forget_oldest(&folder, KEPT)?;
    Ok(path)
}

fn archive(contents: &Contents<'_>) -> Result<Vec<u8>> {
    let mut archive = Archive {
        bytes: Vec::new(),
        inode: 0,
    };
    match contents {
        Contents::Own(own) => archive.own(own)?,
        Contents::Root(tree, kernels) => archive.root(tree, kernels)?,
    }
    trailer(&mut archive.bytes)?;
    // The kernel wants whole words, some loaders whole sectors.
    archive
        .bytes
        .resize(archive.bytes.len().next_multiple_of(512), 0);
    Ok(archive.bytes)
}

struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    fn own(&mut self, own: &Own<'_>) -> Result<()> {
        for folder in FOLDERS {
            self.add(folder, ModeFileType::Directory, 0o755, &[], None)?;
        }
        self.console()?;
        if own.shell {
            let busybox = BUSYBOX.iter().map(Path::new).find(|path| path.exists());
            self.program(
                "bin/busybox",
                busybox.context("busybox is missing: install the package busybox-static")?,
            )?;
        }
        self.program("init", own.init)?;
        self.kernels(own.kernels)?;
        for (place, folder, programs) in [
            ("selftests", own.selftests, selftests::PROGRAMS),
            ("clients", own.clients, clients::PROGRAMS),
        ] {
            let Some(folder) = folder else {
                continue;
            };
            for program in programs {
                self.program(&format!("{place}/{program}"), &folder.join(program))?;
            }
        }
        if let Some(tree) = own.files {
            self.folders(tree)?;
            self.nodes(tree)?;
        }
        Ok(())
    }

    fn root(&mut self, tree: &Tree, kernels: &Images) -> Result<()> {
        self.folders(tree)?;
        self.console()?;
        self.nodes(tree)?;
        self.kernels(kernels)
    }

    fn folders(&mut self, tree: &Tree) -> Result<()> {
        let mut folders = BTreeSet::new();
        for (place, node) in tree {
            let above = Path::new(place).ancestors().skip(1);
            let above = above
                .filter_map(Path::to_str)
                .filter(|path| !path.is_empty());
            folders.extend(above.map(str::to_owned));
            if matches!(node, Node::Folder) {
                folders.insert(place.clone());
            }
        }
        // In this order each is behind the one that it is in.
        for folder in &folders {
            self.add(folder, ModeFileType::Directory, 0o755, &[], None)?;
        }
        Ok(())
    }

    fn nodes(&mut self, tree: &Tree) -> Result<()> {
        for (place, node) in tree {
            match node {
                Node::Folder => {}
                Node::File { from, mode } => self.file(place, from, *mode)?,
                Node::Link(to) => {
                    self.add(place, ModeFileType::Symlink, 0o777, to.as_bytes(), None)?
                }
            }
        }
        Ok(())
    }

    fn kernels(&mut self, kernels: &Images) -> Result<()> {
        for (name, image) in kernels {
            self.program(&format!("kernels/{name}"), image)?;
        }
        Ok(())
    }

    /// The kernel opens it for init before devtmpfs is mounted.
    fn console(&mut self) -> Result<()> {
        self.add("dev/console", ModeFileType::Char, 0o600, &[], Some((5, 1)))
    }

    fn program(&mut self, name: &str, path: &Path) -> Result<()> {
        self.file(name, path, 0o755)
    }

    fn file(&mut self, name: &str, path: &Path, mode: u32) -> Result<()> {
        let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        self.add(name, ModeFileType::Regular, mode, &content, None)
    }

    fn add(
        &mut self,
        name: &str,
        kind: ModeFileType,
        mode: u32,
        content: &[u8],
        device: Option<(u32, u32)>,
    ) -> Result<()> {
        self.inode += 1;
        let mut builder = Builder::new(name)
            .ino(self.inode)
            .mode(mode)
            .set_mode_file_type(kind)
            .nlink(1);
        if let Some((major, minor)) = device {
            builder = builder.rdev_major(major).rdev_minor(minor);
        }
        let size = u32::try_from(content.len())
            .with_context(|| format!("{name} is too big for an initramfs"))?;
        let mut writer = builder.write(&mut self.bytes, size);
        writer.write_all(content)?;
        writer.finish()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_lists_what_was_put_in() {
        let dir = tempfile::tempdir().unwrap();
        let init = dir.path().join("init");
        fs::write(&init, "#!").unwrap();
        let mut archive = Archive {
            bytes: Vec::new(),
            inode: 0,
        };
        archive
            .add("dev/console", ModeFileType::Char, 0o600, &[], Some((5, 1)))
            .unwrap();
        archive.program("init", &init).unwrap();
        trailer(&mut archive.bytes).unwrap();
        let mut reader = cpio::NewcReader::new(archive.bytes.as_slice()).unwrap();
        assert_eq!(reader.entry().name(), "dev/console");
        assert_eq!(
            (reader.entry().rdev_major(), reader.entry().rdev_minor()),
            (5, 1)
        );
        assert_eq!(reader.entry().mode(), 0o020_600);
        reader = cpio::NewcReader::new(reader.finish().unwrap()).unwrap();
        assert_eq!(
            (reader.entry().name(), reader.entry().file_size()),
            ("init", 2)
        );
        assert_eq!(reader.entry().mode(), 0o100_755);
    }
}
