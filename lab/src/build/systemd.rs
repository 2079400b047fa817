// SPDX-License-Identifier: MIT OR Apache-2.0
//! The root of guests that run systemd: Debian's, our own packages' files as they would
//! be installed, and the services of the test.

use std::path::Path;

use anyhow::Result;

use crate::build::guest::Programs;
use crate::build::initramfs::{Node, Tree, add_all};
use crate::build::package;
use crate::cache::Cache;
use crate::fetch::debian;
use crate::fetch::systemd::Release;

/// Folder in the repository with what belongs to the test alone.
const OWN: &str = "lab/guest/systemd";
/// As that, of tests with a release that keeps descriptor stores over a kexec.
const OWN_STORES: &str = "lab/guest/systemd-stores";

/// Files of the packages that the guest has: an initramfs is in memory, twice while it
/// is handed over, and a service that is not there starts nothing.
const PROGRAMS: &[&str] = &[
    "usr/bin/journalctl",
    "usr/bin/mount",
    "usr/bin/systemctl",
    "usr/bin/systemd-analyze",
    "usr/bin/systemd-sysusers",
    "usr/bin/systemd-tmpfiles",
    "usr/bin/umount",
    "usr/lib/systemd/systemd",
    "usr/lib/systemd/systemd-executor",
    "usr/lib/systemd/systemd-journald",
    "usr/lib/systemd/systemd-shutdown",
    "usr/lib/systemd/systemd-sysctl",
];

/// logind, and the bus over which it is asked. Where systemd keeps descriptor stores the
/// tests do without.
const LOGIND: &[&str] = &[
    // What has the lock of luod's runs it.
    "usr/bin/cat",
    "usr/bin/dbus-daemon",
    "usr/bin/systemd-inhibit",
    "usr/lib/systemd/systemd-logind",
];
const LOGIND_UNITS: &[&str] = &[
    "dbus-org.freedesktop.login1.service",
    "dbus.service",
    "dbus.socket",
    "systemd-logind.service",
];
const LOGIND_FOLDERS: &[&str] = &["usr/share/dbus-1/"];

/// Units beside targets and slices.
const UNITS: &[&str] = &[
    // The checks read the scratch areas there.
    "sys-kernel-debug.mount",
    "systemd-halt.service",
    "systemd-journald-dev-log.socket",
    "systemd-journald.service",
    "systemd-journald.socket",
    "systemd-kexec.service",
    "systemd-poweroff.service",
    "systemd-reboot.service",
    "systemd-sysctl.service",
    "systemd-sysusers.service",
    "systemd-tmpfiles-setup-dev-early.service",
    "systemd-tmpfiles-setup-dev.service",
    "systemd-tmpfiles-setup.service",
    "tmp.mount",
];

const UNIT_FOLDER: &str = "usr/lib/systemd/system/";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu/";
/// Further folders that are taken whole.
const FOLDERS: &[&str] = &[
    "usr/lib/sysctl.d/",
    "usr/lib/sysusers.d/",
    "usr/lib/tmpfiles.d/",
];

/// Debian's links to the folders in `/usr`, and what the kernel starts.
const LINKS: &[(&str, &str)] = &[
    ("bin", "usr/bin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
    ("sbin", "usr/sbin"),
    ("init", "usr/lib/systemd/systemd"),
    (
        "etc/systemd/system/default.target",
        "/usr/lib/systemd/system/multi-user.target",
    ),
];

/// Mount points, and folders that programs expect.
const EMPTY: &[&str] = &["dev", "kernels", "proc", "root", "run", "sys", "tmp", "var"];

/// The root, without kernels.
///
/// # Errors
/// A package is not to be had; a file cannot be read.
pub fn root(cache: &Cache, repo: &Path, programs: &Programs, release: Release) -> Result<Tree> {
    let mut tree = Tree::new();
    for folder in EMPTY {
        tree.insert((*folder).to_owned(), Node::Folder);
    }
    for (name, target) in LINKS {
        tree.insert((*name).to_owned(), Node::Link((*target).to_owned()));
    }
    let has_logind = release == Release::Stable;
    add_all(&mut tree, &debian::root(cache, &release.set())?, |place| {
        is_kept(place) || has_logind && is_of_logind(place)
    })?;
    for asset in package::assets(repo, &["luod", "luoctl"], &programs.folder)? {
        let (from, mode) = (asset.from, asset.mode);
        tree.insert(asset.place, Node::File { from, mode });
    }
    add_all(&mut tree, &repo.join(OWN), |_| true)?;
    if release == Release::KeepsStores {
        add_all(&mut tree, &repo.join(OWN_STORES), |_| true)?;
    }
    let (from, mode) = (programs.guest(), 0o755);
    tree.insert("usr/bin/luo-guest".to_owned(), Node::File { from, mode });
    Ok(tree)
}

/// The unit that a file is, or a link to.
fn unit(place: &str) -> Option<&str> {
    let path = place.strip_prefix(UNIT_FOLDER)?;
    // `sysinit.target.wants/systemd-journald.service` is a link to a unit.
    Some(path.rsplit('/').next().unwrap_or(path))
}

/// Whether a guest with logind has a file of Debian's for it.
fn is_of_logind(place: &str) -> bool {
    unit(place).is_some_and(|name| LOGIND_UNITS.contains(&name))
        || LOGIND.contains(&place)
        || LOGIND_FOLDERS
            .iter()
            .any(|folder| place.starts_with(folder))
}

/// Whether each guest has a file of Debian's.
fn is_kept(place: &str) -> bool {
    if let Some(name) = unit(place) {
        let is_group = [".target", ".slice"]
            .iter()
            .any(|kind| name.ends_with(kind));
        return is_group || UNITS.contains(&name);
    }
    if let Some(library) = place.strip_prefix(LIBRARIES) {
        let folder = library.rsplit_once('/').map_or("", |(folder, _)| folder);
        return matches!(folder, "" | "systemd") && library.contains(".so");
    }
    PROGRAMS.contains(&place)
        || place.starts_with("usr/lib64/")
        || FOLDERS.iter().any(|folder| place.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_kept_if_something_needs_it() {
        for kept in [
            "usr/lib/systemd/systemd",
            "usr/lib/systemd/system/kexec.target",
            "usr/lib/systemd/system/sysinit.target.wants/systemd-journald.service",
            "usr/lib/x86_64-linux-gnu/libc.so.6",
            "usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-257.so",
            "usr/lib64/ld-linux-x86-64.so.2",
            "usr/lib/tmpfiles.d/var.conf",
        ] {
            assert!(is_kept(kept), "{kept}");
        }
        for left in [
            "usr/lib/systemd/systemd-logind",
            "usr/lib/systemd/system/systemd-logind.service",
            "usr/lib/systemd/system/multi-user.target.wants/systemd-logind.service",
            "usr/lib/x86_64-linux-gnu/gconv/IBM037.so",
            "usr/share/doc/systemd/copyright",
            "etc/systemd/system.conf",
        ] {
            assert!(!is_kept(left), "{left}");
        }
        for kept in [
            "usr/lib/systemd/systemd-logind",
            "usr/lib/systemd/system/multi-user.target.wants/systemd-logind.service",
            "usr/share/dbus-1/system.conf",
        ] {
            assert!(is_of_logind(kept), "{kept}");
        }
    }
}
