// SPDX-License-Identifier: MIT OR Apache-2.0
//! The running kernel, and whether it can hand anything over.

pub mod holders;
mod kexec;

use luo_varlink::Check;

use crate::check::{Known, failed, ok, unknown, warning};
use crate::command_line::switch;
use crate::guest_clock::Clock;
use crate::kconfig::Config;
use crate::memory::Memory;
use crate::scratch::Area;

/// How much the kernel is locked down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lockdown {
    /// The kernel is not locked down, or knows no lockdown.
    None,
    /// Programs cannot change the running kernel.
    Integrity,
    /// Programs cannot read the running kernel's memory, either.
    Confidentiality,
}

/// The facts of the running kernel. Each `Err` says why a fact is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its release, as `uname -r`.
    pub release: Known<String>,
    /// Its banner, as in `/proc/version`.
    pub banner: Known<String>,
    /// The machine, as `uname -m`.
    pub machine: Known<String>,
    /// Bytes of a page.
    pub page_bytes: u64,
    /// Its command line.
    pub command_line: Known<String>,
    /// Its configuration.
    pub config: Known<Config>,
    /// Whether there is a `/dev/liveupdate`.
    pub has_device: Known<bool>,
    /// The word in `/sys/kernel/liveupdate/state`. Only this project's orchestrator has
    /// that file.
    pub state: Known<String>,
    /// ABI strings that it would hand over, as far as debugfs shows them.
    pub strings: Vec<String>,
    /// Kexec HandOver's scratch areas.
    pub scratch: Known<Vec<Area>>,
    /// The machine's memory.
    pub memory: Known<Memory>,
    /// Whether a kernel to jump into is loaded.
    pub is_loaded: Known<bool>,
    /// What kind it is, as this project's orchestrator shows it in
    /// `/sys/kernel/liveupdate/image`.
    pub image: Known<String>,
    /// Whether loading one is forbidden until the next boot.
    pub is_loading_disabled: Known<bool>,
    /// How often a kernel can still be loaded until then; -1 if nobody counts.
    pub loads_left: Known<i64>,
    /// How much the kernel is locked down.
    pub lockdown: Known<Lockdown>,
    /// `vm.memfd_noexec` of this process: 0 if memfds may be executed as ever, 1 if those may
    /// not whose maker says nothing, 2 if none may.
    pub memfd_noexec: Known<String>,
    /// What guests' clocks depend on.
    pub clock: Clock,
}

/// Checks the running kernel: `running-liveupdate`, `running-state`, `running-kexec`,
/// `running-image`, `running-memfd`.
#[must_use]
pub fn checks(running: &Running) -> Vec<Check> {
    let mut checks = vec![liveupdate(running)];
    checks.extend(state(running));
    checks.push(kexec::allowed(running));
    checks.push(kexec::loaded(running));
    checks.extend(memfds(running));
    checks
}

/// What a kernel of which live update is wanted has to be.
const WITH_ALL: &str = "built with CONFIG_KEXEC_HANDOVER=y and CONFIG_LIVEUPDATE=y, and booted with \
                        kho=on liveupdate=on";
const BUILD: &str = "build it with CONFIG_KEXEC_HANDOVER=y and CONFIG_LIVEUPDATE=y, and boot it with \
                     kho=on liveupdate=on";
const BOOT: &str = "boot it with kho=on liveupdate=on, once by a normal reboot";

fn liveupdate(running: &Running) -> Check {
    const NAME: &str = "running-liveupdate";
    let release = running.release.as_deref().unwrap_or("of unknown release");
    match &running.has_device {
        Ok(true) => {
            let found = format!("the running kernel {release} has /dev/liveupdate");
            return ok(NAME, found);
        }
        Ok(false) => {}
        Err(why) => {
            return unknown(
                NAME,
                format!("whether the running kernel {release} has live update is not known: {why}"),
                "see to it that /dev can be looked at; `dmesg` says more of an error of a disk or \
                 of the kernel",
            );
        }
    }
    if running.release.as_deref().is_ok_and(is_too_old) {
        return failed(
            NAME,
            format!(
                "the running kernel {release} has no /dev/liveupdate: live update began with Linux \
                 6.19"
            ),
            &format!("run Linux 6.19 or a newer one, {WITH_ALL}"),
        );
    }
    let (why, remedy) = why_no_device(running);
    let found = format!("the running kernel {release} has no /dev/liveupdate: {why}");
    failed(NAME, found, remedy)
}

/// Whether a release is of before there was any live update. One that cannot be read is not.
fn is_too_old(release: &str) -> bool {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    let mut number = || numbers.next().and_then(|text| text.parse::<u32>().ok());
    match (number(), number()) {
        (Some(major), Some(minor)) => (major, minor) < (6, 19),
        _ => false,
    }
}

/// The causes that keep the device from being there, the first cause first. Who has to build a
/// kernel, or to boot, is told all that it takes at once.
fn why_no_device(running: &Running) -> (&'static str, &'static str) {
    let config = running.config.as_ref().ok();
    let line = running.command_line.as_deref().unwrap_or_default();
    let lacks = |option| config.is_some_and(|config| !config.has(option));
    let kho_is_on = switch(line, "kho")
        .set
        .or(config.map(|config| config.has("KEXEC_HANDOVER_ENABLE_DEFAULT")));
    if lacks("KEXEC_HANDOVER") {
        ("it is built without CONFIG_KEXEC_HANDOVER", BUILD)
    } else if lacks("LIVEUPDATE") {
        ("it is built without CONFIG_LIVEUPDATE", BUILD)
    } else if switch(line, "liveupdate").set != Some(true) {
        ("its command line does not say liveupdate=on", BOOT)
    } else if kho_is_on == Some(false) {
        ("Kexec HandOver is off", BOOT)
    } else {
        (
            "something at boot turned it off, or /dev is not the kernel's",
            "look for \"luo:\", \"liveupdate\" and \"KHO:\" in the kernel's log",
        )
    }
}

fn state(running: &Running) -> Option<Check> {
    const NAME: &str = "running-state";
    let state = running.state.as_deref().ok()?;
    let found = format!("the orchestrator is in the state {state}");
    Some(match state {
        "normal" => ok(NAME, found),
        "updated" => unfinished(&found),
        _ => failed(
            NAME,
            format!("{found}: an update is under way"),
            "wait for its end, or cancel it",
        ),
    })
}

/// The warning of sessions of the last update that are not finished. `found` says where that is
/// known from.
#[must_use]
pub fn unfinished(found: &str) -> Check {
    warning(
        "running-state",
        format!(
            "{found}: sessions of the last update are not finished. What nobody has claimed is \
             carried on"
        ),
        "an update is possible; `luoctl sessions` says whose they are",
    )
}

/// The check of memfds that must not be executed.
pub const MEMFDS: &str = "running-memfd";

/// Programs that do not declare what they preserve learn only behind the jump that it is sealed.
fn memfds(running: &Running) -> Option<Check> {
    const NAME: &str = MEMFDS;
    let value = running.memfd_noexec.as_deref().ok()?;
    let (which, remedy) = match value {
        "0" => return None,
        "1" => (
            "a memfd that is made without MFD_EXEC",
            "have programs make what they preserve with MFD_EXEC, as the client libraries do, or \
             set vm.memfd_noexec to 0 before they start",
        ),
        _ => (
            "each memfd",
            "set vm.memfd_noexec to 0 or 1, and start the programs again",
        ),
    };
    let found = format!(
        "vm.memfd_noexec is {value}: {which} may not be executed, and comes back from an update \
         sealed against writing and resizing"
    );
    Some(warning(NAME, found, remedy))
}

#[cfg(test)]
mod tests {
    use luo_varlink::CheckStatus::{Failed, Ok as Good, Unknown, Warning};

    use super::*;

    pub(super) fn running() -> Running {
        Running {
            banner: Ok("Linux version 7.3.4 (a@b) #1".into()),
            clock: Clock::default(),
            release: Ok("7.3.4".into()),
            machine: Ok("x86_64".into()),
            page_bytes: 4096,
            command_line: Ok("liveupdate=on".into()),
            config: Err("no".into()),
            has_device: Ok(true),
            state: Ok("normal".into()),
            strings: vec![],
            scratch: Err("no".into()),
            memory: Err("no".into()),
            is_loaded: Ok(false),
            image: Err("no file".into()),
            is_loading_disabled: Ok(false),
            loads_left: Ok(-1),
            lockdown: Ok(Lockdown::None),
            memfd_noexec: Ok("0".into()),
        }
    }

    pub(super) fn status(running: &Running, name: &str) -> luo_varlink::CheckStatus {
        let checks = checks(running);
        checks
            .iter()
            .find(|check| check.name == name)
            .unwrap()
            .status
    }

    #[test]
    fn all_is_well() {
        assert!(checks(&running()).iter().all(|check| check.status == Good));
    }

    #[test]
    fn the_first_cause_of_a_missing_device_is_named() {
        let found = |line: &str, config: Known<&str>| {
            let running = Running {
                has_device: Ok(false),
                command_line: Ok(line.into()),
                config: config.map(Config::parse),
                ..running()
            };
            let check = liveupdate(&running);
            assert_eq!(check.status, Failed);
            format!("{} {}", check.found, check.remedy.unwrap())
        };
        let no = || Err(String::new());
        let built = "CONFIG_KEXEC_HANDOVER=y\nCONFIG_LIVEUPDATE=y\n";
        // All that it takes is told at once, whatever is found first.
        let all = [
            "CONFIG_KEXEC_HANDOVER=y",
            "CONFIG_LIVEUPDATE=y",
            "kho=on liveupdate=on",
        ];
        for (config, cause) in [
            ("", "without CONFIG_KEXEC_HANDOVER"),
            ("CONFIG_KEXEC_HANDOVER=y", "without CONFIG_LIVEUPDATE"),
        ] {
            let said = found("", Ok(config));
            assert!(said.contains(cause), "{said}");
            for one in all {
                assert!(said.contains(one), "{one} in {said}");
            }
        }
        for (line, config, cause) in [
            ("", no(), "does not say liveupdate=on"),
            ("liveupdate=on", Ok(built), "Kexec HandOver is off"),
            ("liveupdate=on kho=0", no(), "Kexec HandOver is off"),
        ] {
            let said = found(line, config);
            assert!(said.contains(cause), "{said}");
            assert!(said.contains("boot it with kho=on liveupdate=on"), "{said}");
        }
        assert!(found("liveupdate=on kho=on", Ok(built)).contains("kernel's log"));
    }

    #[test]
    fn a_device_that_cannot_be_looked_at_is_not_told_to_be_missing() {
        let running = Running {
            has_device: Err("/dev/liveupdate: Input/output error (os error 5)".into()),
            release: Ok("6.1.0".into()),
            ..running()
        };
        let check = liveupdate(&running);
        assert_eq!(check.status, Unknown);
        assert!(check.found.contains("error 5"), "{}", check.found);
        assert!(!check.found.contains("has no"), "{}", check.found);
    }

    /// Nothing that could be built into such a kernel would help.
    #[test]
    fn a_kernel_of_before_live_update_is_told_to_be_too_old() {
        for (release, is_old) in [
            ("5.15.0-91-generic", true),
            ("6.18.44", true),
            ("6.19.0-rc1", false),
            ("7.3.4", false),
            ("10.1", false),
            ("next", false),
        ] {
            let running = Running {
                has_device: Ok(false),
                release: Ok(release.into()),
                config: Ok(Config::parse("")),
                ..running()
            };
            let check = liveupdate(&running);
            assert_eq!(check.status, Failed);
            let remedy = check.remedy.unwrap();
            assert_eq!(
                remedy.starts_with("run Linux 6.19"),
                is_old,
                "{release}: {remedy}"
            );
            assert!(remedy.contains("CONFIG_LIVEUPDATE=y"), "{remedy}");
        }
    }

    #[test]
    fn an_update_begins_in_normal_only() {
        for (state, expected) in [("normal", Good), ("updated", Warning), ("frozen", Failed)] {
            let running = Running {
                state: Ok(state.into()),
                ..running()
            };
            assert_eq!(status(&running, "running-state"), expected, "{state}");
        }
        let mainline = Running {
            state: Err("no file".into()),
            ..running()
        };
        assert!(
            checks(&mainline)
                .iter()
                .all(|check| check.name != "running-state")
        );
    }

    #[test]
    fn memfds_that_come_back_sealed_are_told_before() {
        for (value, told) in [
            ("1", Some("without MFD_EXEC")),
            ("2", Some("each memfd")),
            ("0", None),
        ] {
            let running = Running {
                memfd_noexec: Ok(value.into()),
                ..running()
            };
            let check = checks(&running)
                .into_iter()
                .find(|check| check.name == "running-memfd");
            assert_eq!(check.is_some(), told.is_some(), "{value}");
            if let (Some(check), Some(told)) = (check, told) {
                assert_eq!(check.status, Warning);
                assert!(check.found.contains(told), "{}", check.found);
            }
        }
        // Kernels before 6.3 know no such thing.
        let old = Running {
            memfd_noexec: Err("no file".into()),
            ..running()
        };
        assert!(memfds(&old).is_none());
    }
}
