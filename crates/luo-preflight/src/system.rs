// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads the facts that the system tells of itself. Only this module knows where they lie.

mod groups;
mod holders;
mod scratch;
mod shells;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::check::Known;
use crate::guest_clock::{Clock, NOTE, parse_note};
use crate::image::abi_strings;
use crate::kconfig::Config;
use crate::limits::{MAX_CONFIG, MAX_PACKED_CONFIG, MAX_SMALL_FILE};
use crate::memory::Memory;
use crate::running::{Lockdown, Running};

/// The system, as a tree of files.
#[derive(Clone, Debug)]
pub struct System {
    root: PathBuf,
}

impl Default for System {
    fn default() -> Self {
        Self::at("/")
    }
}

impl System {
    /// The system whose files lie below `root`.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The bytes of a file; a file longer than `limit` counts as not known.
    fn bytes(&self, path: &str, limit: usize) -> Known<Vec<u8>> {
        read(&self.path(path), limit).map_err(|why| format!("/{path}: {why}"))
    }

    /// Whether there is such a file, or a link, whatever that leads to.
    fn is_there(&self, path: &str) -> Known<bool> {
        match if_there(self.path(path).symlink_metadata()) {
            Ok(found) => Ok(found.is_some()),
            Err(why) => Err(format!("/{path}: {why}")),
        }
    }

    /// A small file of one or more lines, without the last line's end.
    fn text(&self, path: &str) -> Known<String> {
        let bytes = self.bytes(path, MAX_SMALL_FILE)?;
        let text = String::from_utf8(bytes).map_err(|_| format!("/{path}: it is no text"))?;
        Ok(text.trim_end_matches('\n').to_string())
    }

    fn flag(&self, path: &str) -> Known<bool> {
        match self.text(path)?.as_str() {
            "0" => Ok(false),
            "1" => Ok(true),
            other => Err(format!("/{path} says {other:?}")),
        }
    }

    fn number(&self, path: &str) -> Known<i64> {
        let text = self.text(path)?;
        text.trim()
            .parse()
            .map_err(|_| format!("/{path} says {text:?}"))
    }

    /// Whether a kernel to jump into is loaded.
    ///
    /// # Errors
    /// In words: the kernel does not say, neither where new ones do nor where older ones do.
    pub fn is_loaded(&self) -> Known<bool> {
        self.flag("sys/kernel/kexec/loaded")
            .or_else(|_| self.flag("sys/kernel/kexec_loaded"))
    }

    /// Gathers the facts of the running kernel. No file is opened whose open would change
    /// something.
    #[must_use]
    pub fn running(&self) -> Running {
        let release = self.text("proc/sys/kernel/osrelease");
        let command_line = self.text("proc/cmdline");
        Running {
            config: self.config(release.as_deref().ok()),
            has_device: self.is_there("dev/liveupdate"),
            state: self.text("sys/kernel/liveupdate/state"),
            strings: self.strings(),
            scratch: self.scratch(command_line.as_deref().unwrap_or_default()),
            memory: self.memory(),
            is_loaded: self.is_loaded(),
            image: self.text("sys/kernel/liveupdate/image"),
            is_loading_disabled: self.flag("proc/sys/kernel/kexec_load_disabled"),
            loads_left: self.number("proc/sys/kernel/kexec_load_limit_reboot"),
            lockdown: self.lockdown(),
            memfd_noexec: self.text("proc/sys/vm/memfd_noexec"),
            clock: self.clock(),
            banner: self.text("proc/version"),
            machine: self.text("proc/sys/kernel/arch"),
            page_bytes: rustix::param::page_size() as u64,
            release,
            command_line,
        }
    }

    /// The facts that guests' clocks depend on.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let source = "sys/devices/system/clocksource/clocksource0/current_clocksource";
        let clock = Clock {
            // What cannot be looked at may be there.
            has_kvm: self.is_there("sys/module/kvm") != Ok(false),
            is_tsc: self.text(source).is_ok_and(|source| source == "tsc"),
            guests_khz: self.text(NOTE).ok().as_deref().and_then(parse_note),
            ..Clock::default()
        };
        // There is as much of it as there are processors, and they are alike.
        let mut begin = Vec::new();
        if let Ok(file) = File::open(self.path("proc/cpuinfo")) {
            // What cannot be read says nothing.
            let _ = file.take(MAX_SMALL_FILE as u64).read_to_end(&mut begin);
        }
        clock.with_processor(&String::from_utf8_lossy(&begin))
    }

    /// The configuration, from the kernel itself or from where distributions put it.
    fn config(&self, release: Option<&str>) -> Known<Config> {
        if let Ok(packed) = self.bytes("proc/config.gz", MAX_PACKED_CONFIG) {
            return Config::unpack(&packed).ok_or_else(|| "/proc/config.gz is damaged".into());
        }
        // A release is a file's name at most.
        let release = release.filter(|release| !release.contains('/'));
        let release = release.ok_or("neither /proc/config.gz nor the release is known")?;
        let places = [
            format!("boot/config-{release}"),
            format!("lib/modules/{release}/config"),
        ];
        let mut unread = String::new();
        for place in &places {
            match self.bytes(place, MAX_CONFIG).map(String::from_utf8) {
                Ok(Ok(text)) => return Ok(Config::parse(&text)),
                Ok(Err(_)) => unread.push_str(&format!(", /{place}: it is no text")),
                Err(why) => unread.push_str(&format!(", {why}")),
            }
        }
        Err(format!("no /proc/config.gz{unread}"))
    }

    /// The machine's memory.
    ///
    /// # Errors
    /// `/proc` does not say it.
    pub fn memory(&self) -> Known<Memory> {
        let text = self.text("proc/meminfo")?;
        Memory::parse(&text).ok_or_else(|| "/proc/meminfo has no MemAvailable".to_string())
    }

    fn lockdown(&self) -> Known<Lockdown> {
        let path = "sys/kernel/security/lockdown";
        // The folder is there without securityfs, too; `lsm` is not.
        if !self.is_there(path)? && self.is_there("sys/kernel/security/lsm")? {
            return Ok(Lockdown::None);
        }
        let text = self.text(path)?;
        let chosen = text
            .split_once('[')
            .and_then(|(_, rest)| rest.split_once(']'));
        match chosen.map(|(word, _)| word) {
            Some("none") => Ok(Lockdown::None),
            Some("integrity") => Ok(Lockdown::Integrity),
            Some("confidentiality") => Ok(Lockdown::Confidentiality),
            _ => Err(format!("/{path} says {text:?}")),
        }
    }

    /// The ABI strings that Kexec HandOver's tree shows.
    fn strings(&self) -> Vec<String> {
        let out = "sys/kernel/debug/kho/out";
        let places = [
            (format!("{out}/fdt"), "kho"),
            (format!("{out}/sub_fdts/LUO"), "luo"),
            (format!("{out}/sub_fdts/LUO-CONTRACT"), "luo-contract"),
        ];
        let strings = places.iter().filter_map(|(path, family)| {
            let bytes = self.bytes(path, MAX_SMALL_FILE).ok()?;
            abi_strings(&bytes, &[family]).into_iter().next()
        });
        strings.collect()
    }

    /// The ABI strings of some families in the running kernel's own image, if that is where
    /// distributions put it. An image of the same release that was built anew is another.
    ///
    /// # Errors
    /// There is no such image.
    pub fn own_strings(&self, families: &[&str]) -> Known<Vec<String>> {
        let release = self.text("proc/sys/kernel/osrelease")?;
        let version = self.text("proc/version")?;
        let mut places = vec![
            format!("boot/vmlinuz-{release}"),
            format!("usr/lib/modules/{release}/vmlinuz"),
            format!("lib/modules/{release}/vmlinuz"),
            format!("boot/Image-{release}"),
        ];
        places.retain(|_| !release.contains('/'));
        let line = self.text("proc/cmdline").unwrap_or_default();
        if let Some((_, Some(named))) = crate::command_line::parameters(&line)
            .into_iter()
            .find(|(name, _)| *name == "BOOT_IMAGE")
        {
            // GRUB names its disk before the path.
            let path = named.rsplit(')').next().unwrap_or(named);
            let path = path.trim_start_matches('/').to_owned();
            places.extend([format!("boot/{path}"), path]);
        }
        let own = |place: &String| {
            let mut unpacked = crate::image::unpack(&self.path(place)).ok()?;
            let image = crate::image::read_unpacked(&mut unpacked, families).ok()?;
            let banner = format!("Linux version {}", image.contents.banner?);
            version
                .starts_with(&banner)
                .then(|| image.contents.strings.into_iter().collect())
        };
        let found = places.iter().find_map(own);
        found.ok_or_else(|| {
            format!(
                "debugfs does not show it, and none of /{} is the running kernel's image",
                places.join(", /")
            )
        })
    }
}

/// What was found, or `None` if nothing is there. That it cannot be looked at does not mean that.
pub(crate) fn if_there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    use io::ErrorKind::{NotADirectory, NotFound};
    match found {
        Ok(found) => Ok(Some(found)),
        Err(why) if matches!(why.kind(), NotFound | NotADirectory) => Ok(None),
        Err(why) => Err(why),
    }
}

pub(crate) fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    let mut bytes = Vec::new();
    let mut limited = File::from(file).take((limit as u64).saturating_add(1));
    limited.read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        let why = format!("it has more than {limit} bytes");
        return Err(io::Error::other(why));
    }
    Ok(bytes)
}

/// The text of a small file.
pub(crate) fn small_text(path: &Path) -> io::Result<String> {
    let bytes = read(path, MAX_SMALL_FILE)?;
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is no text"))
}
