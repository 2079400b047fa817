// SPDX-License-Identifier: MIT OR Apache-2.0
//! The running kernel, and whether it can hand anything over.

use luo_varlink::{Check, CheckStatus};

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
    pub has_device: bool,
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
    checks.push(kexec(running));
    checks.push(loaded(running));
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
    if running.has_device {
        return ok(
            NAME,
            format!("the running kernel {release} has /dev/liveupdate"),
        );
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

/// Calls that an update makes to load a kernel: to try it, to unload it again, and to load it
/// for the jump. The kernel counts each.
const LOADS: i64 = 3;

/// The check of a kernel that counts how often one is loaded, and has few left; one before 6.3
/// counts nothing.
fn few_loads(left: i64) -> Option<Check> {
    const LIMIT: &str = "kernel.kexec_load_limit_reboot";
    let remedy = format!("keep {LIMIT} from being set; only a reboot resets it");
    match left {
        0..LOADS => Some(failed(
            KEXEC,
            format!(
                "{LIMIT} is {left}, and an update takes {LOADS} calls: it loads the kernel to try \
                 it, unloads it, and loads it for the jump"
            ),
            &remedy,
        )),
        LOADS => Some(warning(
            KEXEC,
            format!(
                "{LIMIT} is {left}: an update has its {LOADS} calls, and if it is cancelled late \
                 the kernel stays loaded, so that any reboot jumps into it"
            ),
            &remedy,
        )),
        _ => None,
    }
}

/// The check of loading a kernel.
const KEXEC: &str = "running-kexec";

fn kexec(running: &Running) -> Check {
    const NAME: &str = KEXEC;
    if let (Ok(false), Ok(left)) = (&running.is_loading_disabled, &running.loads_left)
        && let Some(check) = few_loads(*left)
    {
        return check;
    }
    match running.is_loading_disabled {
        Ok(false) => ok(NAME, "a kernel to jump into can be loaded"),
        Ok(true) => failed(
            NAME,
            "kernel.kexec_load_disabled is set: no kernel to jump into can be loaded",
            "keep kernel.kexec_load_disabled from being set; only a reboot resets it",
        ),
        Err(ref why) => {
            let remedy = "run a kernel with CONFIG_KEXEC_FILE=y, and mount /proc";
            unknown(
                NAME,
                format!("it is not known whether kexec is allowed: {why}"),
                remedy,
            )
        }
    }
}

fn loaded(running: &Running) -> Check {
    const NAME: &str = "running-image";
    match running.is_loaded {
        Ok(false) => ok(NAME, "no kernel to jump into is loaded"),
        Ok(true) if running.image.as_deref() == Ok("legacy") => warning(
            NAME,
            "a kernel to jump into is loaded already, by kexec_load (kexec -c): it takes \
             nothing over, and while something is preserved no reboot goes into it; the \
             update replaces it",
            "load it with kexec_file_load (kexec -s), or unload it with kexec -u",
        ),
        // A kernel of ours says it, to administrators.
        Ok(true) if running.state.is_ok() && running.image.is_err() => warning(
            NAME,
            "a kernel to jump into is loaded already, and whether it takes over what is \
             preserved cannot be read; the update replaces it",
            "check as root",
        ),
        Ok(true) => warning(
            NAME,
            "a kernel to jump into is loaded already; the update replaces it",
            "find out who loaded it: kexec -e or systemctl kexec would jump into it",
        ),
        Err(ref why) => {
            let why = format!("it is not known whether a kernel to jump into is loaded: {why}");
            unknown(NAME, why, "mount /sys")
        }
    }
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

/// The check of sessions for the next kernel, and what stands before and behind the name of one
/// that is open where nobody expects it.
const SESSIONS: &str = "running-sessions";
const SESSION: &str = "session '";
const ELSEWHERE: &str = "' is open, and luod does not have it: ";

/// The check of a session that some program has, and that a workload has had, or would have.
#[must_use]
pub fn session_elsewhere(name: &str, workload: &str, holders: &[String]) -> Check {
    let mut check = warning(
        SESSIONS,
        format!(
            "{SESSION}{name}{ELSEWHERE}'{workload}' cannot make one of that name, and an update \
             takes this one along as nobody's"
        ),
        "end the program that has it, mostly a child that the workload has left behind: \
         `luoctl check` says to root which that is",
    );
    name_holders_of_session(&mut check, holders);
    check
}

/// The name of the session, of a check that says that a program has it, and not which: whoever
/// has made it may not look at other programs.
#[must_use]
pub fn session_of_unknown_holder(check: &Check) -> Option<&str> {
    if check.name != SESSIONS || check.found.contains(OPEN_IN) {
        return None;
    }
    let (name, _) = check.found.strip_prefix(SESSION)?.split_once(ELSEWHERE)?;
    Some(name)
}

/// Adds to such a check who has the session.
pub fn name_holders_of_session(check: &mut Check, holders: &[String]) {
    if !holders.is_empty() {
        check.found.push_str(OPEN_IN);
        check.found.push_str(&holders.join(", "));
        check.remedy = Some("end that program, mostly a child of the workload".to_owned());
    }
}

/// The check of the device, when somebody has it.
const DEVICE: &str = "running-device";

/// What comes before the names of those who have it.
const OPEN_IN: &str = "; it is open in ";

/// The check of a device that cannot be had, and why.
#[must_use]
pub fn device(why: &str, holders: &[String]) -> Check {
    let mut check = failed(
        DEVICE,
        format!("/dev/liveupdate cannot be had: {why}"),
        "`fuser /dev/liveupdate` says who has it; end that program",
    );
    name_holders(&mut check, holders);
    check
}

/// Whether a check says that somebody has the device, and not who: whoever has made it may not
/// look at other programs.
#[must_use]
pub fn is_of_unknown_holder(check: &Check) -> bool {
    check.name == DEVICE
        && check.status == CheckStatus::Failed
        && check.found.starts_with("/dev/liveupdate cannot be had")
        && !check.found.contains(OPEN_IN)
}

/// Adds to a check of the device who has it.
pub fn name_holders(check: &mut Check, holders: &[String]) {
    if holders.is_empty() {
        return;
    }
    check.found.push_str(OPEN_IN);
    check.found.push_str(&holders.join(", "));
    check.remedy = Some("wait for that program, or end it".to_owned());
}

#[cfg(test)]
mod tests {
    use luo_varlink::CheckStatus::{Failed, Ok as Good, Unknown, Warning};

    use super::*;

    fn running() -> Running {
        Running {
            banner: Ok("Linux version 7.3.4 (a@b) #1".into()),
            clock: Clock::default(),
            release: Ok("7.3.4".into()),
            machine: Ok("x86_64".into()),
            page_bytes: 4096,
            command_line: Ok("liveupdate=on".into()),
            config: Err("no".into()),
            has_device: true,
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

    fn status(running: &Running, name: &str) -> luo_varlink::CheckStatus {
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
                has_device: false,
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
                has_device: false,
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
    fn kexec_has_to_be_allowed() {
        let disabled = Running {
            is_loading_disabled: Ok(true),
            is_loaded: Ok(true),
            ..running()
        };
        assert_eq!(status(&disabled, "running-kexec"), Failed);
        assert_eq!(status(&disabled, "running-image"), Warning);
        let unseen = Running {
            is_loading_disabled: Err("no".into()),
            is_loaded: Err("no".into()),
            ..running()
        };
        assert_eq!(status(&unseen, "running-kexec"), Unknown);
        assert_eq!(status(&unseen, "running-image"), Unknown);
    }

    #[test]
    fn a_kernel_has_to_be_loaded_more_than_once() {
        for (left, expected) in [
            (Ok(-1), Good),
            (Ok(0), Failed),
            (Ok(2), Failed),
            (Ok(3), Warning),
            (Ok(4), Good),
            // A kernel before 6.3 counts nothing.
            (Err("no file".to_owned()), Good),
        ] {
            let running = Running {
                loads_left: left.clone(),
                ..running()
            };
            assert_eq!(status(&running, "running-kexec"), expected, "{left:?}");
        }
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

    #[test]
    fn who_has_the_device_can_be_named_by_another_who_sees_more() {
        let mut check = device("EBUSY", &[]);
        assert!(is_of_unknown_holder(&check));
        name_holders(&mut check, &[]);
        assert!(check.remedy.as_ref().unwrap().contains("fuser"));
        name_holders(&mut check, &["criu (34)".to_owned()]);
        assert!(!is_of_unknown_holder(&check));
        assert_eq!(check, device("EBUSY", &["criu (34)".to_owned()]));
        assert!(
            check.found.ends_with("EBUSY; it is open in criu (34)"),
            "{check:?}"
        );
    }

    #[test]
    fn an_image_that_takes_nothing_over_is_told() {
        let found = |image: &str| {
            let running = Running {
                is_loaded: Ok(true),
                image: Ok(image.into()),
                ..running()
            };
            let check = loaded(&running);
            assert_eq!(check.status, Warning);
            check.found
        };
        assert!(found("legacy").contains("takes nothing over"));
        assert!(!found("handover").contains("takes nothing over"));
        let unseen = Running {
            is_loaded: Ok(true),
            ..running()
        };
        assert!(loaded(&unseen).found.contains("cannot be read"));
    }
}
