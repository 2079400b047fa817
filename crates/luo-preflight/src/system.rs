// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads the facts that the system tells of itself. Only this file knows where they lie.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::check::Known;
use crate::command_line::{ScratchSize, scratch_size};
use crate::guest_clock::{Clock, NOTE, parse_note};
use crate::image::abi_strings;
use crate::kconfig::Config;
use crate::limits::{MAX_CONFIG, MAX_PACKED_CONFIG, MAX_SCRATCH_AREAS, MAX_SMALL_FILE};
use crate::memory::Memory;
use crate::running::{Lockdown, Running};
use crate::scratch::Area;

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

    /// The files that a command line names and that are not there.
    #[must_use]
    pub fn missing(&self, command_line: &str) -> Vec<String> {
        let paths = crate::dangers::paths(command_line).into_iter();
        let missing = paths.filter(|(_, path)| {
            let path = self.path(path.trim_start_matches('/'));
            // A link counts: it may lead out of this tree.
            path.symlink_metadata()
                .is_err_and(|why| why.kind() == std::io::ErrorKind::NotFound)
        });
        missing.map(|(_, path)| path.to_owned()).collect()
    }

    /// The files that a command line names and that lead to a shell.
    #[must_use]
    pub fn shells(&self, command_line: &str) -> Vec<String> {
        let paths = crate::dangers::paths(command_line).into_iter();
        let shells = paths.filter(|(_, path)| self.leads_to_shell(path));
        shells.map(|(_, path)| path.to_owned()).collect()
    }

    fn leads_to_shell(&self, path: &str) -> bool {
        /// As the kernel follows at most.
        const MOST_LINKS: usize = 40;
        let mut path = PathBuf::from(path);
        for _ in 0..MOST_LINKS {
            let inside = path.strip_prefix("/").unwrap_or(&path);
            let Ok(link) = std::fs::read_link(self.root.join(inside)) else {
                return path.to_str().is_some_and(crate::dangers::is_shell);
            };
            // An absolute one takes the place of all.
            path = path.parent().unwrap_or(Path::new("/")).join(link);
        }
        false
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

    /// The limits of memory of a control group and of those that it is in, each with whose it is,
    /// the outermost first.
    ///
    /// # Errors
    /// In words: one of them cannot be read.
    pub fn memory_limits(&self, group: &str) -> Known<Vec<(String, u64)>> {
        self.limits(group, "memory.max")
    }

    /// The same of huge pages of a size.
    ///
    /// # Errors
    /// As of [`Self::memory_limits`].
    pub fn huge_limits(&self, group: &str, page: u64) -> Known<Vec<(String, u64)>> {
        self.limits(group, &crate::memory::huge_limit(page))
    }

    /// Whether control groups of version 1 limit memory.
    #[must_use]
    pub fn has_old_groups(&self) -> bool {
        let text = self.text("proc/self/cgroup").unwrap_or_default();
        text.lines().any(|line| {
            let controllers = line.split(':').nth(1).unwrap_or_default();
            controllers.split(',').any(|name| name == "memory")
        })
    }

    /// Whether huge pages count as memory of control groups, too.
    #[must_use]
    pub fn huge_pages_are_memory(&self) -> bool {
        let mounts = self.text("proc/mounts").unwrap_or_default();
        mounts.lines().any(|line| {
            let mut words = line.split(' ');
            let is_groups = words.nth(2) == Some("cgroup2");
            let options = words.next().unwrap_or_default();
            let mut options = options.split(',');
            is_groups && options.any(|option| option == "memory_hugetlb_accounting")
        })
    }

    fn limits(&self, whole: &str, file: &str) -> Known<Vec<(String, u64)>> {
        let mut limits = Vec::new();
        if whole.split('/').any(|part| part == "..") {
            return Ok(limits);
        }
        let mut group = String::new();
        for part in whole.split('/').filter(|part| !part.is_empty()) {
            group = format!("{group}/{part}");
            let path = format!("sys/fs/cgroup{group}/{file}");
            // Where nothing is counted there is no such file.
            let text = if_there(small_text(&self.path(&path)));
            let text = text.map_err(|why| format!("/{path}: {why}"))?;
            // That there is none is a word.
            if let Some(Ok(limit)) = text.map(|text| text.trim_end().parse()) {
                limits.push((group.clone(), limit));
            }
        }
        Ok(limits)
    }

    /// The scratch areas, from debugfs or else, without addresses, from the command
    /// line.
    fn scratch(&self, command_line: &str) -> Known<Vec<Area>> {
        let why = match self.scratch_of_debugfs() {
            Ok(areas) => return Ok(areas),
            Err(why) => why,
        };
        let Ok(Some(ScratchSize::Bytes {
            low,
            global,
            per_node,
        })) = scratch_size(command_line)
        else {
            return Err(why);
        };
        let nodes = self.nodes_with_memory()?;
        let of_nodes = (0..nodes).map(|_| per_node);
        let sizes = [low, global].into_iter().chain(of_nodes);
        // The kernel rounds up so that each can be a pool of movable memory.
        Ok(sizes
            .map(|bytes| Area {
                start: None,
                bytes: bytes.checked_next_multiple_of(4 << 20).unwrap_or(bytes),
            })
            .collect())
    }

    fn scratch_of_debugfs(&self) -> Known<Vec<Area>> {
        let numbers = |path: &str| {
            let text = self.text(path)?;
            let numbers = text.lines().map(|line| {
                let digits = line.trim().strip_prefix("0x")?;
                u64::from_str_radix(digits, 16).ok()
            });
            let numbers: Option<Vec<_>> = numbers.collect();
            let numbers = numbers.filter(|numbers| numbers.len() <= MAX_SCRATCH_AREAS);
            numbers.ok_or_else(|| format!("/{path} says {text:?}"))
        };
        let sizes = numbers("sys/kernel/debug/kho/out/scratch_len")?;
        let starts = numbers("sys/kernel/debug/kho/out/scratch_phys")?;
        if sizes.is_empty() || sizes.len() != starts.len() {
            return Err("debugfs shows no scratch areas".into());
        }
        let areas = starts.into_iter().zip(sizes).map(|(start, bytes)| Area {
            start: Some(start),
            bytes,
        });
        Ok(areas.collect())
    }

    /// Counts a list like `0-1,4`.
    fn nodes_with_memory(&self) -> Known<usize> {
        let path = "sys/devices/system/node/has_memory";
        let text = self.text(path)?;
        let counts = text.trim().split(',').map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
            last.checked_sub(first)?.checked_add(1)
        });
        let count = counts.sum::<Option<usize>>();
        let count = count.filter(|count| *count <= MAX_SCRATCH_AREAS);
        count.ok_or_else(|| format!("/{path} says {text:?}"))
    }

    /// The processes that have the device open, as far as this process may see that: their
    /// names and numbers.
    #[must_use]
    pub fn holders(&self) -> Vec<String> {
        self.processes(|process| {
            let mut files = fs::read_dir(process.join("fd")).ok()?.flatten();
            let is_device = |target: PathBuf| target == Path::new("/dev/liveupdate");
            files
                .any(|file| fs::read_link(file.path()).is_ok_and(is_device))
                .then_some(())
        })
    }

    /// The processes that have a session open, in the same way. Mainline's kernel does not tell
    /// the names of sessions, so none is found there.
    #[must_use]
    pub fn holders_of_session(&self, name: &str) -> Vec<String> {
        self.processes(|process| {
            let mut files = fs::read_dir(process.join("fdinfo")).ok()?.flatten();
            let is_it = |text: String| {
                let mut lines = text.lines();
                let named = lines.find_map(|line| line.strip_prefix("luo-name:"));
                named.is_some_and(|named| named.trim() == name)
            };
            files
                .any(|file| small_text(&file.path()).is_ok_and(is_it))
                .then_some(())
        })
    }

    /// The processes that have a session for the next kernel open, in the same way, but for some.
    #[must_use]
    pub fn holders_of_new_session(&self, name: &str, but: &[u32]) -> Vec<String> {
        self.processes(|process| {
            let number: u32 = process.file_name()?.to_str()?.parse().ok()?;
            if but.contains(&number) {
                return None;
            }
            let mut files = fs::read_dir(process.join("fdinfo")).ok()?.flatten();
            let is_it = |text: String| {
                let value = |key: &str| {
                    let mut lines = text.lines();
                    lines.find_map(|line| line.strip_prefix(key)).map(str::trim)
                };
                value("luo-name:") == Some(name) && value("luo-direction:") == Some("outgoing")
            };
            files
                .any(|file| small_text(&file.path()).is_ok_and(is_it))
                .then_some(())
        })
    }

    /// The names and numbers of processes of whose folder something is so.
    fn processes(&self, is_so: impl Fn(&Path) -> Option<()>) -> Vec<String> {
        let Ok(processes) = fs::read_dir(self.root.join("proc")) else {
            return Vec::new();
        };
        let named = |process: fs::DirEntry| {
            let number: u32 = process.file_name().to_str()?.parse().ok()?;
            is_so(&process.path())?;
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            Some(format!("{} ({number})", name.trim()))
        };
        processes.flatten().filter_map(named).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_init_leads_is_looked_up() {
        use std::os::unix::fs::symlink;
        let root = tempfile::tempdir().unwrap();
        for folder in ["sbin", "usr/bin"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        for name in ["zsh", "busybox", "systemd"] {
            fs::write(root.path().join("usr/bin").join(name), "").unwrap();
        }
        let links = [
            ("recover", "../usr/bin/zsh"),
            ("absolute", "/sbin/recover"),
            ("box", "/usr/bin/busybox"),
            ("init", "/usr/bin/systemd"),
            ("ring", "ring"),
        ];
        for (name, target) in links {
            symlink(target, root.path().join("sbin").join(name)).unwrap();
        }
        let system = System::at(root.path());
        let shells = |name: &str| system.shells(&format!("quiet init=/sbin/{name}"));
        assert_eq!(shells("recover"), ["/sbin/recover"]);
        assert_eq!(shells("absolute"), ["/sbin/absolute"]);
        for name in ["box", "init", "ring", "gone"] {
            assert!(shells(name).is_empty(), "{name}");
        }
    }

    #[test]
    fn who_has_a_session_for_the_next_kernel_is_found() {
        let root = tempfile::tempdir().unwrap();
        for (process, name, direction) in [
            ("34", "box", "outgoing"),
            ("35", "box", "incoming"),
            ("36", "box.2", "outgoing"),
            ("37", "box", "outgoing"),
        ] {
            let process = root.path().join("proc").join(process);
            fs::create_dir_all(process.join("fdinfo")).unwrap();
            fs::write(process.join("comm"), "vmm\n").unwrap();
            let text = format!("pos:\t0\nluo-name:      {name}\nluo-direction: {direction}\n");
            fs::write(process.join("fdinfo/5"), text).unwrap();
        }
        let system = System::at(root.path());
        assert_eq!(system.holders_of_new_session("box", &[37]), ["vmm (34)"]);
        assert!(system.holders_of_new_session("other", &[]).is_empty());
    }

    #[test]
    fn who_has_the_device_is_found() {
        let root = tempfile::tempdir().unwrap();
        let fd = |process: &str, target: &str| {
            let folder = root.path().join("proc").join(process);
            fs::create_dir_all(folder.join("fd")).unwrap();
            fs::write(folder.join("comm"), "criu\n").unwrap();
            std::os::unix::fs::symlink(target, folder.join("fd/5")).unwrap();
        };
        fd("12", "/dev/null");
        fd("34", "/dev/liveupdate");
        fd("self", "/dev/liveupdate");
        assert_eq!(System::at(root.path()).holders(), ["criu (34)"]);
        assert!(System::at("/nonexistent").holders().is_empty());
    }
}
