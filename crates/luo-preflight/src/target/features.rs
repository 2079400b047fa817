// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether the target has what takes the old kernel's files over, in the versions that it hands over.

use luo_varlink::Check;

use super::{LOST, versions};
use crate::abi::Abi;
use crate::check::{failed, ok, unknown, warning};
use crate::image::{Contents, family_of};
use crate::small;

pub(super) fn kho(contents: &Contents) -> Check {
    let what = Feature {
        name: "target-kho",
        family: "kho",
        option: "KEXEC_HANDOVER",
        feature: "Kexec HandOver",
        remedy: "build the target with CONFIG_KEXEC_HANDOVER=y",
    };
    what.check(contents)
}

pub(super) fn luo(contents: &Contents) -> Check {
    let what = Feature {
        name: "target-luo",
        family: "luo",
        option: "LIVEUPDATE",
        feature: "Live Update Orchestrator",
        remedy: "build the target with CONFIG_LIVEUPDATE=y (and CONFIG_LIVEUPDATE_RUST=y)",
    };
    what.check(contents)
}

/// The configuration that a target must have, whatever its version.
struct Feature {
    name: &'static str,
    family: &'static str,
    option: &'static str,
    feature: &'static str,
    remedy: &'static str,
}

impl Feature {
    fn check(&self, contents: &Contents) -> Check {
        let versions = versions(contents, self.family);
        let configured = contents
            .config
            .as_ref()
            .map(|config| config.has(self.option));
        let (feature, family) = (self.feature, self.family);
        match (configured, versions.is_empty()) {
            (Some(false), _) => {
                let option = self.option;
                let found = format!("the target is built without CONFIG_{option}: {LOST}");
                failed(self.name, found, self.remedy)
            }
            (_, false) => ok(self.name, format!("the target has {feature} ({versions})")),
            (Some(true), true) => unknown(
                self.name,
                format!(
                    "the target is configured with {feature}, but no string {family}-v* was \
                     found in it: its version is not known"
                ),
                "compare the versions in the sources of both kernels",
            ),
            (None, true) => failed(
                self.name,
                format!("the target has no {feature}: no string {family}-v* in it: {LOST}"),
                self.remedy,
            ),
        }
    }
}

pub(super) fn abi_checks(contents: &Contents, abi: &Abi) -> Vec<Check> {
    const NAME: &str = "target-abi";
    let known = abi.known.iter();
    let mut checks: Vec<_> = known.filter_map(|ours| abi_check(contents, ours)).collect();
    if checks.is_empty() && !abi.known.is_empty() {
        let ours = abi.known.join(", ");
        checks.push(ok(
            NAME,
            format!("the target reads what is handed over: {ours}"),
        ));
    }
    let not_known = abi.unknown.iter().map(|(family, why)| {
        unknown(
            NAME,
            format!("which {family}-v* the running kernel hands over is not known: {why}"),
            "mount debugfs at /sys/kernel/debug, or have the running kernel's image as \
             /boot/vmlinuz-RELEASE or /usr/lib/modules/RELEASE/vmlinuz",
        )
    });
    checks.extend(not_known);
    checks
}

/// The fault of the target with a format that the running kernel hands over, if there is
/// one.
fn abi_check(contents: &Contents, ours: &str) -> Option<Check> {
    const NAME: &str = "target-abi";
    let remedy = format!("jump into a kernel that reads {ours}, or reboot normally once");
    let Some(family) = family_of(ours) else {
        let found = format!("{ours:?} is no name of an ABI");
        return Some(unknown(NAME, found, "report it as a defect"));
    };
    if contents.strings.contains(ours) {
        return None;
    }
    let theirs = versions(contents, family);
    if !theirs.is_empty() {
        let found =
            format!("the target reads {theirs}, the running kernel hands over {ours}: {LOST}");
        return Some(failed(NAME, found, &remedy));
    }
    let config = contents.config.as_ref();
    match family {
        // These formats have checks of their own.
        "luo" | "kho" => None,
        "luo-contract" => Some(warning(
            NAME,
            format!(
                "the target has no {ours}: states, dependencies and subsystems do not reach it; \
                 sessions and their files do"
            ),
            "jump into a kernel with the orchestrator in Rust to keep them",
        )),
        "luo-memfd" => Some(failed(
            NAME,
            format!(
                "memfds are preserved in runs of pages ({ours}), which the target does not read: \
                 it would not take over anything until the next reboot"
            ),
            "write memfd-v2 to /sys/kernel/liveupdate/memfd, and have them preserved again",
        )),
        _ if small::families().any(|known| known == family) => Some(failed(
            NAME,
            format!(
                "a file is preserved that the target has no handler for ({ours}): it would not \
                 take over anything until the next reboot"
            ),
            "take that file out of its session (UNPRESERVE_FD), or jump into a kernel with the \
             orchestrator in Rust",
        )),
        "memfd" if config.is_some_and(|config| config.has("LIVEUPDATE_MEMFD")) => Some(unknown(
            NAME,
            format!("the target is configured to take over memfds, but no {ours} was found in it"),
            "compare the versions in the sources of both kernels",
        )),
        "memfd" => Some(failed(
            NAME,
            format!("the target has no handler {ours}: preserved memfds would be lost"),
            "build the target with CONFIG_LIVEUPDATE_MEMFD=y",
        )),
        _ => Some(unknown(
            NAME,
            format!("the target's image has no {ours}; it may be in a module"),
            "check that the target has the module, and loads it early",
        )),
    }
}

#[cfg(test)]
mod tests {
    use luo_varlink::CheckStatus::{self, Failed, Ok as Good, Unknown, Warning};

    use super::*;
    use crate::kconfig::Config;

    fn contents(strings: &[&str], config: Option<&str>) -> Contents {
        Contents {
            strings: strings.iter().map(ToString::to_string).collect(),
            config: config.map(Config::parse),
            ..Contents::default()
        }
    }

    const OURS: [&str; 4] = ["luo-v5", "kho-v4", "memfd-v2", "luo-contract-v1"];

    fn ours() -> Abi {
        Abi {
            known: OURS.map(str::to_owned).into(),
            unknown: Vec::new(),
        }
    }

    fn abi(strings: &[&str], config: Option<&str>) -> Vec<CheckStatus> {
        let checks = abi_checks(&contents(strings, config), &ours());
        checks.iter().map(|check| check.status).collect()
    }

    #[test]
    fn each_version_has_to_be_ours() {
        assert_eq!(abi(&OURS, None), [Good]);
        assert_eq!(
            abi(&["luo-v6", "kho-v4", "memfd-v2", "luo-contract-v1"], None),
            [Failed]
        );
        assert_eq!(
            abi(&["luo-v5", "kho-v3", "memfd-v1", "luo-contract-v2"], None),
            [Failed; 3]
        );
        // A target that reads several versions is fine.
        let several = ["luo-v5", "luo-v6", "kho-v4", "memfd-v2", "luo-contract-v1"];
        assert_eq!(abi(&several, None), [Good]);
    }

    #[test]
    fn what_the_target_lacks_counts_by_kind() {
        assert_eq!(
            abi(&["luo-v5", "kho-v4", "memfd-v2"], None),
            [Warning],
            "mainline"
        );
        assert_eq!(
            abi(&["luo-v5", "kho-v4", "luo-contract-v1"], None),
            [Failed],
            "no memfd"
        );
        let built_in = Some("CONFIG_LIVEUPDATE_MEMFD=y");
        assert_eq!(
            abi(&["luo-v5", "kho-v4", "luo-contract-v1"], built_in),
            [Unknown]
        );
        let module = abi_check(&contents(&OURS, None), "vfio-v1").unwrap();
        assert_eq!(module.status, Unknown);
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let mut abi = ours();
        abi.known.remove(1);
        abi.unknown.push(("kho".into(), "no image".into()));
        let checks = abi_checks(&contents(&OURS, None), &abi);
        let statuses: Vec<_> = checks.iter().map(|check| check.status).collect();
        assert_eq!(statuses, [Good, Unknown]);
        assert!(checks[1].found.contains("kho-v*"), "{}", checks[1].found);
    }

    #[test]
    fn luo_and_kho_have_to_be_there() {
        let both = |strings: &[&str], config: Option<&str>| {
            let contents = contents(strings, config);
            (luo(&contents).status, kho(&contents).status)
        };
        assert_eq!(
            both(&["luo-v6", "kho-v9"], None),
            (Good, Good),
            "whatever the version"
        );
        assert_eq!(both(&[], None), (Failed, Failed));
        assert_eq!(
            both(&["luo-v5", "kho-v4"], Some("")),
            (Failed, Failed),
            "configured off"
        );
        let on = Some("CONFIG_LIVEUPDATE=y\nCONFIG_KEXEC_HANDOVER=y");
        assert_eq!(both(&[], on), (Unknown, Unknown));
    }
}
