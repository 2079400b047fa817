// SPDX-License-Identifier: MIT OR Apache-2.0
//! The descriptor stores of other units. systemd 261 and newer take those with
//! `FileDescriptorStorePreserve=yes` along through a kexec, as the last that they do in a
//! shutdown. With `jump = "direct"` there is none, and what is in them is lost without a word:
//! so a check fails before, unless an administrator has it ignored by its name.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use luo_varlink::{Check, CheckStatus};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The first release of systemd that takes stores along.
const SINCE: u32 = 261;

/// How long the manager has to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read: some 100 of each unit.
const MOST_SAID: usize = 8 << 20;

/// Units that are named.
const MOST_NAMED: usize = 10;

/// The properties that are asked of each service.
const PROPERTIES: &str = "--property=Id,FileDescriptorStorePreserve,NFileDescriptorStore";

/// The check of a jump without a shutdown: whether units of others have something in stores that
/// systemd would take along. Nothing is said where it takes none along, and where none has
/// anything.
#[must_use]
pub fn check(root: &Path) -> Option<Check> {
    check_by(Path::new("systemctl"), root)
}

fn check_by(systemctl: &Path, root: &Path) -> Option<Check> {
    // Where that cannot be looked at, systemctl says whether it runs.
    if let Ok(false) = root.join("run/systemd/system").try_exists() {
        return None;
    }
    let Some(manager) = said(systemctl, &["show", "--property=Version"]) else {
        return Some(unknown());
    };
    if version(&manager)? < SINCE {
        return None;
    }
    match said(systemctl, &["show", PROPERTIES, "--", "*.service"]) {
        Some(units) => judge(&losers(&units, own_unit(root).as_deref())),
        None => Some(unknown()),
    }
}

/// The number in `Version=261.2-1`.
fn version(said: &str) -> Option<u32> {
    let value = said.trim().strip_prefix("Version=")?;
    let end = value.find(|letter: char| !letter.is_ascii_digit());
    value.get(..end.unwrap_or(value.len()))?.parse().ok()
}

/// The unit that the agent itself runs in: what is in its store lies in the kernel.
fn own_unit(root: &Path) -> Option<String> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    path.rsplit('/').next().map(str::to_owned)
}

/// Units whose stores systemd would take along and that have something in them, with how many
/// descriptors that are. The properties of a unit are lines, and an empty line ends them.
fn losers(said: &str, own: Option<&str>) -> Vec<(String, u64)> {
    let unit = |lines: &str| {
        let value = |key: &str| {
            let mut lines = lines.lines();
            lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        };
        let name = value("Id")?;
        let count = value("NFileDescriptorStore")?.parse().ok()?;
        let is_one = value("FileDescriptorStorePreserve")? == "yes" && count > 0;
        (is_one && Some(name) != own).then(|| (name.to_owned(), count))
    };
    said.split("\n\n").filter_map(unit).collect()
}

fn judge(losers: &[(String, u64)]) -> Option<Check> {
    if losers.is_empty() {
        return None;
    }
    let named = losers.iter().take(MOST_NAMED);
    let named = named.map(|(unit, count)| format!("{unit} ({count})"));
    let mut units = named.collect::<Vec<_>>().join(", ");
    if let Some(more @ 1..) = losers.len().checked_sub(MOST_NAMED) {
        units.push_str(&format!(", and {more} more"));
    }
    let found = format!(
        "luod jumps without a shutdown (jump = \"direct\"), so systemd takes no descriptor store \
         along, and what is in those of {units} is lost"
    );
    let remedy = "set jump = \"systemctl\" in luod.toml, or have their programs preserve it \
                  through luod; to lose it, ignore = [\"jump-stores\"] in [checks]";
    Some(told(CheckStatus::Failed, found, remedy))
}

/// systemd does not say who has anything.
fn unknown() -> Check {
    told(
        CheckStatus::Unknown,
        "systemctl does not say in time whether units have descriptor stores that systemd would \
         take along, and that are lost with jump = \"direct\""
            .to_owned(),
        "`systemctl show --property=NFileDescriptorStore '*.service'` says it; jump = \
         \"systemctl\" in luod.toml takes them along",
    )
}

fn told(status: CheckStatus, found: String, remedy: &str) -> Check {
    Check {
        name: "jump-stores".to_owned(),
        status,
        found,
        remedy: Some(remedy.to_owned()),
    }
}

/// The output of systemctl, if it ends well within [`PATIENCE`].
fn said(systemctl: &Path, arguments: &[&str]) -> Option<String> {
    let mut child = Command::new(systemctl)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let said = read_in_time(&mut child);
    if said.is_none() {
        // It may have ended by itself.
        let _ = child.kill();
    }
    let ended = child.wait().ok()?;
    said.filter(|_| ended.success())
}

fn read_in_time(child: &mut Child) -> Option<String> {
    let mut output = child.stdout.take()?;
    let begun = Instant::now();
    let (mut said, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let left = PATIENCE.saturating_sub(begun.elapsed());
        let left = Timespec::try_from(left).ok()?;
        let mut fds = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&left)) {
            Ok(0) => return None,
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return None,
            Ok(_) => {}
        }
        match output.read(&mut chunk) {
            Ok(0) => return String::from_utf8(said).ok(),
            Ok(length) => said.extend_from_slice(chunk.get(..length)?),
            Err(_) => return None,
        }
        if said.len() > MOST_SAID {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const UNITS: &str = "Id=store.service\nFileDescriptorStorePreserve=yes\n\
                         NFileDescriptorStore=3\n\n\
                         NFileDescriptorStore=2\nId=luod.service\nFileDescriptorStorePreserve=yes\n\n\
                         Id=empty.service\nFileDescriptorStorePreserve=yes\n\
                         NFileDescriptorStore=0\n\n\
                         Id=restart.service\nFileDescriptorStorePreserve=restart\n\
                         NFileDescriptorStore=7\n";

    #[test]
    fn stores_that_would_go_along_and_have_something_are_lost() {
        let own = Some("luod.service");
        let lost = losers(UNITS, own);
        assert_eq!(lost, [("store.service".to_owned(), 3)]);
        let check = judge(&lost).unwrap();
        assert_eq!(check.status, CheckStatus::Failed);
        assert!(check.found.contains("store.service (3)"), "{check:?}");
        assert!(check.remedy.unwrap().contains("jump = \"systemctl\""));
        assert_eq!(losers(UNITS, None).len(), 2);
        assert_eq!(judge(&[]), None);
        let many: Vec<_> = (0..12).map(|at| (format!("{at}.service"), 1)).collect();
        assert!(judge(&many).unwrap().found.contains("and 2 more"));
        // systemd before 254 does not know the setting.
        assert!(losers("Id=a.service\nNFileDescriptorStore=1\n", own).is_empty());
    }

    #[test]
    fn the_version_is_read() {
        assert_eq!(version("Version=261.2-1\n"), Some(261));
        assert_eq!(version("Version=262~rc1\n"), Some(262));
        assert_eq!(version("Version=252.38-1~deb12u1"), Some(252));
        assert_eq!(version("Version=\n"), None);
        assert_eq!(version(""), None);
    }

    /// A machine with a made-up systemctl, that says so of the manager, and this of its units.
    fn found(version: &str, units: &str) -> Option<Check> {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let systemctl = root.join("systemctl");
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *=Version) {version};; *\\*.service) {units};; *) exit 1;; esac\n"
        );
        fs::write(&systemctl, script).unwrap();
        fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(check_by(&systemctl, root), None, "no systemd runs");
        fs::create_dir_all(root.join("run")).unwrap();
        let link = root.join("run/systemd");
        std::os::unix::fs::symlink(&link, &link).unwrap();
        assert_ne!(
            check_by(Path::new("/nonexistent"), root),
            None,
            "what cannot be looked at may be there"
        );
        fs::remove_file(link).unwrap();
        for folder in ["run/systemd/system", "proc/self"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(
            root.join("proc/self/cgroup"),
            "0::/system.slice/luod.service\n",
        )
        .unwrap();
        check_by(&systemctl, root)
    }

    #[test]
    fn systemd_is_asked() {
        let units = format!("printf '{}'", UNITS.replace('\n', "\\n"));
        let check = found("echo Version=261", &units).unwrap();
        assert_eq!(check.status, CheckStatus::Failed);
        assert!(
            check.found.contains("those of store.service (3) is lost"),
            "{check:?}"
        );
        assert_eq!(found("echo Version=260.3", &units), None);
        assert_eq!(found("echo Version=261", "true"), None);
        for (version, units) in [("exit 1", "true"), ("echo Version=261", "sleep 600")] {
            let check = found(version, units).unwrap();
            assert_eq!(check.status, CheckStatus::Unknown);
        }
    }
}
