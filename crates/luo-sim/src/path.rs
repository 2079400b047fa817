// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which paths are ours.

use std::os::fd::RawFd;

use luo_abi::uapi::DEVICE_PATH;
use luo_core::Quota;

use crate::caller::Caller;
use crate::driver;
use crate::policy::{Choice, Word};

/// A path that the simulator answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `/dev/liveupdate`.
    Device,
    /// `/dev/kmsg`.
    Log,
    /// `/dev/luo_forge`.
    Forge,
    /// `/dev/luo_participant`.
    Participant,
    /// `/proc/cmdline`.
    CommandLine,
    /// `/sys/kernel/liveupdate`, the folder: it can be looked at, and not be opened.
    Folder,
    /// `/sys/kernel/liveupdate/state`.
    State,
    /// `/sys/kernel/liveupdate/update_count`.
    UpdateCount,
    /// `/sys/kernel/liveupdate/image`.
    Image,
    /// `/sys/kernel/liveupdate/unclaimed` and its like.
    Choice(Choice),
    /// `/proc/PID/fdinfo/FD` of the caller.
    FdInfo(RawFd),
    /// `/proc/PID/fd/FD` of the caller, as a link.
    Fd(RawFd),
}

impl Place {
    /// Whether the real machine has it, too: then stat and access are its business.
    pub(crate) const fn is_real(self) -> bool {
        matches!(
            self,
            Self::Log | Self::CommandLine | Self::FdInfo(_) | Self::Fd(_)
        )
    }
}

const fn of_user(quota: Quota) -> Place {
    Place::Choice(Choice::User(quota))
}

const FIXED: [(&str, Place); 16] = [
    (DEVICE_PATH, Place::Device),
    ("/dev/kmsg", Place::Log),
    (driver::FORGE, Place::Forge),
    (driver::PARTICIPANT, Place::Participant),
    ("/proc/cmdline", Place::CommandLine),
    ("/sys/kernel/liveupdate", Place::Folder),
    ("/sys/kernel/liveupdate/state", Place::State),
    ("/sys/kernel/liveupdate/update_count", Place::UpdateCount),
    (
        "/sys/kernel/liveupdate/unclaimed",
        Place::Choice(Choice::Of(Word::Unclaimed)),
    ),
    (
        "/sys/kernel/liveupdate/reboot",
        Place::Choice(Choice::Of(Word::Reboot)),
    ),
    (
        "/sys/kernel/liveupdate/user_sessions",
        of_user(Quota::Sessions),
    ),
    ("/sys/kernel/liveupdate/user_files", of_user(Quota::Files)),
    (
        "/sys/kernel/liveupdate/user_dependencies",
        of_user(Quota::Dependencies),
    ),
    ("/sys/kernel/liveupdate/user_bytes", of_user(Quota::Bytes)),
    (
        "/sys/kernel/liveupdate/legacy",
        Place::Choice(Choice::Of(Word::Legacy)),
    ),
    ("/sys/kernel/liveupdate/image", Place::Image),
];

/// The `AT_FDCWD` of a relative path.
const CURRENT: RawFd = -100;

/// Looks at a path that a caller gave, relative to one of its directories.
pub(crate) fn resolve(caller: &Caller<'_>, directory: RawFd, path: &[u8]) -> Option<Place> {
    let path = core::str::from_utf8(path).ok()?;
    let absolute = if path.starts_with('/') {
        clean(path)
    } else {
        // Worth looking for only if it ends like one of ours.
        let last = path.rsplit('/').next()?;
        let known = FIXED.iter().any(|(fixed, _)| fixed.ends_with(last));
        if last.is_empty() || !(known || last.parse::<RawFd>().is_ok()) {
            return None;
        }
        let thread = caller.thread();
        let link = match directory {
            CURRENT => format!("/proc/{thread}/cwd"),
            fd => format!("/proc/{thread}/fd/{fd}"),
        };
        let base = std::fs::read_link(link).ok()?;
        clean(&format!("{}/{path}", base.to_str()?))
    };
    let own = |number: u32| number == caller.thread() || number == caller.leader();
    classify(&absolute, own)
}

/// `own` says whether a number is the caller's.
fn classify(path: &str, own: impl Fn(u32) -> bool) -> Option<Place> {
    if let Some((_, place)) = FIXED.iter().find(|(fixed, _)| *fixed == path) {
        return Some(*place);
    }
    let mut parts = path.strip_prefix("/proc/")?.split('/');
    let whose = parts.next()?;
    let mut kind = parts.next()?;
    let is_own = matches!(whose, "self" | "thread-self") || whose.parse().is_ok_and(&own);
    if kind == "task" {
        parts.next()?.parse().ok().filter(|&thread| own(thread))?;
        kind = parts.next()?;
    }
    let fd = parts.next()?.parse().ok()?;
    if !is_own || parts.next().is_some() {
        return None;
    }
    match kind {
        "fdinfo" => Some(Place::FdInfo(fd)),
        "fd" => Some(Place::Fd(fd)),
        _ => None,
    }
}

/// A path without empty parts, `.` and `..`; links are not followed.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> Option<Place> {
        classify(&clean(path), |number| number == 42)
    }

    #[test]
    fn our_paths_are_known_however_they_are_written() {
        assert_eq!(place("/dev/liveupdate"), Some(Place::Device));
        assert_eq!(place("//dev/./x/../liveupdate"), Some(Place::Device));
        assert_eq!(place("/sys/kernel/liveupdate/state"), Some(Place::State));
        assert_eq!(place("/proc/self/fdinfo/7"), Some(Place::FdInfo(7)));
        assert_eq!(place("/proc/42/fd/7"), Some(Place::Fd(7)));
        assert_eq!(place("/proc/42/task/42/fdinfo/7"), Some(Place::FdInfo(7)));
    }

    #[test]
    fn others_are_not() {
        for path in [
            "/dev/liveupdate/x",
            "/dev/liveupdates",
            "/proc/43/fdinfo/7",
            "/proc/self/fdinfo",
            "/proc/self/fdinfo/x",
            "/proc/42/task/43/fdinfo/7",
            "/sys/kernel/liveupdates",
            "/",
            "",
        ] {
            assert_eq!(place(path), None, "{path}");
        }
    }
}
