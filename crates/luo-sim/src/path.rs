// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which paths are ours.

use std::os::fd::RawFd;

use luo_abi::uapi::DEVICE_PATH;
use luo_core::{Quota, Whom};
use luo_sys::LOCK_PATH;

use crate::caller::Caller;
use crate::driver;
use crate::policy::{Choice, Word};

/// A path that the simulator answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `/dev/liveupdate`.
    Device,
    /// `/dev/liveupdate.lock`.
    Lock,
    /// `/dev/kmsg`.
    Log,
    /// `/dev/luo_forge`.
    Forge,
    /// `/dev/luo_participant`.
    Participant,
    /// `/proc/cmdline`.
    CommandLine,
    /// `/proc/sys/kernel/random/boot_id`.
    BootId,
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
    /// `/proc/PID/fdinfo/FD` of a process.
    FdInfo(u32, RawFd),
    /// `/proc/PID/fd/FD` of a process, as a link.
    Fd(u32, RawFd),
    /// A path on from one of our files, as if that were a folder.
    InFile,
}

/// Whether a link at the end of a path is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// It is.
    Followed,
    /// The link itself is meant.
    Kept,
}

impl Links {
    pub(crate) const fn of(are_kept: bool) -> Self {
        match are_kept {
            true => Self::Kept,
            false => Self::Followed,
        }
    }
}

impl Place {
    /// Whether the real machine has it, too: then stat and access are its business.
    pub(crate) const fn is_real(self) -> bool {
        matches!(
            self,
            Self::Log | Self::CommandLine | Self::BootId | Self::FdInfo(..) | Self::Fd(..)
        )
    }
}

const fn of_user(quota: Quota) -> Place {
    Place::Choice(Choice::Users(Whom::Each, quota))
}

const fn of_users(quota: Quota) -> Place {
    Place::Choice(Choice::Users(Whom::Together, quota))
}

const FIXED: [(&str, Place); 24] = [
    (DEVICE_PATH, Place::Device),
    (LOCK_PATH, Place::Lock),
    ("/dev/kmsg", Place::Log),
    (driver::FORGE, Place::Forge),
    (driver::PARTICIPANT, Place::Participant),
    ("/proc/cmdline", Place::CommandLine),
    ("/proc/sys/kernel/random/boot_id", Place::BootId),
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
        "/sys/kernel/liveupdate/users_sessions",
        of_users(Quota::Sessions),
    ),
    ("/sys/kernel/liveupdate/users_files", of_users(Quota::Files)),
    (
        "/sys/kernel/liveupdate/users_dependencies",
        of_users(Quota::Dependencies),
    ),
    ("/sys/kernel/liveupdate/users_bytes", of_users(Quota::Bytes)),
    (
        "/sys/kernel/liveupdate/user_kinds",
        Place::Choice(Choice::Of(Word::UserKinds)),
    ),
    (
        "/sys/kernel/liveupdate/legacy",
        Place::Choice(Choice::Of(Word::Legacy)),
    ),
    (
        "/sys/kernel/liveupdate/memfd",
        Place::Choice(Choice::Of(Word::Memfd)),
    ),
    ("/sys/kernel/liveupdate/image", Place::Image),
];

/// The `AT_FDCWD` of a relative path.
const CURRENT: RawFd = -100;

/// Links that are followed one after the other, as the kernel's limit is 40.
const MOST_LINKS: usize = 40;

/// Looks at a path that a caller gave, relative to one of its directories.
pub(crate) fn resolve(
    caller: &Caller<'_>,
    directory: RawFd,
    path: &[u8],
    links: Links,
) -> Option<Place> {
    let path = core::str::from_utf8(path).ok()?;
    let thread = caller.thread();
    let base = match directory {
        CURRENT => format!("/proc/{thread}/cwd"),
        fd => format!("/proc/{thread}/fd/{fd}"),
    };
    let is_absolute = path.starts_with('/');
    let numbers = |number: &str| match number {
        "self" => Some(caller.leader()),
        "thread-self" => Some(thread),
        number => number.parse().ok(),
    };
    let absolute = |path: &str| {
        if is_absolute {
            return Some(path.to_owned());
        }
        let base = std::fs::read_link(&base).ok()?;
        Some(format!("{}/{path}", base.to_str()?))
    };
    // Worth looking for by its name only if it ends like one of ours.
    if is_absolute || may_be_ours(path) {
        let absolute = absolute(path)?;
        if let Some(place) = place(&absolute, numbers) {
            return Some(place);
        }
        let (folder, last) = absolute.trim_end_matches('/').rsplit_once('/')?;
        if may_be_ours(last) {
            // The folder may be named by way of links.
            let root = format!("/proc/{thread}/root");
            let folder = std::fs::canonicalize(format!("{root}{folder}/")).ok()?;
            let rest = absolute.get(folder_end(&absolute)..)?;
            let found = place(&format!("{}/{rest}", folder.to_str()?), numbers);
            if found.is_some() {
                return found;
            }
        }
    }
    if links == Links::Kept {
        return None;
    }
    // With a slash at its end a link has to lead to a folder.
    let bare = path.trim_end_matches('/');
    let slash = path.get(bare.len()..)?;
    let real = match is_absolute {
        true => format!("/proc/{thread}/root{bare}"),
        false => format!("{base}/{bare}"),
    };
    let mut target = std::fs::read_link(real).ok()?;
    let absolute = absolute(bare)?;
    let mut folder = std::path::Path::new(&absolute).parent()?.to_owned();
    for _ in 0..MOST_LINKS {
        let next = folder.join(&target);
        if let Some(place) = place(&format!("{}{slash}", next.to_str()?), numbers) {
            return Some(place);
        }
        next.parent()?.clone_into(&mut folder);
        let real = format!("/proc/{thread}/root{}", next.to_str()?);
        target = std::fs::read_link(real).ok()?;
    }
    None
}

/// Where the last part of a path begins, a slash behind it included.
fn folder_end(path: &str) -> usize {
    path.trim_end_matches('/').rfind('/').map_or(0, |at| at + 1)
}

/// Whether the last part of a path is the last part of one of ours, or a number.
fn may_be_ours(path: &str) -> bool {
    let last = path.trim_end_matches('/').rsplit('/').next();
    let last = last.unwrap_or_default();
    let is_last = |fixed: &str| fixed.rsplit('/').next() == Some(last);
    let known = FIXED.iter().any(|(fixed, _)| is_last(fixed));
    known || last.parse::<RawFd>().is_ok()
}

/// The place of an absolute path as it was written. `numbers` gives the process that a
/// folder of `/proc` is about.
fn place(path: &str, numbers: impl Fn(&str) -> Option<u32>) -> Option<Place> {
    let found = classify(&clean(path), numbers)?;
    let is_folder = found == Place::Folder;
    let goes_on = path.ends_with('/') || path.ends_with("/.");
    match goes_on && !is_folder && !found.is_real() {
        true => Some(Place::InFile),
        false => Some(found),
    }
}

fn classify(path: &str, numbers: impl Fn(&str) -> Option<u32>) -> Option<Place> {
    if let Some((_, place)) = FIXED.iter().find(|(fixed, _)| *fixed == path) {
        return Some(*place);
    }
    let mut parts = path.strip_prefix("/proc/")?.split('/');
    let mut whose = numbers(parts.next()?)?;
    let mut kind = parts.next()?;
    if kind == "task" {
        whose = parts.next()?.parse().ok()?;
        kind = parts.next()?;
    }
    let fd = parts.next()?.parse().ok()?;
    if parts.next().is_some() {
        return None;
    }
    match kind {
        "fdinfo" => Some(Place::FdInfo(whose, fd)),
        "fd" => Some(Place::Fd(whose, fd)),
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
        super::place(path, |number| match number {
            "self" => Some(42),
            number => number.parse().ok(),
        })
    }

    #[test]
    fn our_paths_are_known_however_they_are_written() {
        assert_eq!(place("/dev/liveupdate"), Some(Place::Device));
        assert_eq!(place("//dev/./x/../liveupdate"), Some(Place::Device));
        assert_eq!(place("/dev/liveupdate.lock"), Some(Place::Lock));
        assert_eq!(place("/sys/kernel/liveupdate/state"), Some(Place::State));
        assert_eq!(place("/sys/kernel/liveupdate/"), Some(Place::Folder));
        assert_eq!(place("/proc/self/fdinfo/7"), Some(Place::FdInfo(42, 7)));
        assert_eq!(place("/proc/43/fd/7"), Some(Place::Fd(43, 7)));
        let of_thread = place("/proc/42/task/44/fdinfo/7");
        assert_eq!(of_thread, Some(Place::FdInfo(44, 7)));
    }

    #[test]
    fn our_files_are_no_folders() {
        for path in [
            "/dev/liveupdate/",
            "/dev/liveupdate/.",
            "/sys/kernel/liveupdate/state/",
        ] {
            assert_eq!(place(path), Some(Place::InFile), "{path}");
        }
    }

    #[test]
    fn others_are_not() {
        for path in [
            "/dev/liveupdate/x",
            "/dev/liveupdates",
            "/proc/x/fdinfo/7",
            "/proc/self/fdinfo",
            "/proc/self/fdinfo/x",
            "/proc/42/task/x/fdinfo/7",
            "/sys/kernel/liveupdates",
            "/",
            "",
        ] {
            assert_eq!(place(path), None, "{path}");
        }
        assert!(may_be_ours("state") && may_be_ours("x/liveupdate/") && may_be_ours("7"));
        assert!(!may_be_ours("") && !may_be_ours("x/hosts"));
    }
}
