// SPDX-License-Identifier: MIT OR Apache-2.0
//! Words of the target's command line that spoil an update which would work otherwise:
//! they hide memory, start another system than the one that is updated to, or start none
//! of its services.

use luo_varlink::Check;

use crate::check::{failed, warning};
use crate::command_line::{Word, parameters, words};
use crate::running::Running;

const NAME: &str = "target-command-line";

/// Units of systemd in which no services are started, or the machine does not stay up.
const WITHOUT_SERVICES: [&str; 8] = [
    "rescue.target",
    "emergency.target",
    "basic.target",
    "sysinit.target",
    "poweroff.target",
    "halt.target",
    "reboot.target",
    "kexec.target",
];

/// Units without which luod is not started: itself, and what wants it.
const LUOD: [&str; 2] = ["luod.service", "multi-user.target"];

/// Words that mean such a unit.
const WITHOUT_SERVICES_WORDS: [&str; 7] = ["rescue", "emergency", "single", "s", "S", "1", "-b"];

/// Shells, by the names of their files.
const SHELLS: [&str; 14] = [
    "sh", "ash", "bash", "csh", "dash", "elvish", "fish", "hush", "ksh", "mksh", "rbash", "tcsh",
    "yash", "zsh",
];

/// Programs that are what the name says by which they are called: by their own, a shell or less.
const BOXES: [&str; 2] = ["busybox", "toybox"];

/// Whether a file is a shell, by its name.
#[must_use]
pub fn is_shell(path: &str) -> bool {
    path.rsplit('/')
        .next()
        .is_some_and(|name| SHELLS.contains(&name))
}

/// Whether who is started by that path is a shell. `init` that leads to busybox is none.
fn starts_shell(path: &str) -> bool {
    is_shell(path)
        || path
            .rsplit('/')
            .next()
            .is_some_and(|name| BOXES.contains(&name))
}

/// The words that name files of the system that is started, with the paths.
#[must_use]
pub fn paths(line: &str) -> Vec<(&str, &str)> {
    let words = parameters(line).into_iter();
    words
        .filter(|(name, _)| ["init", "ostree"].contains(name))
        .filter_map(|(name, value)| Some((name, value.filter(|it| it.starts_with('/'))?)))
        .collect()
}

/// Whether the target is the running kernel.
enum Kernel {
    Same,
    Another,
    NotKnown,
}

impl Kernel {
    /// A release says too little: a kernel that was built anew has the same. Its banner has the
    /// builder and the date as well.
    fn of(banner: Option<&str>, running: &Running) -> Self {
        match (banner, &running.banner) {
            (Some(target), Ok(running)) => {
                // The scan of an image takes the beginning of a long one.
                match running.starts_with(&format!("Linux version {target}")) {
                    true => Self::Same,
                    false => Self::Another,
                }
            }
            _ => Self::NotKnown,
        }
    }

    /// That it is another one, or may be.
    fn words(&self) -> Option<&'static str> {
        match self {
            Self::Same => None,
            Self::Another => Some("the target is another kernel"),
            Self::NotKnown => Some("whether the target is another kernel is not known"),
        }
    }
}

/// Folders in which each system has its first process.
const FIRST_PROCESS: [&str; 4] = ["/sbin/", "/bin/", "/lib/", "/usr/"];

/// Whether a word says which of several systems is started: by a path of its own, by a digest of
/// what is in it, or by one of the partitions that take turns.
fn names_system(name: &str, value: &str) -> bool {
    match name {
        "init" => !FIRST_PROCESS.iter().any(|folder| value.starts_with(folder)),
        "ostree" | "roothash" | "usrhash" | "verity.usrhash" => true,
        "mount.usr" | "verity.usr" => {
            value.starts_with("PARTUUID=") || value.starts_with("PARTLABEL=")
        }
        _ => false,
    }
}

/// Checks for such words: `target-command-line`.
///
/// `banner` is that of the target, if it is known; `missing` are those of [`paths`] that are not there, and
/// `shells` those that lead to a shell.
#[must_use]
pub fn checks(
    line: &str,
    running: &Running,
    banner: Option<&str>,
    missing: &[String],
    shells: &[String],
) -> Vec<Check> {
    let running_line = running.command_line.as_deref().unwrap_or_default();
    let running_words = parameters(running_line);
    let kernel = Kernel::of(banner, running);
    let (words, behind) = words(line);
    let all = words.iter().chain(&behind);
    let unit = all.copied().rfind(|(name, value)| names_unit(name, *value));
    let found = words.iter().filter_map(|&(name, value)| {
        let is_running = running_words.contains(&(name, value));
        // The kernel takes - for _, and so does systemd.
        let plain = name.replace('-', "_");
        match (plain.as_str(), value) {
            // It hides nothing.
            ("mem", Some("nopentium")) => None,
            // The kernel that hands over has the same limit, so nothing lies beyond it.
            ("mem" | "memmap", Some(_)) if is_running => None,
            ("mem" | "memmap", Some(value)) => Some(hidden(name, value)),
            ("init" | "ostree", Some(path)) if missing.iter().any(|it| it == path) => {
                Some(gone(name, path))
            }
            ("init" | "rdinit", Some(path))
                if starts_shell(path) || shells.iter().any(|it| it == path) =>
            {
                // The kernel starts what the last such word says.
                let last = words.iter().rfind(|word| word.0 == name);
                let counts = last.is_some_and(|last| last.1 == value);
                counts.then(|| no_services(&format!("{name}={path}")))
            }
            (word, Some(value)) if is_running && names_system(word, value) => {
                kernel.words().map(|words| old(name, value, words))
            }
            ("liveupdate_unclaimed", Some("discard")) => Some(discarded()),
            ("nokexec", _) | ("sysctl.kernel.kexec_load_disabled", Some("1")) => {
                Some(the_last(name))
            }
            _ => of_service_manager((name, value), unit),
        }
    });
    // These are not the kernel's, and the service manager reads the whole line.
    let behind = behind.iter();
    let behind = behind.filter_map(|word| of_service_manager(*word, unit));
    found.chain(behind).collect()
}

/// Whether a word says which unit is started. The last such word counts.
fn names_unit(name: &str, value: Option<&str>) -> bool {
    name == "systemd.unit" || value.is_none() && WITHOUT_SERVICES_WORDS.contains(&name)
}

/// What a word means to the service manager, or to that of the initrd. `unit` is the word that says
/// which unit is started.
fn of_service_manager((name, value): Word<'_>, unit: Option<Word<'_>>) -> Option<Check> {
    if names_unit(name, value) && unit != Some((name, value)) {
        return None;
    }
    match (name.replace('-', "_").as_str(), value) {
        ("systemd.unit" | "rd.systemd.unit", Some(unit)) => {
            let is_one = WITHOUT_SERVICES.contains(&unit);
            is_one.then(|| no_services(&format!("{name}={unit}")))
        }
        ("systemd.mask", Some(unit)) => {
            // A name without a kind is that of a service.
            let is_one =
                |known: &str| known == unit || known.strip_suffix(".service") == Some(unit);
            LUOD.into_iter().any(is_one).then(|| masked(unit))
        }
        ("rd.break", _) => Some(no_services("rd.break")),
        (_, None) if WITHOUT_SERVICES_WORDS.contains(&name) => Some(no_services(name)),
        _ => None,
    }
}

fn masked(unit: &str) -> Check {
    warning(
        NAME,
        format!(
            "systemd.mask={unit}: luod is not started in the target, and nobody takes back what is \
             preserved"
        ),
        "remove systemd.mask= from the command line",
    )
}

fn hidden(name: &str, value: &str) -> Check {
    failed(
        NAME,
        format!(
            "{name}={value} hides memory from the target that the running kernel has: what is \
             preserved there would be lost"
        ),
        &format!("remove {name}= from the command line"),
    )
}

fn gone(name: &str, path: &str) -> Check {
    warning(
        NAME,
        format!("{name}={path} is not there: the target would not find the system that it starts"),
        "name the command line that belongs to the target, or see whether the path is one of \
         another file system",
    )
}

fn old(name: &str, value: &str, words: &str) -> Check {
    warning(
        NAME,
        format!(
            "{name}={value} is that of the running system, and {words}: it would start the old \
             system"
        ),
        "name the command line that belongs to the target, as its boot loader's entry has it",
    )
}

fn no_services(word: &str) -> Check {
    warning(
        NAME,
        format!("{word}: the target starts no services, and nobody takes back what is preserved"),
        &format!("remove {word} from the command line"),
    )
}

fn the_last(word: &str) -> Check {
    warning(
        NAME,
        format!(
            "{word}: the target loads no kernel itself, so the update after this one takes a \
             normal boot"
        ),
        &format!("remove {word} from the command line"),
    )
}

fn discarded() -> Check {
    warning(
        NAME,
        "liveupdate_unclaimed=discard: sessions that nobody claims in the target are lost with \
         the update after this one",
        "write liveupdate_unclaimed=carry, or leave it out",
    )
}

#[cfg(test)]
mod tests {
    use luo_varlink::CheckStatus::{self, Failed, Warning};

    use super::*;

    const ANOTHER: &str = "7.3.5 (a@b) (rustc) #1 SMP Tue";

    fn look(line: &str, running_line: &str, missing: &[&str]) -> Vec<(CheckStatus, String)> {
        let mut running = crate::system::System::at("/nonexistent").running();
        running.command_line = Ok(running_line.to_owned());
        running.banner = Ok("Linux version 7.3.4 (a@b) (rustc) #1 SMP Mon".to_owned());
        let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
        let checks = checks(line, &running, Some(ANOTHER), &missing, &[]);
        checks.into_iter().map(|it| (it.status, it.found)).collect()
    }

    fn statuses(line: &str, running_line: &str) -> Vec<CheckStatus> {
        let found = look(line, running_line, &[]);
        found.into_iter().map(|(status, _)| status).collect()
    }

    #[test]
    fn hidden_memory_is_lost_memory() {
        assert_eq!(statuses("mem=2G", ""), [Failed]);
        assert_eq!(statuses("memmap=4G$8G", "quiet"), [Failed]);
        assert_eq!(statuses("mem=2G", "mem=4G"), [Failed]);
        assert!(statuses("mem=2G", "quiet mem=2G").is_empty());
        assert!(statuses("", "mem=2G").is_empty());
        assert!(statuses("-- mem=2G", "").is_empty());
    }

    #[test]
    fn words_are_taken_as_the_kernel_and_systemd_take_them() {
        assert_eq!(statuses("liveupdate-unclaimed=discard", ""), [Warning]);
        assert_eq!(
            statuses("sysctl.kernel.kexec-load-disabled=1", ""),
            [Warning]
        );
        assert!(statuses("mem=nopentium", "").is_empty());
        for line in [
            "systemd.unit=rescue.target systemd.unit=multi-user.target",
            "single systemd.unit=multi-user.target",
            "rescue quiet -- systemd.unit=graphical.target",
        ] {
            assert!(statuses(line, "").is_empty(), "{line}");
        }
        for line in [
            "systemd.unit=multi-user.target systemd.unit=rescue.target",
            "systemd.unit=multi-user.target -- single",
        ] {
            assert_eq!(statuses(line, ""), [Warning], "{line}");
        }
    }

    #[test]
    fn the_old_system_is_not_what_is_updated_to() {
        let old = "init=/nix/store/OLD/init";
        assert_eq!(statuses(old, old), [Warning]);
        assert!(statuses("init=/nix/store/NEW/init", old).is_empty());
        let ostree = "ostree=/ostree/boot.1/fcos/a/0";
        assert_eq!(statuses(ostree, ostree), [Warning]);
        let found = look(old, "", &["/nix/store/OLD/init"]);
        assert!(found[0].1.contains("is not there"), "{found:?}");
        assert_eq!(
            paths("init=/a ostree=/b init=c x=/d"),
            [("init", "/a"), ("ostree", "/b")]
        );
    }

    /// A generation with the same release, and a system that is known by its digest.
    #[test]
    fn which_kernel_it_is_is_told_by_more_than_its_release() {
        let mut running = crate::system::System::at("/nonexistent").running();
        let mut found = |line: &str, banner: Option<&str>, running_banner: Result<&str, ()>| {
            running.command_line = Ok(line.to_owned());
            running.banner = running_banner
                .map(|banner| format!("Linux version {banner}"))
                .map_err(|()| "not there".to_owned());
            let checks = checks(line, &running, banner, &[], &[]);
            checks.into_iter().map(|it| it.found).collect::<Vec<_>>()
        };
        let monday = "7.3.4 (a@b) (rustc) #1 SMP Mon";
        let tuesday = "7.3.4 (a@b) (rustc) #1 SMP Tue";
        for old in [
            "init=/nix/store/OLD/init",
            "ostree=/ostree/boot.1/fcos/a/0",
            "roothash=0123",
            "usrhash=0123",
            "verity.usrhash=0123",
            "mount.usr=PARTUUID=7130c94a",
            "verity.usr=PARTLABEL=USR-A",
        ] {
            assert_eq!(found(old, Some(monday), Ok(monday)), [] as [&str; 0]);
            let another = found(old, Some(tuesday), Ok(monday));
            assert_eq!(another.len(), 1, "{old}: {another:?}");
            assert!(another[0].contains("is another kernel"), "{another:?}");
            for unknown in [
                found(old, None, Ok(monday)),
                found(old, Some(monday), Err(())),
            ] {
                assert!(unknown[0].contains("not known"), "{unknown:?}");
            }
        }
        // The scan of an image takes the beginning.
        let long = found("roothash=1", Some("7.3.4 (a@b)"), Ok(monday));
        assert!(long.is_empty(), "{long:?}");
        for same in [
            "init=/usr/lib/systemd/systemd",
            "init=/sbin/init",
            "mount.usr=UUID=1",
            "mount.usr=/dev/mapper/usr",
            "root=UUID=1",
        ] {
            let found = found(same, Some(tuesday), Ok(monday));
            assert!(found.is_empty(), "{same}: {found:?}");
        }
    }

    #[test]
    fn a_system_without_services_claims_nothing() {
        for line in [
            "systemd.unit=rescue.target",
            "single",
            "emergency",
            "rd.break",
        ] {
            assert_eq!(statuses(line, line), [Warning], "{line}");
        }
        assert!(statuses("systemd.unit=multi-user.target", "").is_empty());
        // Words behind -- go to the first process, and systemd reads all of them.
        for line in [
            "quiet -- single",
            "quiet -- -b",
            "quiet -- systemd.unit=rescue.target",
            "quiet -- systemd.mask=luod.service",
        ] {
            assert_eq!(statuses(line, line), [Warning], "{line}");
        }
        // Not for the kernel.
        assert!(statuses("-- nokexec mem=2G init=/bin/sh", "").is_empty());
        for unit in ["luod.service", "luod", "multi-user.target"] {
            let found = look(&format!("quiet systemd.mask={unit}"), "", &[]);
            assert_eq!(found.len(), 1, "{unit}");
            assert!(found[0].1.contains("luod is not started"), "{found:?}");
        }
        assert!(statuses("systemd.mask=cups.service", "").is_empty());
        assert_eq!(statuses("liveupdate_unclaimed=discard", ""), [Warning]);
        assert!(statuses("liveupdate_unclaimed=carry quiet", "").is_empty());
    }

    /// A shell starts no more services than the rescue target does.
    #[test]
    fn a_shell_claims_nothing() {
        for path in [
            "/bin/sh",
            "/usr/bin/bash",
            "/bin/dash",
            "/bin/busybox",
            "sh",
        ] {
            let line = format!("init={path}");
            let found = look(&line, &line, &[]);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].0, Warning, "{path}");
            assert!(found[0].1.contains("starts no services"), "{found:?}");
        }
        assert_eq!(statuses("rdinit=/bin/sh", ""), [Warning]);
        for line in [
            "init=/sbin/init",
            "init=/usr/lib/systemd/systemd",
            "init=/nix/store/sh/init",
            "init=/bin/sh init=/sbin/init",
        ] {
            assert!(statuses(line, "").is_empty(), "{line}");
        }
        let found = look("init=/bin/sh", "", &["/bin/sh"]);
        assert!(
            found.len() == 1 && found[0].1.contains("is not there"),
            "{found:?}"
        );
    }

    #[test]
    fn a_target_that_loads_no_kernel_is_the_last() {
        for line in ["nokexec", "sysctl.kernel.kexec_load_disabled=1"] {
            assert_eq!(statuses(line, line), [Warning], "{line}");
        }
        assert!(statuses("sysctl.kernel.kexec_load_disabled=0", "").is_empty());
    }
}
