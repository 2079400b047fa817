// SPDX-License-Identifier: MIT OR Apache-2.0
//! Room on disks: what begins without it ends with many failures, none of which is one of
//! what is tested.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use walkdir::WalkDir;

/// Bytes of a gigabyte, as disks are sold.
const GB: u64 = 1_000_000_000;

/// What is wanted beside what stands there, in bytes: logs, what is made anew, and what
/// other programs write meanwhile.
const SPARE: u64 = GB;

/// For what there has to be room: bytes of the cache, and of compiled programs.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    cache: u64,
    target: u64,
}

impl Needs {
    /// All of `cargo xtask test`.
    pub const TESTS: Self = Self {
        cache: 5 * GB,
        target: 4 * GB,
    };
    /// Two kernels, and a scenario with them.
    pub const KERNELS: Self = Self {
        cache: 4 * GB,
        target: 2 * GB,
    };

    /// The folders that are going to be filled.
    pub(crate) fn folders(self, cache: PathBuf, target: PathBuf) -> [Filled; 2] {
        [
            Filled {
                folder: target,
                what: "compiled programs",
                takes: self.target,
                variable: "CARGO_TARGET_DIR",
            },
            Filled {
                folder: cache,
                what: "kernels and tools",
                takes: self.cache,
                variable: "LUO_CACHE",
            },
        ]
    }
}

/// A folder that is going to be filled.
#[derive(Clone, Debug)]
pub(crate) struct Filled {
    /// Where it is. It need not be there yet.
    pub(crate) folder: PathBuf,
    /// What it is for.
    pub(crate) what: &'static str,
    /// The bytes that it has when all is built.
    pub(crate) takes: u64,
    /// The variable that names another one.
    pub(crate) variable: &'static str,
}

/// Looks whether there is room for what is not yet in these folders.
///
/// # Errors
/// There is too little, and what to do; or a disk does not answer.
pub(crate) fn ensure(folders: &[Filled]) -> Result<()> {
    let mut disks: Vec<Disk<'_>> = Vec::new();
    for filled in folders {
        let place = first_there(&filled.folder)?;
        let number = place.metadata()?.dev();
        let wants = wanted(filled.takes, used(&filled.folder));
        match disks.iter_mut().find(|disk| disk.number == number) {
            Some(disk) => disk.wants.push((filled, wants)),
            None => disks.push(Disk {
                number,
                free: free(place)?,
                wants: vec![(filled, wants)],
            }),
        }
    }
    match disks.iter().find_map(Disk::refusal) {
        Some(refusal) => bail!(refusal),
        None => Ok(()),
    }
}

struct Disk<'a> {
    number: u64,
    free: u64,
    wants: Vec<(&'a Filled, u64)>,
}

impl Disk<'_> {
    /// Why it is too small, if it is.
    fn refusal(&self) -> Option<String> {
        let wanted = self.wants.iter().map(|(_, bytes)| bytes).sum::<u64>() + SPARE;
        if wanted <= self.free {
            return None;
        }
        let mut text = format!(
            "{} of disk are free, and {} are needed:",
            shown(self.free),
            shown(wanted)
        );
        for (filled, bytes) in &self.wants {
            let Filled {
                folder,
                what,
                variable,
                ..
            } = filled;
            let folder = folder.display();
            let bytes = shown(*bytes);
            let _ = write!(
                text,
                "\n    {bytes} for {what} in {folder}; {variable} names another folder"
            );
        }
        text.push_str("\nMake room, or name folders on another disk.");
        Some(text)
    }
}

/// What a folder that has `used` bytes takes beside them.
fn wanted(takes: u64, used: u64) -> u64 {
    takes.saturating_sub(used)
}

fn shown(bytes: u64) -> String {
    let tenths = bytes / (GB / 10);
    format!("{}.{} GB", tenths / 10, tenths % 10)
}

/// The folder, or the innermost one around it that is there.
fn first_there(folder: &Path) -> Result<&Path> {
    let around = folder.ancestors().find(|path| path.exists());
    around.with_context(|| format!("no folder around {} is there", folder.display()))
}

/// The bytes that are free for who is not root.
fn free(place: &Path) -> Result<u64> {
    let disk = rustix::fs::statvfs(place).with_context(|| format!("{}", place.display()))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The bytes in a folder. What cannot be looked at counts as nothing.
fn used(folder: &Path) -> u64 {
    const BLOCK: u64 = 512;
    let files = WalkDir::new(folder).into_iter().flatten();
    let blocks = files.filter_map(|file| Some(file.metadata().ok()?.blocks()));
    blocks.sum::<u64>().saturating_mul(BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(folder: &Path, takes: u64) -> Filled {
        Filled {
            folder: folder.to_owned(),
            what: "compiled programs",
            takes,
            variable: "CARGO_TARGET_DIR",
        }
    }

    #[test]
    fn too_little_room_is_told_before_anything_is_begun() {
        let folder = tempfile::tempdir().unwrap();
        let not_yet = folder.path().join("target/debug");
        ensure(&[]).unwrap();
        let refused = ensure(&[filled(&not_yet, u64::MAX / 4)]).unwrap_err();
        let text = refused.to_string();
        let shown = not_yet.display().to_string();
        for part in ["are free", &shown, "CARGO_TARGET_DIR", "Make room"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn folders_of_one_disk_are_added_up() {
        let all = [filled(Path::new("a"), 0), filled(Path::new("b"), 0)];
        let disk = |free| Disk {
            number: 1,
            free,
            wants: all.iter().map(|filled| (filled, 2 * GB)).collect(),
        };
        assert_eq!(disk(5 * GB).refusal(), None);
        let refusal = disk(5 * GB - 1).refusal().unwrap();
        assert!(refusal.starts_with("4.9 GB of disk are free, and 5.0 GB are needed:"));
    }

    #[test]
    fn what_is_there_is_not_wanted_again() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("image"), vec![1; 100_000]).unwrap();
        let used = used(folder.path());
        assert!(used >= 100_000, "{used}");
        assert_eq!(wanted(300_000, used), 300_000 - used);
        assert_eq!(wanted(10, used), 0);
    }
}
