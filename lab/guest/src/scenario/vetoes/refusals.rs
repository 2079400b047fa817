// SPDX-License-Identifier: MIT OR Apache-2.0
//! What refuses an update, by event and by reboot: who is called, what is undone,
//! and who is told.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use luo_conformance::forge::{self, Fault, HANDLER, ODD};
use luo_sys::{Cause, Errno, State, Tried};

use super::set_up::{FIRST, SECOND, SUITE, SetUp, TWO, called};
use crate::check::{name, refused, same};
use crate::{kexec, kmsg};

/// What becomes of a reboot when something cannot go.
const REBOOT: &str = "/sys/kernel/liveupdate/reboot";

/// Runs the cases. Each leaves the machine normal and the set-up as it was.
pub(super) fn run(set_up: &mut SetUp) {
    let s = &*set_up;
    // By default a reboot would go on without what vetoes.
    SUITE.case("a-veto-may-refuse-the-reboot", || {
        fs::write(REBOOT, "veto").context(REBOOT)
    });
    SUITE.case("handler-vetoes-prepare", || handler_prepare(s));
    SUITE.case("subsystem-vetoes-prepare", || subsystem_prepare(s));
    SUITE.case("handler-vetoes-freeze", || handler_freeze(s));
    SUITE.case("subsystem-vetoes-freeze", || subsystem_freeze(s));
    SUITE.case("handler-vetoes-the-reboot", || handler_reboot(s));
    SUITE.case("subsystem-vetoes-the-reboot", || subsystem_reboot(s));
    SUITE.case("cancel-undoes-all", || cancel(s));
    SUITE.case("missing-dependency", || missing(set_up));
}

/// The machine is normal, nothing is frozen, and of the files only those of the
/// named sessions are preserved.
fn undone(s: &SetUp) -> Result<()> {
    same("the state", s.device.state()?, State::Normal)?;
    same("preserved and frozen", forge::counts()?, (2, 0))
}

/// A line of the log that tells of a failure, found by what it must name.
fn told(log: &mut kmsg::Reader, words: &[&str]) -> Result<()> {
    let messages = log.read()?;
    let lines: Vec<&str> = messages
        .iter()
        .filter(|message| message.is_luo() && message.text.contains(" fails"))
        .map(|message| message.text.as_str())
        .collect();
    let [line] = lines.as_slice() else {
        bail!("the log does not tell once, but: {lines:?}");
    };
    for word in words {
        ensure!(line.contains(word), "the log does not name {word}: {line}");
    }
    Ok(())
}

fn handler_prepare(s: &SetUp) -> Result<()> {
    forge::clear_calls()?;
    let mut log = kmsg::Reader::from_now()?;
    let fault = Fault::Preserve(ODD).inject()?;
    refused(s.device.prepare(), ODD)?;
    drop(fault);
    called(s.ids, "preserve:#3")?;
    undone(s)?;
    let failure = s.device.failure()?;
    same("the event", failure.event, Tried::Prepare)?;
    same("the cause", failure.cause, Cause::Handler)?;
    same("the token", failure.token, s.token)?;
    same("the handler", failure.participant.as_str(), HANDLER)?;
    let token = s.token.to_string();
    told(&mut log, &["prepare", HANDLER, &token, "EFBIG"])
}

fn subsystem_prepare(s: &SetUp) -> Result<()> {
    forge::clear_calls()?;
    let mut log = kmsg::Reader::from_now()?;
    let fault = Fault::SubsystemPrepare(ODD).inject()?;
    refused(s.device.prepare(), ODD)?;
    drop(fault);
    called(
        s.ids,
        "preserve:#3 prepare:forge-a prepare:forge-b cancel:forge-a unpreserve:#3",
    )?;
    undone(s)?;
    let failure = s.device.failure()?;
    same("the cause", failure.cause, Cause::Subsystem)?;
    same("the subsystem", failure.participant.as_str(), "forge-b")?;
    told(&mut log, &["prepare", "forge-b", "EFBIG"])
}

/// Prepares, and forgets that it did.
fn prepared(s: &SetUp) -> Result<()> {
    forge::clear_calls()?;
    s.device.prepare()?;
    same("the state", s.device.state()?, State::Prepared)?;
    called(s.ids, "preserve:#3 prepare:forge-a prepare:forge-b")
}

/// The second file vetoes: the first, which needs it, was frozen before.
fn handler_freeze(s: &SetUp) -> Result<()> {
    prepared(s)?;
    let mut log = kmsg::Reader::from_now()?;
    let faults = (
        Fault::File(s.ids[1]).inject()?,
        Fault::Freeze(ODD).inject()?,
    );
    refused(s.device.freeze(), ODD)?;
    drop(faults);
    called(
        s.ids,
        "freeze:#1 freeze:#2 cancel:forge-b cancel:forge-a unfreeze:#1 unpreserve:#3",
    )?;
    undone(s)?;
    let failure = s.device.failure()?;
    same("the event", failure.event, Tried::Freeze)?;
    same("the cause", failure.cause, Cause::Handler)?;
    same("the session", failure.session, Some(name(SECOND)))?;
    same("the token", failure.token, TWO)?;
    told(&mut log, &["freeze", HANDLER, SECOND, "0x2", "EFBIG"])
}

fn subsystem_freeze(s: &SetUp) -> Result<()> {
    prepared(s)?;
    let mut log = kmsg::Reader::from_now()?;
    let fault = Fault::SubsystemFreeze(ODD).inject()?;
    refused(s.device.freeze(), ODD)?;
    drop(fault);
    called(
        s.ids,
        "freeze:#1 freeze:#2 freeze:#3 freeze:forge-a freeze:forge-b \
         cancel:forge-b cancel:forge-a unfreeze:#3 unfreeze:#2 unfreeze:#1 unpreserve:#3",
    )?;
    undone(s)?;
    told(&mut log, &["freeze", "forge-b", "EFBIG"])
}

fn handler_reboot(s: &SetUp) -> Result<()> {
    forge::clear_calls()?;
    let faults = (
        Fault::File(s.ids[1]).inject()?,
        Fault::Freeze(ODD).inject()?,
    );
    let error = kexec::jump();
    drop(faults);
    same("the kexec's error", error.errno(), ODD)?;
    called(
        s.ids,
        "preserve:#3 prepare:forge-a prepare:forge-b freeze:#1 freeze:#2 \
         cancel:forge-b cancel:forge-a unfreeze:#1 unpreserve:#3",
    )?;
    undone(s)?;
    same("the event", s.device.failure()?.event, Tried::Reboot)
}

fn subsystem_reboot(s: &SetUp) -> Result<()> {
    forge::clear_calls()?;
    let fault = Fault::SubsystemPrepare(ODD).inject()?;
    let error = kexec::jump();
    drop(fault);
    same("the kexec's error", error.errno(), ODD)?;
    called(
        s.ids,
        "preserve:#3 prepare:forge-a prepare:forge-b cancel:forge-a unpreserve:#3",
    )?;
    undone(s)
}

fn cancel(s: &SetUp) -> Result<()> {
    prepared(s)?;
    s.device.freeze()?;
    same("preserved and frozen", forge::counts()?, (3, 3))?;
    called(
        s.ids,
        "freeze:#1 freeze:#2 freeze:#3 freeze:forge-a freeze:forge-b",
    )?;
    s.device.cancel()?;
    called(
        s.ids,
        "cancel:forge-b cancel:forge-a unfreeze:#3 unfreeze:#2 unfreeze:#1 unpreserve:#3",
    )?;
    undone(s)
}

/// Nobody is called: the pair is found before anything happens.
fn missing(s: &mut SetUp) -> Result<()> {
    s.unregister_third()?;
    forge::clear_calls()?;
    let mut log = kmsg::Reader::from_now()?;
    refused(s.device.prepare(), Errno::ENOLINK)?;
    let token = s.token.to_string();
    told(&mut log, &["prepare", SECOND, "0x2", &token])?;
    let pair = |tried: Tried| -> Result<()> {
        called(s.ids, "")?;
        undone(s)?;
        let failure = s.device.failure()?;
        same("the event", failure.event, tried)?;
        same("the error", failure.error, Some(Errno::ENOLINK))?;
        same("the cause", failure.cause, Cause::Dependency)?;
        same("the session", failure.session, Some(name(SECOND)))?;
        same("the token", failure.token, TWO)?;
        same("the needed token", failure.on_token, s.token)?;
        same("whether on the device", failure.on_device, true)
    };
    pair(Tried::Prepare)?;
    same("the kexec's error", kexec::jump().errno(), Errno::ENOLINK)?;
    pair(Tried::Reboot)?;
    s.register_third()?;
    prepared(s).context("mended")?;
    Ok(s.device.cancel()?)
}

/// The way that leads to the next kernel.
pub(super) fn accepted(s: &SetUp) -> Result<()> {
    same("the name", s.first.name()?, name(FIRST))?;
    let mut log = kmsg::Reader::from_now()?;
    prepared(s)?;
    s.device.freeze()?;
    same("the state", s.device.state()?, State::Frozen)?;
    called(
        s.ids,
        "freeze:#1 freeze:#2 freeze:#3 freeze:forge-a freeze:forge-b",
    )?;
    let messages = log.read()?;
    for line in [
        "luo: prepare: normal -> prepared, 3 sessions, 3 files, 2 subsystems in ",
        "luo: freeze: prepared -> frozen, 3 sessions, 3 files, 2 subsystems in ",
    ] {
        let count = messages
            .iter()
            .filter(|message| message.text.starts_with(line))
            .count();
        ensure!(count == 1, "'{line}' is logged {count} times: {messages:?}");
    }
    Ok(())
}
