// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which boot notes are of.

use std::fs;
use std::path::Path;

/// Whether a folder is in memory, and goes with the boot.
pub(super) fn is_in_memory(folder: &Path) -> bool {
    /// As linux/magic.h has them: tmpfs and ramfs.
    const MAGICS: [u64; 2] = [0x0102_1994, 0x8584_58f6];
    let found = rustix::fs::statfs(folder);
    found.is_ok_and(|found| MAGICS.contains(&(found.f_type as u64)))
}

/// Whether two words for a boot are of the same one. A part that could not be read, then or now,
/// says nothing: the notes of this boot must not be lost because a file is hidden for once.
pub(super) fn is_same_boot(noted: &str, now: &str) -> bool {
    let (Some(one), Some(other)) = (noted.split_once('/'), now.split_once('/')) else {
        return false;
    };
    let pairs = [(one.0, other.0), (one.1, other.1)];
    let known = pairs
        .iter()
        .filter(|(one, other)| !one.is_empty() && !other.is_empty());
    let mut known = known.peekable();
    noted == now || (known.peek().is_some() && known.all(|(one, other)| one == other))
}

/// Which boot this is: the kernel's number of it, and the count of live updates, which
/// tells boots apart where the number does not change.
pub(in crate::journal) fn epoch() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let boot = read("/proc/sys/kernel/random/boot_id");
    let count = read("/sys/kernel/liveupdate/update_count");
    format!("{}/{}", boot.trim(), count.trim())
}
