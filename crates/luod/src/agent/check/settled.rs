// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel to jump into, completed by the boot loader's entry.

use std::path::Path;

use luo_varlink::{Check, CheckStatus, Target};

use crate::kernel::Resolved;

/// A kernel to jump into that is complete, and what is to be said of where it comes from.
pub(in crate::agent) struct Settled {
    pub(in crate::agent) target: Target,
    pub(super) entry: Option<Check>,
}

impl Settled {
    /// Completes a target by the entry that it names, or by the boot loader's own.
    pub(super) fn of(
        target: Target,
        root: &Path,
        resolve: impl Fn(Target, &Path) -> Resolved,
    ) -> Self {
        let is_named = target.image.is_some();
        let check = |status, found, remedy: Option<&str>| Check {
            name: "target-entry".to_owned(),
            status,
            found,
            remedy: remedy.map(str::to_owned),
        };
        match resolve(target.clone(), root) {
            Ok((target, _)) if is_named => {
                let entry = None;
                Self { target, entry }
            }
            Ok((target, passed_over)) => {
                let name = target.entry.as_deref().unwrap_or_default();
                let image = target.image.as_deref().unwrap_or_default();
                let found = format!("the boot entry {name} is taken: {image}");
                let entry = match passed_over.is_empty() {
                    true => check(CheckStatus::Ok, found, None),
                    false => {
                        let found = format!("{found}; {}", passed_over.join("; "));
                        let remedy = "look whether that is the kernel that you want; --entry \
                                      names another";
                        check(CheckStatus::Warning, found, Some(remedy))
                    }
                };
                let entry = Some(entry);
                Self { target, entry }
            }
            Err(why) => {
                let remedy = "name a kernel (--kernel), or a boot entry (--entry), or either in \
                              [target] of the configuration";
                let entry = Some(check(CheckStatus::Failed, why.to_string(), Some(remedy)));
                Self { target, entry }
            }
        }
    }
}

/// Puts what is said of the entry before what is said of the image.
pub(super) fn put_entry(checks: &mut Vec<Check>, entry: Option<Check>) {
    let place = checks
        .iter()
        .position(|check| check.name.starts_with("target-"));
    let place = place.unwrap_or(checks.len());
    checks.splice(place..place, entry);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::resolve;

    #[test]
    fn another_entry_than_the_default_is_taken_with_a_warning_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let put = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let settled = || Settled::of(Target::default(), root, resolve);
        put("boot/linux", "kernel");
        put("boot/loader/entries/old.conf", "linux /linux\n");
        put("boot/loader/entries/older.conf", "linux /gone\n");
        let taken = settled();
        let entry = taken.entry.unwrap();
        assert_eq!(entry.status, CheckStatus::Warning);
        assert!(entry.found.contains("/gone is not there"), "{entry:?}");
        assert_eq!(taken.target.entry.as_deref(), Some("old"));
        put("boot/loader/loader.conf", "default older\n");
        let refused = settled();
        assert_eq!(refused.entry.unwrap().status, CheckStatus::Failed);
        assert_eq!(refused.target.image, None);
    }
}
