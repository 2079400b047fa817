// SPDX-License-Identifier: MIT OR Apache-2.0
//! Entries of the boot loader: which kernel it would start, with what initrds and what
//! command line.
//!
//! Two kinds are known, as the Boot Loader Specification has them: text files below
//! `loader/entries` (systemd-boot, and GRUB in Fedora and its relatives), and unified
//! kernel images below `EFI/Linux`. Other distributions have no entries; there is a kernel
//! at a fixed place.

mod grub;
mod order;
mod parse;
mod said;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use wildmatch::WildMatch;

use crate::limits::{MAX_ENTRIES, MAX_SMALL_FILE};
use crate::system::{if_there, read, small_text};
pub use said::Entry;

use grub::Environment;

/// Where boot partitions are mounted. What stands first comes first where two have the
/// same entry.
const BOOTS: [&str; 3] = ["boot", "efi", "boot/efi"];

/// A kernel at a fixed place, and where its initrd is.
struct Fixed {
    kernel: &'static str,
    initrds: &'static [&'static str],
}

/// Where distributions have a kernel without an entry: links that lead to the newest.
const FIXED: [Fixed; 2] = [
    // Ubuntu and its relatives; openSUSE has another name for the initrd.
    Fixed {
        kernel: "boot/vmlinuz",
        initrds: &["boot/initrd.img", "boot/initrd"],
    },
    // Debian.
    Fixed {
        kernel: "vmlinuz",
        initrds: &["initrd.img"],
    },
];

/// The variable of systemd-boot that names the entry that was chosen as the default, in the
/// boot loader or by `bootctl set-default`.
const CHOSEN: &str =
    "sys/firmware/efi/efivars/LoaderEntryDefault-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// The one that names the entry that was started last.
const LAST: &str =
    "sys/firmware/efi/efivars/LoaderEntryLastBooted-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Why there is no entry to be taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoEntry {
    /// None has this name.
    #[error("there is no boot entry {name:?}; {}", listed(.there))]
    Name {
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        there: Vec<String>,
    },
    /// It cannot be used.
    #[error("the boot entry {name:?} cannot be used: {why}")]
    Unusable {
        /// Its name.
        name: String,
        /// What is wrong about it.
        why: String,
    },
    /// What it hangs on cannot be read, so another one may be meant.
    #[error("what the boot loader would start is not known: {0}")]
    Unread(String),
    /// There is neither an entry nor a kernel at a place that is known.
    #[error(
        "there is no boot entry (/boot/loader/entries/*.conf, EFI/Linux/*.efi), and neither \
         /boot/vmlinuz nor /vmlinuz"
    )]
    None,
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "there are none".to_owned(),
        names => format!("there are {}", names.join(", ")),
    }
}

/// Finds an entry by its name, with or without `.conf` or `.efi`.
///
/// # Errors
/// [`NoEntry`]
pub fn named(root: &Path, name: &str) -> Result<Entry, NoEntry> {
    let wanted = order::bare(name).0;
    let (mut all, unread) = all(root);
    let at = all.iter().position(|found| found.name() == wanted);
    let Some(at) = at else {
        if let Some(why) = unread {
            return Err(why);
        }
        let there = all.iter().map(|found| found.name().to_owned());
        return Err(NoEntry::Name {
            name: name.to_owned(),
            there: there.collect(),
        });
    };
    let found = all.swap_remove(at);
    found
        .read(root, &Environment::read(root).map_err(NoEntry::Unread)?)
        .usable()
}

/// What the boot loader would start if nobody chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its entry.
    pub entry: Entry,
    /// What comes before it and cannot be taken, each with the reason.
    pub passed_over: Vec<String>,
}

/// The entry that the boot loader would start if nobody chose one. Without entries the
/// kernel at a fixed place.
///
/// # Errors
/// [`NoEntry`]; one that is named as the default and cannot be used is replaced by no other.
pub fn default(root: &Path) -> Result<Chosen, NoEntry> {
    let environment = Environment::read(root).map_err(NoEntry::Unread)?;
    let read = |found: Found| found.read(root, &environment);
    let (all, unread) = all(root);
    if let Some(why) = unread {
        return Err(why);
    }
    let mut all: Vec<Read> = all.into_iter().map(read).collect();
    all.sort_by(|a, b| order::compare(&a.entry, &b.entry));
    let mut passed_over = Vec::new();
    if let Some(name) = default_name(root, &environment)? {
        let pattern = WildMatch::new(order::bare(&name).0);
        let named = |read: &Read| pattern.matches(&read.entry.name);
        if let Some(at) = all.iter().position(named) {
            let entry = all.swap_remove(at).usable()?;
            return Ok(Chosen { entry, passed_over });
        }
        passed_over.push(format!(
            "the default entry {name:?} that the boot loader is told is not among its entries"
        ));
    }
    let mut unusable = None;
    for read in all {
        match read.usable() {
            Ok(entry) => return Ok(Chosen { entry, passed_over }),
            Err(why) => {
                passed_over.push(why.to_string());
                unusable.get_or_insert(why);
            }
        }
    }
    if let Some(why) = unusable {
        return Err(why);
    }
    // The one that is there counts: its neighbour may be of another system.
    let found = FIXED
        .iter()
        .find(|fixed| is_named(&root.join(fixed.kernel)));
    let entry = found.ok_or(NoEntry::None)?.read(root).usable()?;
    Ok(Chosen { entry, passed_over })
}

/// Whether there is a file, or a link that may lead nowhere; or what cannot be looked at.
fn is_named(path: &Path) -> bool {
    !matches!(if_there(path.symlink_metadata()), Ok(None))
}

impl Fixed {
    fn read(&self, root: &Path) -> Read {
        let named = |path: &&&str| is_named(&root.join(path));
        let initrd = self.initrds.iter().find(named).copied();
        let mut all = std::iter::once(self.kernel).chain(initrd);
        // A kernel without the initrd that was meant for it finds no root.
        let trouble = all.find_map(|path| match if_there(root.join(path).metadata()) {
            Ok(Some(_)) => None,
            Ok(None) => Some(format!("/{path} is a link to what is not there")),
            Err(why) => Some(format!("/{path}: {why}")),
        });
        let entry = Entry {
            name: self.kernel.to_owned(),
            kernel: root.join(self.kernel),
            initrds: initrd.into_iter().map(|path| root.join(path)).collect(),
            ..Entry::default()
        };
        Read { entry, trouble }
    }
}

/// The name of the default entry, or a pattern of names, if somebody has set it.
fn default_name(root: &Path, environment: &Environment) -> Result<Option<String>, NoEntry> {
    /// The one that was started last.
    const SAVED: &str = "@saved";
    /// The first one, by its number.
    const FIRST: &str = "0";
    let variable = |path| variable(&root.join(path));
    let mut name = variable(CHOSEN)?;
    if name.is_none() {
        name = configured(root)?;
    }
    let name = name.or_else(|| environment.get("saved_entry").map(str::to_owned));
    let name = match name.as_deref() {
        Some(SAVED) => variable(LAST)?,
        _ => name,
    };
    Ok(name.filter(|name| !name.is_empty() && name != FIRST))
}

/// An entry that was read.
struct Read {
    entry: Entry,
    /// Why it cannot be used.
    trouble: Option<String>,
}

impl Read {
    fn usable(self) -> Result<Entry, NoEntry> {
        match self.trouble {
            None => Ok(self.entry),
            Some(why) => Err(NoEntry::Unusable {
                name: self.entry.name,
                why,
            }),
        }
    }
}

/// A file of an entry.
enum Found {
    Text { boot: &'static str, path: PathBuf },
    Unified(PathBuf),
}

impl Found {
    fn path(&self) -> &Path {
        match self {
            Self::Text { path, .. } | Self::Unified(path) => path,
        }
    }

    fn name(&self) -> &str {
        let name = self.path().file_name().and_then(|name| name.to_str());
        order::bare(name.unwrap_or_default()).0
    }

    fn is_given_up(&self) -> bool {
        let name = self.path().file_name().and_then(|name| name.to_str());
        order::bare(name.unwrap_or_default()).1
    }

    fn read(self, root: &Path, environment: &Environment) -> Read {
        let mut entry = Entry {
            name: self.name().to_owned(),
            is_given_up: self.is_given_up(),
            ..Entry::default()
        };
        let trouble = match self {
            Self::Unified(kernel) => {
                entry.kernel = kernel;
                None
            }
            Self::Text { boot, path } => entry.fill(boot, &path, root, environment).err(),
        };
        Read { entry, trouble }
    }
}

/// All entries that there are, each name once; and why there may be more.
fn all(root: &Path) -> (Vec<Found>, Option<NoEntry>) {
    let mut unread = None;
    let mut files = |folder: &Path, extension| match files(folder, extension) {
        Ok(files) => files,
        Err(why) => {
            unread.get_or_insert(not_read(folder, &why));
            Vec::new()
        }
    };
    let mut all: Vec<Found> = Vec::new();
    let mut add = |found: Found| {
        let is_new = all.iter().all(|known| known.name() != found.name());
        if is_new && !found.name().is_empty() && all.len() < MAX_ENTRIES {
            all.push(found);
        }
    };
    for boot in BOOTS {
        let base = root.join(boot);
        for path in files(&base.join("loader/entries"), "conf") {
            add(Found::Text { boot, path });
        }
        for path in files(&base.join("EFI/Linux"), "efi") {
            add(Found::Unified(path));
        }
    }
    (all, unread)
}

fn files(folder: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in if_there(fs::read_dir(folder))?.into_iter().flatten() {
        let path = entry?.path();
        let its = path.extension().and_then(|its| its.to_str());
        if its.is_some_and(|its| its.eq_ignore_ascii_case(extension)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// An error of a file that may say what the default is.
fn not_read(path: &Path, why: &io::Error) -> NoEntry {
    NoEntry::Unread(format!("{}: {why}", path.display()))
}

/// A text that is a variable of the firmware.
fn variable(path: &Path) -> Result<Option<String>, NoEntry> {
    let bytes = if_there(read(path, MAX_SMALL_FILE)).map_err(|why| not_read(path, &why))?;
    let bytes = bytes.unwrap_or_default();
    // Four bytes of attributes, and UTF-16 with a zero at the end.
    let words = bytes.get(4..).unwrap_or_default().chunks_exact(2);
    let words = words.map(|word| u16::from_le_bytes([word[0], word[1]]));
    let words: Vec<u16> = words.take_while(|word| *word != 0).collect();
    let name = String::from_utf16(&words).ok();
    Ok(name.filter(|name| !name.is_empty()))
}

/// The default that `loader.conf` names.
fn configured(root: &Path) -> Result<Option<String>, NoEntry> {
    for boot in BOOTS {
        let path = root.join(boot).join("loader/loader.conf");
        let text = if_there(small_text(&path)).map_err(|why| not_read(&path, &why))?;
        let text = text.unwrap_or_default();
        let lines = parse::lines(&text).filter(|(key, _)| *key == "default");
        if let Some((_, value)) = lines.last() {
            return Ok(Some(value.to_owned()));
        }
    }
    Ok(None)
}
