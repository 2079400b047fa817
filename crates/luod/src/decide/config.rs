// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configuration file.
//!
//! ```toml
//! prepare_deadline = 60        # seconds a workload has to get ready
//! freeze_deadline = 10         # seconds a workload has to stand still
//! kernel_deadline = 120        # seconds that the kernel has for a step
//! restore_deadline = 120       # seconds after the jump, then what is unclaimed is finished
//! unclaimed = "finish"         # or "keep": wait for ever
//! jump = "direct"              # or "systemctl": through `systemctl kexec`
//! guest_clock = "hand_on"      # or "leave": whether a next kernel gets the guests' tsc_early_khz=
//!
//! [target]                     # what an update without arguments jumps into; if nothing is
//! image = "/boot/vmlinuz"      # named, what the boot loader would start
//! initrd = "/boot/initrd.img"  # or ["/boot/microcode.img", "/boot/initrd.img"]
//! command_line = "..."         # else the entry's, the image's own, or the running kernel's
//! # entry = "fedora-7.3.4"     # an entry of the boot loader, in place of the image
//!
//! [checks]
//! ignore = ["target-signature"] # what these find is a warning, and stops nothing
//! root = "/"                   # where /proc, /sys and /boot are looked for
//!
//! [fleet]                      # by whose leave the machine is updated, see `fleet`
//! server = "https://fleet.example.org:7443"
//!
//! [workload.vm-7]              # other deadlines for one workload, or for ["vm-*"]
//! prepare_deadline = 300
//! ```

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use luo_varlink::{Step, Target};
use serde::Deserialize;
use wildmatch::WildMatch;

use super::fleet::Fleet;
use super::lines::Part::{self, At, Key};
use super::lines::{line_of, place, plainly, together};
use super::misfit::{self, Misfit};
use super::names;
pub use super::seconds::Seconds;

/// The configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Seconds.
    pub prepare_deadline: Seconds,
    /// Seconds.
    pub freeze_deadline: Seconds,
    /// Seconds.
    pub kernel_deadline: Seconds,
    /// Seconds.
    pub restore_deadline: Seconds,
    /// The fate of sessions that nobody has claimed by the restore deadline.
    pub unclaimed: Unclaimed,
    /// How the machine jumps.
    pub jump: Jump,
    /// Whether the next kernel is told the frequency of the guests' TSC.
    pub guest_clock: GuestClock,
    /// Where the history is.
    pub state_directory: PathBuf,
    /// The kernel to jump into if none is named.
    pub target: TargetConfig,
    /// The checks before an update.
    pub checks: ChecksConfig,
    /// By whose leave the machine is updated.
    pub fleet: Option<Fleet>,
    /// Deadlines of some workloads.
    pub workload: BTreeMap<String, Deadlines>,
}

/// The fate of sessions that nobody has claimed by the restore deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unclaimed {
    /// They are finished, which releases them.
    Finish,
    /// They are kept until somebody claims them or an administrator ends it.
    Keep,
}

/// How the machine jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Jump {
    /// The agent itself calls reboot(2).
    Direct,
    /// `systemctl kexec`, which shuts services down before.
    Systemctl,
}

/// Whether the next kernel is told the frequency of the guests' TSC, where their clocks may leap and the
/// target's command line says nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestClock {
    /// It is, by `tsc_early_khz=`.
    HandOn,
    /// The command line is left as it is.
    Leave,
}

/// The kernel to jump into if none is named.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TargetConfig {
    /// The image.
    pub image: Option<String>,
    /// The initrd, or several, in order.
    pub initrd: Paths,
    /// The command line.
    pub command_line: Option<String>,
    /// An entry of the boot loader, in place of the image.
    pub entry: Option<String>,
}

/// A path, or a list of paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "OneOrMore")]
pub struct Paths(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged, expecting = "a path, or a list of paths, is expected here")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl From<OneOrMore> for Paths {
    fn from(paths: OneOrMore) -> Self {
        Self(match paths {
            OneOrMore::One(path) => vec![path],
            OneOrMore::More(paths) => paths,
        })
    }
}

/// The checks before an update.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChecksConfig {
    /// Names of checks whose failure is a warning only.
    pub ignore: Vec<String>,
    /// Where the system's files are looked for; for simulations.
    pub root: PathBuf,
}

impl Default for ChecksConfig {
    fn default() -> Self {
        Self {
            ignore: Vec::new(),
            root: "/".into(),
        }
    }
}

/// Deadlines of one workload.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Deadlines {
    /// Seconds.
    pub prepare_deadline: Option<Seconds>,
    /// Seconds.
    pub freeze_deadline: Option<Seconds>,
}

impl Default for Config {
    fn default() -> Self {
        let seconds = |seconds| Seconds(Duration::from_secs(seconds));
        Self {
            prepare_deadline: seconds(60),
            freeze_deadline: seconds(10),
            kernel_deadline: seconds(120),
            restore_deadline: seconds(120),
            unclaimed: Unclaimed::Finish,
            jump: Jump::Direct,
            guest_clock: GuestClock::HandOn,
            state_directory: "/var/lib/luod".into(),
            target: TargetConfig::default(),
            checks: ChecksConfig::default(),
            fleet: None,
            workload: BTreeMap::new(),
        }
    }
}

/// The names of all checks.
pub const CHECKS: [&str; 39] = [
    "closing",
    "custody",
    "descriptors",
    "file-facts",
    "file-kind",
    "file-limit",
    "file-memory",
    "file-object",
    "file-seals",
    "file-size",
    "guest-clock",
    "history",
    "jump-shutdown",
    "jump-stores",
    "memory",
    "notes",
    "report",
    "running-configuration",
    "running-device",
    "running-handlers",
    "running-image",
    "running-kexec",
    "running-liveupdate",
    "running-memfd",
    "running-sessions",
    "running-state",
    "scratch",
    "target-abi",
    "target-command-line",
    "target-entry",
    "target-image",
    "target-initrd",
    "target-kho",
    "target-luo",
    "target-memfds",
    "target-pages",
    "target-signature",
    "workload-memory",
    "workloads",
];

/// Why a text is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum BadConfig {
    /// It cannot be parsed.
    #[error("{}", plainly(.0))]
    Syntax(toml::de::Error),
    /// A key that nobody knows, or a value of another kind.
    #[error("{0}")]
    Misfit(Misfit),
    /// More than one value.
    #[error("{}", together(.0))]
    Several(Vec<Self>),
    /// A value that nobody means.
    #[error("{}{key}: {why}", place(*.line))]
    Value {
        /// The line that it stands in, if it stands in the text.
        line: Option<usize>,
        /// Its name.
        key: String,
        /// The fault, and what to write.
        why: String,
    },
}

/// The last key of a way, as a reader looks for it; of a workload, its table's header.
fn name(way: &[Part<'_>]) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    match way {
        [Key(WORKLOAD), Key(name)] => {
            let is_bare = !name.is_empty() && name.bytes().all(is_bare);
            let name = match is_bare {
                true => (*name).to_owned(),
                false => toml::Value::from(*name).to_string(),
            };
            format!("[{WORKLOAD}.{name}]")
        }
        _ => {
            let mut keys = way.iter().rev().filter_map(|part| match part {
                Key(key) => Some(*key),
                At(_) => None,
            });
            keys.next().unwrap_or_default().to_owned()
        }
    }
}

impl BadConfig {
    /// A value that a way in a text leads to.
    #[must_use]
    pub fn value(text: &str, way: &[Part<'_>], why: impl Into<String>) -> Self {
        Self::Value {
            line: line_of(text, way),
            key: name(way),
            why: why.into(),
        }
    }
}

/// The table of deadlines of some workloads.
const WORKLOAD: &str = "workload";

/// The table that says by whose leave the machine is updated.
const FLEET: &str = "fleet";

/// The ways to what is looked at.
const STATE: &[Part<'_>] = &[Key("state_directory")];
/// Where the system's files are looked for.
pub const ROOT: &[Part<'_>] = &[Key("checks"), Key("root")];
const IMAGE: &[Part<'_>] = &[Key("target"), Key("image")];
const ENTRY: &[Part<'_>] = &[Key("target"), Key("entry")];
const LINE: &[Part<'_>] = &[Key("target"), Key("command_line")];

/// The fault of a value: the way to it, and why.
type Wrong<'a> = (Vec<Part<'a>>, String);

/// A way, and what it leads to, if that is there.
type Text<'a> = (&'static [Part<'static>], Option<&'a str>);

/// Those that are there.
fn set<'a>(texts: &[Text<'a>]) -> impl Iterator<Item = (Vec<Part<'a>>, &'a str)> {
    let there = texts
        .iter()
        .filter_map(|(way, text)| Some((*way, (*text)?)));
    there.map(|(way, text)| (way.to_vec(), text))
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// The text is no configuration; the error says where.
    pub fn parse(text: &str) -> Result<Self, BadConfig> {
        let (config, misfits) = misfit::read::<Self>(text).map_err(BadConfig::Syntax)?;
        // A fault of the rest may follow from the misfits that were taken out.
        let is_untold = |way: &[Part<'_>]| {
            let of_fleet = matches!(way.first(), Some(Key(key)) if *key == FLEET);
            of_fleet && misfits.iter().any(|misfit| misfit.is_in(FLEET))
        };
        let values = config.iter().flat_map(Self::wrong);
        let values = values.filter(|(way, _)| !is_untold(way));
        let values: Vec<_> = values
            .map(|(way, why)| BadConfig::value(text, &way, why))
            .collect();
        let mut wrong: Vec<_> = misfits.into_iter().map(BadConfig::Misfit).collect();
        wrong.extend(values);
        match (config, wrong.len()) {
            (Some(config), 0) => Ok(config),
            (_, 1) => Err(wrong.remove(0)),
            _ => Err(BadConfig::Several(wrong)),
        }
    }

    /// Looks for values that can be parsed, and that nobody means or that can never work.
    fn wrong(&self) -> Vec<Wrong<'_>> {
        let mut wrong = self.wrong_paths();
        self.look_at_others(&mut wrong);
        if let Some(fleet) = &self.fleet
            && let Err((key, why)) = fleet.check()
        {
            wrong.push((vec![Key(FLEET), Key(key)], why));
        }
        wrong.extend(self.workload.keys().filter_map(|name| {
            let why = names::check_pattern(name).err()?;
            let why = format!("{why}, or write a pattern like \"vm-*\"");
            Some((vec![Key(WORKLOAD), Key(name)], why))
        }));
        wrong
    }

    /// The initrds, each with the way to it.
    fn initrds(&self) -> impl Iterator<Item = (Vec<Part<'_>>, &str)> {
        let all = self.target.initrd.0.iter().enumerate();
        all.map(|(at, path)| (vec![Key("target"), Key("initrd"), At(at)], path.as_str()))
    }

    fn wrong_paths(&self) -> Vec<Wrong<'_>> {
        let mut wrong = Vec::new();
        let paths = [
            (STATE, self.state_directory.to_str()),
            (ROOT, self.checks.root.to_str()),
            (IMAGE, self.target.image.as_deref()),
        ];
        let texts = [
            (ENTRY, self.target.entry.as_deref()),
            (LINE, self.target.command_line.as_deref()),
        ];
        for (way, path) in set(&paths).chain(self.initrds()) {
            if !path.starts_with('/') {
                let why = "a path begins with /, for luod runs in a folder of its own";
                wrong.push((way, why.to_owned()));
                continue;
            }
            if Path::new(path)
                .components()
                .any(|part| part == Component::ParentDir)
            {
                wrong.push((way, "write the path without ..".to_owned()));
                continue;
            }
            // Nothing that is written there is on a disk, or could be written at all.
            let is_kernels = ["/proc", "/sys", "/dev"]
                .iter()
                .any(|kernels| Path::new(path).starts_with(kernels));
            if way == STATE && is_kernels && !Path::new(path).starts_with("/dev/shm") {
                let why = "the kernel makes the files there: name a directory on a disk, as \
                           /var/lib/luod is";
                wrong.push((way, why.to_owned()));
            }
        }
        for (way, text) in set(&paths).chain(set(&texts)).chain(self.initrds()) {
            if text.contains('\0') {
                let why = "no path and no command line has a NUL in it";
                wrong.push((way, why.to_owned()));
            } else if text.contains(['\n', '\r']) {
                wrong.push((way, "it has more than one line: write it in one".to_owned()));
            }
        }
        wrong
    }

    fn look_at_others<'a>(&'a self, wrong: &mut Vec<Wrong<'a>>) {
        if let Some(entry) = &self.target.entry {
            if self.target.image.is_some() {
                let why = "an entry has its own image: name one of the two".to_owned();
                wrong.push((ENTRY.to_vec(), why));
            } else if entry.trim().is_empty() {
                let why = "no entry has an empty name; leave it out to take the boot loader's \
                           default";
                wrong.push((ENTRY.to_vec(), why.to_owned()));
            }
        }
        if let Some(line) = &self.target.command_line
            && line.trim().is_empty()
        {
            let why = "an empty command line does not turn on live update; leave it out to take \
                       that of the image or of the running kernel";
            wrong.push((LINE.to_vec(), why.to_owned()));
        }
        let ignored = self.checks.ignore.iter().enumerate();
        let unknown = ignored.filter(|(_, name)| !CHECKS.contains(&name.as_str()));
        wrong.extend(unknown.map(|(at, unknown)| {
            let why = format!(
                "there is no check {unknown:?}; the checks are {}",
                CHECKS.join(", ")
            );
            (vec![Key("checks"), Key("ignore"), At(at)], why)
        }));
    }

    /// How long a workload has for a step.
    #[must_use]
    pub fn patience(&self, workload: &str, step: Step) -> Duration {
        // A workload's own entry comes before patterns, and of those the longest.
        let own = self.workload.get(workload).or_else(|| {
            let patterns = self.workload.iter();
            let fitting = patterns.filter(|(name, _)| WildMatch::new(name).matches(workload));
            let longest = fitting.max_by_key(|(name, _)| name.len());
            longest.map(|(_, deadlines)| deadlines)
        });
        let (own, all) = match step {
            Step::Prepare => (
                own.and_then(|own| own.prepare_deadline),
                self.prepare_deadline,
            ),
            Step::Freeze => (
                own.and_then(|own| own.freeze_deadline),
                self.freeze_deadline,
            ),
        };
        own.unwrap_or(all).0
    }

    /// Completes a target: whatever it does not name is taken from here.
    #[must_use]
    pub fn complete(&self, target: &Target) -> Target {
        let mut all = target.clone();
        // An initrd belongs to its image, so it is not used with another image.
        if all.image.is_none() && all.entry.is_none() {
            all.image.clone_from(&self.target.image);
            all.entry.clone_from(&self.target.entry);
            if all.initrd.is_none() {
                let mut initrds = self.target.initrd.0.iter().cloned();
                all.initrd = initrds.next();
                all.more_initrds = Some(initrds.collect()).filter(|all: &Vec<_>| !all.is_empty());
            }
        }
        // An entry that was named has a command line of its own.
        if target.entry.is_none() {
            let line = self.target.command_line.clone();
            all.command_line = all.command_line.or(line);
        }
        all
    }
}
