// SPDX-License-Identifier: MIT OR Apache-2.0
//! The shutdown that `jump = "systemctl"` takes: beginning it, asking how it stands, and
//! the check that the agent outlives it. At its end systemd kills all processes but those
//! whose control group it has marked before, for `SurviveFinalKillSignal=`. An older
//! systemd does not know that setting, and ignores it with nothing but a line in its log.
//!
//! An orchestrator with states keeps sessions that are closed while it is frozen.
//! Mainline's does not, and ours is frozen by the jump itself while sessions of an earlier
//! update wait.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use luo_sys::Errno;
use luo_varlink::{Check, CheckStatus};

use crate::decide::failed::Failed;

/// The attribute by which systemd marks such a control group.
const MARK: &str = "user.survive_final_kill_signal";

/// How the service manager's shutdown stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shutdown {
    /// The shutdown goes on.
    UnderWay,
    /// No shutdown is under way, or none any more.
    Over,
    /// The manager does not answer: its end is near, or it is overburdened.
    #[default]
    Unknown,
}

impl Shutdown {
    /// Reads the manager's word for the machine, see systemctl(1) `is-system-running`.
    fn from_word(word: &str) -> Self {
        match word {
            "stopping" => Self::UnderWay,
            "initializing" | "starting" | "running" | "degraded" | "maintenance" => Self::Over,
            _ => Self::Unknown,
        }
    }
}

/// Has the service manager shut down and jump. It returns at once; the machine jumps when
/// all services have ended.
///
/// # Errors
/// The manager refuses, or there is none.
pub fn begin() -> Result<(), Failed> {
    let arguments = ["--no-block", "--no-ask-password", "kexec"];
    match Command::new("systemctl").args(arguments).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Failed::new("systemctl kexec", Errno::EIO)),
        Err(why) => Err(Failed::io("systemctl kexec", &why)),
    }
}

/// How the shutdown stands.
#[must_use]
pub fn standing() -> Shutdown {
    let asked = Command::new("systemctl").arg("is-system-running").output();
    // The word that it writes says more than its exit status.
    let said = asked.ok().map(|output| output.stdout);
    let said = said.and_then(|word| String::from_utf8(word).ok());
    Shutdown::from_word(said.as_deref().unwrap_or_default().trim())
}

/// Looks for the mark at the agent's own control group.
#[must_use]
pub fn check(root: &Path) -> Check {
    let group = fs::read_to_string(root.join("proc/self/cgroup"));
    let group = group.ok().and_then(|text| folder(root, &text));
    judge(group.as_deref().map(is_marked))
}

/// The folder of the control group in the text of `/proc/self/cgroup`.
fn folder(root: &Path, text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(root.join("sys/fs/cgroup").join(path))
}

fn is_marked(group: &Path) -> bool {
    let mut value = [0; 8];
    let found = rustix::fs::getxattr(group, MARK, &mut value);
    found.is_ok_and(|length| value.get(..length) == Some(b"1"))
}

fn judge(marked: Option<bool>) -> Check {
    let (status, found) = match marked {
        Some(true) => (
            CheckStatus::Ok,
            "systemd lets luod run up to the end of a shutdown",
        ),
        Some(false) => (
            CheckStatus::Failed,
            "systemd kills luod at the end of a shutdown, and what it holds goes with it",
        ),
        None => (
            CheckStatus::Failed,
            "luod is no service of systemd: the end of a shutdown kills it, and what it holds goes \
             with it",
        ),
    };
    let remedy = "run luod by its unit under systemd 255 or newer (SurviveFinalKillSignal=), or \
                  set jump = \"direct\" in luod.toml";
    Check {
        name: "jump-shutdown".to_owned(),
        status,
        found: found.to_owned(),
        remedy: (status != CheckStatus::Ok).then(|| remedy.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_manager_that_says_so_shuts_down_no_more() {
        assert_eq!(Shutdown::from_word("stopping"), Shutdown::UnderWay);
        assert_eq!(Shutdown::from_word("degraded"), Shutdown::Over);
        for unknown in ["", "offline", "unknown", "Failed to connect"] {
            assert_eq!(Shutdown::from_word(unknown), Shutdown::Unknown);
        }
    }

    #[test]
    fn the_group_is_found() {
        let root = Path::new("/x");
        assert_eq!(
            folder(root, "1:name=a:/b\n0::/system.slice/luod.service\n").unwrap(),
            Path::new("/x/sys/fs/cgroup/system.slice/luod.service")
        );
        assert_eq!(folder(root, "1:name=a:/b\n"), None);
    }

    #[test]
    fn without_the_mark_no_update_begins() {
        let empty = tempfile::tempdir().unwrap();
        let none = check(empty.path());
        assert_eq!(none.status, CheckStatus::Failed);
        let proc = empty.path().join("proc/self");
        fs::create_dir_all(&proc).unwrap();
        fs::write(proc.join("cgroup"), "0::/luod.service\n").unwrap();
        let group = empty.path().join("sys/fs/cgroup/luod.service");
        fs::create_dir_all(&group).unwrap();
        let unmarked = check(empty.path());
        assert_eq!(unmarked.status, CheckStatus::Failed);
        assert_ne!(unmarked.found, none.found);
        assert!(unmarked.remedy.unwrap().contains("direct"));
        assert_eq!(judge(Some(true)).status, CheckStatus::Ok);
    }
}
