// SPDX-License-Identifier: MIT OR Apache-2.0
//! The QEMU that runs a guest, kept: if another QEMU is at its path after a jump and does not take
//! the state, the one that wrote it is started on the same memory.
//!
//! Kept is what the process has mapped of programs: QEMU, its libraries and modules, and the loader.
//! They are copied when the guest is started, for an upgrade replaces them while it runs. A folder
//! is named by the digest over all files in it, so guests share it, and it is looked at again
//! before it is used.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::warm;

/// The variable that names the folder of all that is kept.
pub const VARIABLE: &str = "LUO_QEMU_STATE_DIRECTORY";

/// The most files that a QEMU has mapped of programs.
const MOST: usize = 512;

/// A QEMU that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its folder.
    pub folder: PathBuf,
    /// The digest over its files.
    pub digest: String,
    /// The name of its program in the folder.
    pub program: String,
    /// The name of the loader there, unless the program is static.
    pub loader: Option<String>,
    /// Arguments that the program gets beside those that luo-qemu gives it: a script's that was
    /// started in its place.
    pub extra: Vec<String>,
    /// Where it looks for firmware.
    pub firmware: Vec<PathBuf>,
}

/// The folder of all that is kept, of this user.
pub(crate) fn all() -> PathBuf {
    if let Some(folder) = std::env::var_os(VARIABLE) {
        return folder.into();
    }
    let is_root = rustix::process::getuid().is_root();
    let own = std::env::var_os("HOME").filter(|_| !is_root);
    own.map_or_else(
        || "/var/lib/luo-qemu".into(),
        |home| PathBuf::from(home).join(".local/state/luo-qemu"),
    )
}

/// Keeps the QEMU of a process, which was started with one of these lines of arguments.
///
/// # Errors
/// Of the file system; or the process is none that can be kept.
pub fn keep(process: i32, lines: &[Vec<OsString>]) -> io::Result<Kept> {
    keep_in(&all(), process, lines)
}

/// Puts a folder in its place, unless the luo-qemu of another guest has put the same one there meanwhile.
fn put(half: &Path, folder: &Path) -> io::Result<()> {
    match fs::rename(half, folder) {
        Err(why) if why.kind() == io::ErrorKind::DirectoryNotEmpty => fs::remove_dir_all(half),
        renamed => renamed,
    }
}

fn keep_in(all: &Path, process: i32, lines: &[Vec<OsString>]) -> io::Result<Kept> {
    let files = programs(&fs::read_to_string(format!("/proc/{process}/maps"))?)
        .ok_or_else(|| other("a file of it was replaced already"))?;
    let links = links(&files)?;
    let exe = fs::read_link(format!("/proc/{process}/exe"))?;
    let cmdline = fs::read(format!("/proc/{process}/cmdline"))?;
    let parts = Parts::of(&files, &exe).ok_or_else(|| other("it has no program of its own"))?;
    let mut extras = lines
        .iter()
        .map(|line| extra(&cmdline, line, &parts.program));
    let extra = extras
        .find_map(|extra| extra)
        .ok_or_else(|| other("it was started with other arguments"))?;
    let digest = digest(&files, &links)?;
    let folder = all.join(digest.get(..16).unwrap_or(&digest));
    if !folder.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(all)?;
        let half = all.join(format!(".half-{}", std::process::id()));
        let _ = fs::remove_dir_all(&half);
        let copied = copy(&files, &links, &half).and_then(|()| put(&half, &folder));
        if copied.is_err() {
            // What is there of it is of no use to anybody.
            let _ = fs::remove_dir_all(&half);
        }
        copied?;
    }
    // Without it the next boot reads QEMU when it starts it.
    let _ = warm::list(&folder, files.values());
    Ok(Kept {
        folder,
        digest,
        firmware: firmware(&exe),
        program: parts.program,
        loader: parts.loader,
        extra,
    })
}

fn other(why: &str) -> io::Error {
    io::Error::other(why.to_owned())
}

/// What a process has mapped of programs and libraries, by their names. Of two with one name the
/// first counts; `None` if one is not there any more.
fn programs(maps: &str) -> Option<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let is_code = fields.nth(1).is_some_and(|mode| mode.contains('x'));
        let path = line.find('/').and_then(|from| line.get(from..));
        // What is in a memfd was made by the process itself.
        let path = path.filter(|path| is_code && !path.starts_with("/memfd:"));
        let Some(path) = path else {
            continue;
        };
        if path.ends_with(" (deleted)") {
            return None;
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        if files.len() < MOST {
            let known = files.entry(name.to_owned());
            known.or_insert_with(|| PathBuf::from(path));
        }
    }
    Some(files)
}

/// The other names of those files, by which programs ask the loader for them: links beside them.
fn links(files: &BTreeMap<String, PathBuf>) -> io::Result<BTreeMap<String, String>> {
    let mut links = BTreeMap::new();
    let folders: BTreeSet<_> = files.values().filter_map(|path| path.parent()).collect();
    for folder in folders {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let (Ok(target), Ok(name)) =
                (fs::read_link(entry.path()), entry.file_name().into_string())
            else {
                continue;
            };
            // A link to another folder is none between these.
            let target = target.to_str().filter(|target| !target.contains('/'));
            let is_ours = |target: &&str| {
                let file = files.get(*target);
                file.is_some_and(|file| file.parent() == Some(folder))
            };
            if let Some(target) = target.filter(is_ours)
                && !files.contains_key(&name)
                && links.len() < MOST
            {
                links.insert(name, target.to_owned());
            }
        }
    }
    Ok(links)
}

/// Which of the files is what.
struct Parts {
    program: String,
    loader: Option<String>,
}

impl Parts {
    fn of(files: &BTreeMap<String, PathBuf>, exe: &Path) -> Option<Self> {
        let is_loader = |name: &str| name.starts_with("ld-") || name.starts_with("ld.so");
        let loader = files.keys().find(|name| is_loader(name)).cloned();
        let name = exe.file_name()?.to_str()?.to_owned();
        // A loader that was started by hand has the program as its argument.
        let program = if is_loader(&name) {
            let mut names = files.keys();
            names.find(|name| name.starts_with("qemu-system-"))?.clone()
        } else {
            name
        };
        files
            .contains_key(&program)
            .then_some(Self { program, loader })
    }
}

/// The arguments between the program and those that luo-qemu gave.
fn extra(cmdline: &[u8], arguments: &[OsString], program: &str) -> Option<Vec<String>> {
    let line = std::str::from_utf8(cmdline.strip_suffix(b"\0")?).ok()?;
    let words: Vec<_> = line.split('\0').collect();
    let ours = arguments.iter().map(|word| word.to_str());
    let ours = ours.collect::<Option<Vec<_>>>()?;
    let before = words.strip_suffix(ours.as_slice())?;
    let is_program = |word: &&str| word.rsplit('/').next() == Some(program);
    let at = before.iter().rposition(is_program).unwrap_or(0);
    let after = before.get(at + 1..)?;
    Some(after.iter().map(|&word| word.to_owned()).collect())
}

/// Where a QEMU at that path has its firmware, in all distributions.
fn firmware(exe: &Path) -> Vec<PathBuf> {
    let prefix = exe.parent().and_then(Path::parent);
    let prefix = prefix.unwrap_or(Path::new("/usr"));
    let names = [
        "share/qemu",
        "share/seabios",
        "share/qemu-firmware",
        "lib/ipxe/qemu",
    ];
    let folders = names.map(|name| prefix.join(name));
    folders
        .into_iter()
        .filter(|folder| folder.is_dir())
        .collect()
}

/// Copies files into a new folder, with their other names.
fn copy(
    files: &BTreeMap<String, PathBuf>,
    links: &BTreeMap<String, String>,
    folder: &Path,
) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(folder)?;
    for (name, path) in files {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o500);
        let mut to = options.open(folder.join(name))?;
        io::copy(&mut File::open(path)?, &mut to)?;
        // A kexec without a shutdown writes nothing out.
        to.sync_all()?;
    }
    for (name, target) in links {
        std::os::unix::fs::symlink(target, folder.join(name))?;
    }
    File::open(folder)?.sync_all()
}

/// The digest over files: names, lengths and contents, and over their other names.
fn digest(
    files: &BTreeMap<String, PathBuf>,
    links: &BTreeMap<String, String>,
) -> io::Result<String> {
    let mut sum = Sha256::new();
    sum.update((files.len() as u64).to_le_bytes());
    let mut block = vec![0; 1 << 18];
    for (name, path) in files {
        let mut file = File::open(path)?;
        sum.update((name.len() as u64).to_le_bytes());
        sum.update(name);
        sum.update(file.metadata()?.len().to_le_bytes());
        loop {
            match file.read(&mut block)? {
                0 => break,
                read => sum.update(block.get(..read).unwrap_or_default()),
            }
        }
    }
    for text in links.iter().flat_map(|(name, target)| [name, target]) {
        sum.update((text.len() as u64).to_le_bytes());
        sum.update(text);
    }
    let bytes = sum.finalize();
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Files by their names, and links by theirs.
type Listed = (BTreeMap<String, PathBuf>, BTreeMap<String, String>);

/// What is in a folder.
fn listed(folder: &Path) -> io::Result<Listed> {
    let text = |text: OsString| text.into_string().map_err(|_| other("a name is no text"));
    let (mut files, mut links) = (BTreeMap::new(), BTreeMap::new());
    for entry in fs::read_dir(folder)?.take(2 * MOST + 1) {
        let entry = entry?;
        let name = text(entry.file_name())?;
        match fs::read_link(entry.path()) {
            Ok(target) => drop(links.insert(name, text(target.into_os_string())?)),
            Err(_) => drop(files.insert(name, entry.path())),
        }
    }
    Ok((files, links))
}

impl Kept {
    /// Whether all of it is there as it was kept.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let found = listed(&self.folder).and_then(|(files, links)| digest(&files, &links));
        found.is_ok_and(|found| found == self.digest)
    }

    /// Whether a process is this QEMU, run from here.
    #[must_use]
    pub fn runs(&self, process: i32) -> bool {
        let exe = fs::read_link(format!("/proc/{process}/exe"));
        exe.is_ok_and(|exe| exe.starts_with(&self.folder))
    }

    /// The words that start it, before QEMU's arguments.
    #[must_use]
    pub fn words(&self) -> Vec<PathBuf> {
        let mut words = Vec::new();
        if let Some(loader) = &self.loader {
            words.push(self.folder.join(loader));
            words.extend(["--library-path".into(), self.folder.clone()]);
        }
        words.push(self.folder.join(&self.program));
        for folder in &self.firmware {
            words.extend(["-L".into(), folder.clone()]);
        }
        words.extend(self.extra.iter().map(PathBuf::from));
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "55d0-55d1 r--p 00000000 fe:00 1 /usr/bin/qemu-system-x86_64\n\
        55d1-55d2 r-xp 00001000 fe:00 1    /usr/bin/qemu-system-x86_64\n\
        7f00-7f01 r-xp 00001000 fe:00 2    /usr/lib/x86_64-linux-gnu/libc.so.6\n\
        7f02-7f03 r-xp 00001000 fe:00 3    /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2\n\
        7f04-7f05 rw-s 00000000 00:01 4    /memfd:ram (deleted)\n\
        7f06-7f07 rwxp 00000000 00:00 0\n\
        7f08-7f09 r-xs 00000000 00:01 5    /memfd:tcg-jit (deleted)\n\
        7fff-8000 r-xp 00000000 00:00 0    [vdso]\n";

    #[test]
    fn what_a_process_has_mapped_of_programs_is_found() {
        let files = programs(MAPS).unwrap();
        let names: Vec<_> = files.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["ld-linux-x86-64.so.2", "libc.so.6", "qemu-system-x86_64"]
        );
        let parts = Parts::of(&files, Path::new("/usr/bin/qemu-system-x86_64")).unwrap();
        assert_eq!(parts.program, "qemu-system-x86_64");
        assert_eq!(parts.loader.as_deref(), Some("ld-linux-x86-64.so.2"));
        let by_hand = Path::new("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2");
        let parts = Parts::of(&files, by_hand).unwrap();
        assert_eq!(parts.program, "qemu-system-x86_64");
        assert!(Parts::of(&files, Path::new("/usr/bin/other")).is_none());
        let upgraded = MAPS.replace("libc.so.6\n", "libc.so.6 (deleted)\n");
        assert!(programs(&upgraded).is_none());
    }

    #[test]
    fn arguments_of_a_script_are_told_from_ours() {
        let ours = ["-nographic", "-m", "1"].map(OsString::from);
        let extra = |line: &str| extra(line.as_bytes(), &ours, "qemu-system-x86_64");
        assert_eq!(extra("qemu\0-nographic\0-m\x001\0"), Some(Vec::new()));
        let script = "/lib/ld.so\0--library-path\0/lib\0/q/qemu-system-x86_64\0-L\0/fw\0\
                      -nographic\0-m\x001\0";
        assert_eq!(extra(script), Some(vec!["-L".to_owned(), "/fw".to_owned()]));
        assert_eq!(extra("qemu\0-nographic\0"), None);
        assert_eq!(extra(""), None);
    }

    /// Programs ask for libraries by names that are links.
    #[test]
    fn other_names_come_along() {
        let from = tempfile::tempdir().unwrap();
        let library = from.path().join("libx.so.1.2");
        fs::write(&library, "x").unwrap();
        fs::write(from.path().join("other"), "").unwrap();
        for (name, target) in [("libx.so.1", "libx.so.1.2"), ("y", "other"), ("z", "/etc")] {
            std::os::unix::fs::symlink(target, from.path().join(name)).unwrap();
        }
        let files = BTreeMap::from([("libx.so.1.2".to_owned(), library)]);
        let found = links(&files).unwrap();
        assert_eq!(
            found,
            BTreeMap::from([("libx.so.1".to_owned(), "libx.so.1.2".to_owned())])
        );
        let to = from.path().join("kept");
        copy(&files, &found, &to).unwrap();
        assert_eq!(fs::read(to.join("libx.so.1")).unwrap(), b"x");
        let (kept, names) = listed(&to).unwrap();
        let sum = digest(&files, &found).unwrap();
        assert_eq!(digest(&kept, &names).unwrap(), sum);
        assert_ne!(digest(&kept, &BTreeMap::new()).unwrap(), sum);
    }

    /// This very test is kept, runs, and is known when a bit of it is another one.
    #[test]
    fn two_guests_that_keep_the_same_qemu_at_once_do_not_hinder_each_other() {
        let all = tempfile::tempdir().unwrap();
        let [one, other, folder] = ["one", "other", "kept"].map(|name| all.path().join(name));
        for half in [&one, &other] {
            fs::create_dir(half).unwrap();
            fs::write(half.join("qemu"), "program").unwrap();
            put(half, &folder).unwrap();
            assert!(!half.exists());
        }
        assert_eq!(fs::read(folder.join("qemu")).unwrap(), b"program");
        assert!(put(&one, &folder).is_err());
    }

    #[test]
    fn what_is_kept_runs_and_is_looked_at_before() {
        let all = tempfile::tempdir().unwrap();
        let own = [std::env::args_os().skip(1).collect()];
        let process = i32::try_from(std::process::id()).unwrap();
        let kept = keep_in(all.path(), process, &own).unwrap();
        assert!(kept.is_whole());
        assert_eq!(keep_in(all.path(), process, &own).unwrap(), kept);
        let words = kept.words();
        let listed = std::process::Command::new(&words[0])
            .args(&words[1..])
            .args(["--list", "what_is_kept_runs"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&listed.stdout);
        assert!(
            said.contains("what_is_kept_runs_and_is_looked_at"),
            "{said}"
        );

        let path = kept.folder.join(&kept.program);
        let mut bytes = fs::read(&path).unwrap();
        bytes[4711] ^= 1;
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        assert!(!kept.is_whole());
    }
}
