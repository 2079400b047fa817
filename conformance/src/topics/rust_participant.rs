// SPDX-License-Identifier: MIT OR Apache-2.0
//! A participant that is written in Rust, among files and participants in C.

use std::io;

use anyhow::{Context as _, Result, bail, ensure};
use luo_sys::{Errno, ParticipantKind, State};

use super::tools::{NO_EVENTS, enter, state_is};
use crate::case::{Case, Context, alone, here};
use crate::check::{device, same};
use crate::difference::missing;
use crate::forge::{self, PrintedCalls, Subsystems};
use crate::kmsg::Reader;
use crate::participant;

pub(super) const CASES: &[Case] = &[
    here("is-called-in-its-turn", turns).but(&[missing(NO_EVENTS)]),
    here("a-second-of-its-name-is-eexist", second).but(&[missing(NO_EVENTS)]),
    alone("its-data-reaches-the-next-kernel", &[leave, arrive]).but(&[missing(NO_EVENTS)]),
    alone("if-prepared-it-stays-for-good", &[stay, stayed]).but(&[missing(NO_EVENTS)]),
];

/// What the drivers have logged since the last time, without the driver's name.
fn calls(log: &mut Reader) -> Result<String> {
    let messages = log.read()?;
    let calls: Vec<&str> = messages
        .iter()
        .filter_map(|message| {
            let text = message.text.strip_prefix("luo_");
            let (driver, call) = text?.split_once(": ")?;
            matches!(driver, "forge" | "participant").then_some(call)
        })
        .collect();
    Ok(calls.join(", "))
}

fn expect_calls(log: &mut Reader, expected: &str) -> Result<()> {
    same("the calls", calls(log)?, expected.to_owned())
}

/// Asserts that it cannot be registered.
fn is_refused(errno: Errno) -> Result<()> {
    let Err(error) = participant::open() else {
        bail!("it was registered instead of {errno}");
    };
    let error = error.downcast::<io::Error>()?;
    same("the error", error.raw_os_error(), Some(errno.get()))
}

fn turns(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let _subsystems = Subsystems::register()?;
    let participant = participant::open()?;
    let file = forge::open()?;
    let id = forge::id(&file)?;
    let token = device.fd_preserve(&file)?;
    let _printed = PrintedCalls::begin()?;
    let mut log = Reader::from_now()?;
    device.prepare()?;
    expect_calls(
        &mut log,
        &format!("preserve:{id}, prepare:forge-a, prepare:forge-b, prepare:forge-rust"),
    )?;
    device.freeze()?;
    expect_calls(
        &mut log,
        &format!("freeze:{id}, freeze:forge-a, freeze:forge-b, freeze:forge-rust 0xc0"),
    )?;
    device.cancel()?;
    expect_calls(
        &mut log,
        &format!(
            "cancel:forge-rust 0xc1, cancel:forge-b, cancel:forge-a, unfreeze:{id}, unpreserve:{id}"
        ),
    )?;
    drop(participant);
    device.prepare()?;
    device.cancel()?;
    let calls = calls(&mut log)?;
    ensure!(!calls.contains(participant::NAME), "it is gone: {calls}");
    Ok(device.fd_unpreserve(token)?)
}

fn second(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let first = participant::open()?;
    same("its data", participant::data(&first)?.as_str(), "none")?;
    let listed = device.list_participants()?.into_iter();
    let count = listed
        .filter(|entry| entry.kind == ParticipantKind::Subsystem)
        .filter(|entry| entry.name == participant::NAME)
        .count();
    same("how often it is listed", count, 1)?;
    for _ in 0..2 {
        is_refused(Errno::EEXIST)?;
    }
    drop(first);
    participant::open()?;
    enter(&device, State::Prepared)?;
    let refused = is_refused(Errno::EBUSY);
    device.cancel()?;
    refused
}

fn leave(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let participant = participant::open()?;
    device.fd_preserve(forge::open()?)?;
    context.hold(participant);
    context.hold(device);
    Ok(())
}

fn arrive(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Updated)?;
    let participant = participant::open()?;
    same(
        "its data",
        participant::data(&participant)?.as_str(),
        "0xc1",
    )?;
    let _printed = PrintedCalls::begin()?;
    let mut log = Reader::from_now()?;
    device.finish_update()?;
    let calls = calls(&mut log)?;
    let (files, own) = calls.split_once(", ").context("one call only")?;
    ensure!(files.starts_with("finish:"), "first was {files}");
    same("then", own, "finish:forge-rust 0xc1")?;
    drop(participant);
    let participant = participant::open()?;
    same(
        "its data",
        participant::data(&participant)?.as_str(),
        "none",
    )
}

/// It is let go of while the orchestrator still needs it: it stays, with its
/// callbacks.
fn stay(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let participant = participant::open()?;
    device.prepare()?;
    let mut log = Reader::from_now()?;
    drop(participant);
    // Whatever comes after a close finds it done; of calls, that holds everywhere.
    state_is(&device, State::Prepared)?;
    let messages = log.read()?;
    let told = messages
        .iter()
        .any(|message| message.is_warning() && message.text.contains("stays for good"));
    ensure!(told, "the log does not tell: {messages:?}");
    device.cancel()?;
    expect_calls(&mut log, "cancel:forge-rust 0xc0")?;
    is_refused(Errno::EEXIST)?;
    enter(&device, State::Frozen)?;
    expect_calls(&mut log, "prepare:forge-rust, freeze:forge-rust 0xc0")
}

/// It took part in the update all the same.
fn stayed(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Updated)?;
    let participant = participant::open()?;
    same(
        "its data",
        participant::data(&participant)?.as_str(),
        "0xc1",
    )?;
    device.finish_update()?;
    state_is(&device, State::Normal)
}
