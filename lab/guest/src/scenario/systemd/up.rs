// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is there once the machine is up.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, ensure};
use luo_client::agent::Agent;
use luo_scenes::stage::until;

use super::agent::{WORKLOADS, all_run, status};
use super::manager::{LUOD, main_pid, property, run, succeed, systemctl};
use super::steps::case;
use crate::check::same;
use crate::port;

/// The capabilities that the unit leaves, by number: CHOWN, SYS_ADMIN, SYS_BOOT.
const CAPABILITIES: u64 = 1 | 1 << 21 | 1 << 22;

pub(super) fn cases() -> Result<()> {
    let version = succeed("systemctl", &["--version"])?;
    port::progress(version.lines().next().unwrap_or_default());
    until("luod", || Ok(status().is_ok()))?;
    case("the-unit-is-understood", understood);
    case("the-agent-is-up", is_up);
    case("hardened", hardened);
    case("devices", devices);
    case("who-has-the-device-is-named", holder);
    case("group-and-folders", folders);
    case("workloads-by-their-units", workloads);
    case("names-of-others-are-refused", others);
    Ok(())
}

/// systemd has nothing to say of the unit's lines.
fn understood() -> Result<()> {
    let (output, text) = run("systemd-analyze", &["verify", "--man=no", LUOD])?;
    ensure!(output.status.success() && text.is_empty(), "{text}");
    let security = succeed("systemd-analyze", &["security", "--no-pager", LUOD])?;
    let exposure = security.lines().find(|line| line.contains("exposure"));
    port::progress(exposure.unwrap_or("no exposure"));
    for (name, value) in [
        ("SurviveFinalKillSignal", "yes"),
        ("FileDescriptorStorePreserve", "yes"),
        ("FileDescriptorStoreMax", "16384"),
        ("LimitNOFILE", "65536"),
        ("UnitFileState", "enabled"),
    ] {
        same(name, property(LUOD, name)?.as_str(), value)?;
    }
    Ok(())
}

fn is_up() -> Result<()> {
    let (_, state) = run("systemctl", &["is-system-running", "--wait"])?;
    same("the system", state.as_str(), "running")
        .with_context(|| systemctl(&["--failed", "--plain"]).unwrap_or_default())?;
    for (name, value) in [
        ("ActiveState", "active"),
        ("SubState", "running"),
        ("StatusText", "normal"),
        ("NRestarts", "0"),
    ] {
        same(name, property(LUOD, name)?.as_str(), value)?;
    }
    for arguments in [["status"], ["plan"], ["sessions"]] {
        succeed("luoctl", &arguments)?;
    }
    Ok(())
}

/// That what the unit says has come to the process.
fn hardened() -> Result<()> {
    let pid = main_pid()?;
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(str::trim).with_context(|| name.to_owned())
    };
    same("NoNewPrivs", field("NoNewPrivs")?, "1")?;
    same("Seccomp", field("Seccomp")?, "2")?;
    for set in ["CapBnd", "CapEff", "CapPrm"] {
        same(set, u64::from_str_radix(field(set)?, 16)?, CAPABILITIES)?;
    }
    // What no set of systemd's has, and the checks need.
    let calls = property(LUOD, "SystemCallFilter")?;
    ensure!(calls.split(' ').any(|call| call == "cachestat"), "{calls}");
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    ensure!(
        files.is_some_and(|line| line.contains(" 65536 ")),
        "{limits}"
    );
    let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj"))?;
    same("oom_score_adj", score.trim(), "-900")?;
    for kind in ["mnt", "net", "uts"] {
        let space = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}"));
        ensure!(space(&pid.to_string())? != space("1")?, "it shares {kind}");
    }
    // Where it may write, and where not.
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
    let is_writable = |place: &str| -> Option<bool> {
        let lines = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let mut at = lines.filter(|words| words.get(4) == Some(&place));
        let options = *at.next_back()?.get(5)?;
        Some(options.split(',').any(|option| option == "rw"))
    };
    for (place, expected) in [
        ("/", false),
        ("/sys", false),
        ("/run/luod", true),
        ("/var/lib/luod", true),
    ] {
        same(place, is_writable(place), Some(expected)).with_context(|| mounts.clone())?;
    }
    Ok(())
}

/// What is not on the list cannot be opened from the agent's control group, whoever is in
/// it. This process goes there to see.
fn devices() -> Result<()> {
    let enter = |unit: &str| -> Result<()> {
        let group = property(unit, "ControlGroup")?;
        let list = format!("/sys/fs/cgroup{group}/cgroup.procs");
        fs::write(&list, std::process::id().to_string()).context(list)
    };
    let open = |path| File::options().read(true).write(true).open(path);
    enter(LUOD)?;
    let (kmsg, null, liveupdate) = (
        open("/dev/kmsg"),
        open("/dev/null"),
        open("/dev/liveupdate"),
    );
    enter("luo-test.service")?;
    let refused = kmsg.err().context("/dev/kmsg can be opened")?;
    same("/dev/kmsg", refused.kind(), ErrorKind::PermissionDenied)?;
    null.context("/dev/null")?;
    liveupdate.context("/dev/liveupdate")?;
    ensure!(open("/dev/kmsg").is_ok(), "this proves nothing");
    Ok(())
}

/// Without CAP_SYS_PTRACE the agent does not see who keeps it from the device. luoctl does.
fn holder() -> Result<()> {
    let device = File::options()
        .read(true)
        .write(true)
        .open("/dev/liveupdate");
    let device = device.context("/dev/liveupdate")?;
    for command in [&["check"] as &[&str], &["prepare"], &["update", "--yes"]] {
        let (output, text) = run("luoctl", command)?;
        ensure!(!output.status.success(), "{text}");
        let named = format!("({})", std::process::id());
        let is_named = text.contains("it is open in ") && text.contains(&named);
        ensure!(is_named, "{command:?} does not name {named}: {text}");
    }
    drop(device);
    Ok(())
}

fn folders() -> Result<()> {
    let groups = fs::read_to_string("/etc/group")?;
    let line = groups.lines().find_map(|line| line.strip_prefix("luo:"));
    let number = line.and_then(|line| line.split(':').nth(1)?.parse().ok());
    let group: u32 = number.context("there is no group luo")?;
    for (path, mode, gid) in [
        ("/var/lib/luod", 0o700, 0),
        ("/run/luod", 0o755, 0),
        ("/run/luod/admin", 0o600, 0),
        ("/run/luod/client", 0o660, group),
        ("/run/luod/status", 0o666, 0),
    ] {
        let data = fs::metadata(path).context(path)?;
        let found = (data.mode() & 0o7777, data.uid(), data.gid());
        same(path, found, (mode, 0, gid))?;
    }
    Ok(())
}

fn workloads() -> Result<()> {
    all_run(&WORKLOADS)?;
    for workload in status()?.workloads {
        let unit = format!("{}.service", workload.name);
        same("the unit", workload.identity.unit, Some(unit))?;
        ensure!(workload.identity.uid > 2000, "{:?}", workload.identity.uid);
        same("the sessions", workload.sessions, vec![workload.name])?;
    }
    Ok(())
}

/// This is a service too, and root: that is not enough to be another one.
fn others() -> Result<()> {
    let Err(refused) = Agent::connect()?.register("cache.index", &[]) else {
        anyhow::bail!("it was let in");
    };
    let text = refused.to_string();
    ensure!(text.contains("luo-test.service"), "{text}");
    Ok(())
}
