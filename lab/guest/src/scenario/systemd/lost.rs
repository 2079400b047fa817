// SPDX-License-Identifier: MIT OR Apache-2.0
//! The agent is lost in each way there is, and no session is.

use std::fs;

use anyhow::{Result, ensure};
use luo_client::agent::Agent;
use luo_scenes::stage::until;
use luo_varlink::{CheckStatus, Phase, Target, WorkloadState};
use rustix::process::Signal;

use super::agent::{LEAVER, WORKLOADS, all_run, configure, in_state, kept, sessions, status};
use super::manager::{LUOD, main_pid, property, run, signal, succeed, systemctl};
use super::steps::case;
use crate::check::same;
use crate::init::Guest;

/// Those who run when one has left.
const RUNNING: [&str; 2] = ["cache", "web"];

const CONFIGURATION: &str = "/etc/luod/luod.toml";
const POLICY: &str = "/etc/luod/policy.toml";

const DROP_IN: &str = "/run/systemd/system/luod.service.d";

pub(super) fn cases(guest: &Guest) -> Result<()> {
    configure(guest, "systemctl")?;
    case("check", check);
    case("what-a-shutdown-would-end-is-refused", would_end);
    case("reloaded", reloaded);
    case("what-cannot-be-used-is-not-reloaded", not_reloaded);
    case("where-no-report-can-be-written-nobody-is-asked", no_report);
    case("one-leaves", leaves);
    case("memfds-go-as-the-target-reads-them", in_runs);
    case("other-shutdowns-are-refused", inhibited);
    case("killed", || survives(|| signal(Signal::KILL)));
    case("restarted", || {
        survives(|| systemctl(&["restart", LUOD]).map(drop))
    });
    case("stopped-and-started", || survives(stop_and_start));
    case("hung", hung);
    Ok(())
}

/// All checks work from within the hardening.
fn check() -> Result<()> {
    all_run(&WORKLOADS)?;
    let report = luo_client::agent::Admin::connect()?.check(&Target::default())?;
    for check in &report.checks {
        let is_known = matches!(check.status, CheckStatus::Ok | CheckStatus::Warning);
        ensure!(is_known, "{check:?}");
    }
    succeed("luoctl", &["check"]).map(drop)
}

/// Without the setting that keeps the agent up to the jump no update begins.
fn would_end() -> Result<()> {
    drop_in("[Unit]\nSurviveFinalKillSignal=no\n")?;
    systemctl(&["restart", LUOD])?;
    all_run(&WORKLOADS)?;
    let (output, text) = run("luoctl", &["update"])?;
    no_drop_in()?;
    systemctl(&["restart", LUOD])?;
    same("the exit code", output.status.code(), Some(1))?;
    ensure!(text.contains("SurviveFinalKillSignal"), "{text}");
    check()
}

/// Settings beside the unit's own, from the next start on.
fn drop_in(text: &str) -> Result<()> {
    fs::create_dir_all(DROP_IN)?;
    fs::write(format!("{DROP_IN}/test.conf"), text)?;
    systemctl(&["daemon-reload"]).map(drop)
}

fn no_drop_in() -> Result<()> {
    fs::remove_dir_all(DROP_IN)?;
    systemctl(&["daemon-reload"]).map(drop)
}

/// `systemctl reload` has the process that runs take the policy over.
fn reloaded() -> Result<()> {
    const NAME: &str = "guest-of-the-test";
    let register = || Agent::connect()?.register(NAME, &[]);
    let policy = fs::read_to_string(POLICY)?;
    let pid = main_pid()?;
    ensure!(register().is_err(), "{NAME} is allowed before");
    let rule = format!("[[allow]]\nunit = \"luo-test.service\"\nnames = [{NAME:?}]\n");
    fs::write(POLICY, format!("{policy}\n{rule}"))?;
    systemctl(&["reload", LUOD])?;
    until("the new policy", || Ok(register().is_ok()))?;
    fs::write(POLICY, policy)?;
    systemctl(&["reload", LUOD])?;
    until("the old policy", || Ok(register().is_err()))?;
    same("luod's process", main_pid()?, pid)?;
    all_run(&WORKLOADS)
}

/// A configuration that cannot be used fails the reload, and luod runs on by the one it has.
fn not_reloaded() -> Result<()> {
    let pid = main_pid()?;
    let before = fs::read_to_string(CONFIGURATION)?;
    fs::write(CONFIGURATION, "jump = \"sideways\"\n")?;
    let (output, text) = run("systemctl", &["reload", LUOD])?;
    fs::write(CONFIGURATION, before)?;
    ensure!(!output.status.success(), "it is taken: {text}");
    same("luod's process", main_pid()?, pid)?;
    same(
        "its unit",
        property(LUOD, "ActiveState")?.as_str(),
        "active",
    )?;
    systemctl(&["reload", LUOD])?;
    all_run(&WORKLOADS)
}

/// Where the unit lets luod write nothing, a report is refused before the update begins.
fn no_report() -> Result<()> {
    let (output, text) = run("luoctl", &["update", "--report", "/root/update.svg"])?;
    same("the exit code", output.status.code(), Some(1))?;
    ensure!(text.contains("/root/update.svg"), "{text}");
    ensure!(text.contains("/var/lib/luod"), "{text}");
    all_run(&WORKLOADS)
}

/// The target has the handler in Rust, so an update hands memfds over in runs; without one it
/// is as it was. The unit has to let luod choose.
fn in_runs() -> Result<()> {
    let format = || std::fs::read_to_string("/sys/kernel/liveupdate/memfd");
    same("the format before", format()?.trim(), "memfd-v2")?;
    succeed("luoctl", &["prepare"])?;
    same("the format in an update", format()?.trim(), "runs")?;
    succeed("luoctl", &["cancel"])?;
    same("the format after", format()?.trim(), "memfd-v2")?;
    all_run(&RUNNING)
}

/// While a kernel is loaded, systemd refuses to shut down: that would be a jump.
fn inhibited() -> Result<()> {
    let locks = || succeed("systemd-inhibit", &["--list", "--no-legend", "--no-pager"]);
    let is_luods = |text: &str| text.lines().any(|line| line.starts_with("luod "));
    succeed("luoctl", &["prepare"])?;
    ensure!(!is_luods(&locks()?), "before a kernel is loaded");
    succeed("luoctl", &["freeze"])?;
    let listed = locks()?;
    ensure!(is_luods(&listed), "{listed}");
    let (output, text) = run("systemctl", &["reboot"])?;
    ensure!(!output.status.success(), "it shuts down: {text}");
    succeed("luoctl", &["cancel"])?;
    until("the lock's end", || Ok(!is_luods(&locks()?)))?;
    all_run(&RUNNING)
}

/// One leaves at prepare, and the update is off: the agent alone has its session.
fn leaves() -> Result<()> {
    all_run(&WORKLOADS)?;
    succeed("luoctl", &["prepare"])?;
    until("it has left", || {
        Ok(in_state(WorkloadState::Left)? == [LEAVER])
    })?;
    until("its unit's end", || {
        Ok(property(LEAVER, "ActiveState")? == "inactive")
    })?;
    same(
        "how it ended",
        property(LEAVER, "Result")?.as_str(),
        "success",
    )?;
    succeed("luoctl", &["cancel"])?;
    same("the phase", status()?.phase, Phase::Normal)?;
    all_run(&RUNNING)
}

/// Something ends the agent, and another one knows all that it knew.
fn survives(end: impl FnOnce() -> Result<()>) -> Result<()> {
    let (before, pid) = (sessions()?, main_pid()?);
    ensure!(before.len() == 3, "{before:?}");
    until("all are in the store", || Ok(kept()? == 3))?;
    end()?;
    until("another luod", || {
        let now = main_pid().unwrap_or(pid);
        Ok(now != pid && now != 0 && status().is_ok())
    })?;
    all_run(&RUNNING)?;
    same(
        "who has left",
        in_state(WorkloadState::Left)?,
        vec![LEAVER.to_owned()],
    )?;
    same("the sessions", sessions()?, before)?;
    until("all are in the store", || Ok(kept()? == 3))
}

fn stop_and_start() -> Result<()> {
    systemctl(&["stop", LUOD])?;
    ensure!(status().is_err(), "somebody answers");
    same("what systemd keeps", kept()?, 3)?;
    systemctl(&["start", LUOD]).map(drop)
}

/// It does not answer any more, and the watchdog bites.
fn hung() -> Result<()> {
    drop_in("[Service]\nWatchdogSec=5s\n")?;
    survives(|| systemctl(&["restart", LUOD]).map(drop))?;
    let restarts = || -> Result<u32> { Ok(property(LUOD, "NRestarts")?.parse()?) };
    let before = restarts()?;
    survives(|| signal(Signal::STOP))?;
    ensure!(restarts()? == before + 1, "nobody has started it again");
    no_drop_in()?;
    survives(|| systemctl(&["restart", LUOD]).map(drop))
}
