// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel's log says of transitions and vetoes.

use anyhow::{Result, bail, ensure};
use luo_sys::{Errno, Needed, Token};

use super::tools::{NO_EVENTS, lines, memory, session};
use crate::case::{Case, Context, alone, here};
use crate::check::{device, refused};
use crate::difference::{answers, missing};
use crate::forge::{self, Fault, HANDLER, ODD, Subsystems};
use crate::kmsg::Reader;

pub(super) const CASES: &[Case] = &[
    here("one-line-a-transition", transitions).but(&[missing(NO_EVENTS)]),
    here("a-veto-names-who-and-why", veto).but(&[missing(NO_EVENTS)]),
    here("a-subsystem-is-named", subsystem).but(&[missing(NO_EVENTS)]),
    here("a-missing-dependency-names-both", dependency).but(&[missing(NO_EVENTS)]),
    here("what-is-illegal-is-no-transition", illegal).but(&[missing(NO_EVENTS)]),
    alone("closes-do-not-fill-it", &[leave_what_refuses, close_often]).but(&[answers(
        Errno::EINVAL,
        "mainline keeps what it cannot finish where nobody can reach it",
    )]),
    alone("finish-says-what-it-released", &[leave, released]).but(&[missing(NO_EVENTS)]),
];

/// Asserts that there is one line, with all of these in it.
fn one_line(log: &mut Reader, words: &[&str]) -> Result<()> {
    let lines = lines(log)?;
    let [line] = lines.as_slice() else {
        bail!("not one line but: {lines:?}");
    };
    for word in words {
        ensure!(line.contains(word), "'{word}' is not in: {line}");
    }
    Ok(())
}

fn transitions(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    device.state()?;
    let _sessions = (session(&device, "one", 2)?, session(&device, "two", 1)?);
    let mut log = Reader::from_now()?;
    device.prepare()?;
    one_line(
        &mut log,
        &["prepare: normal -> prepared, 2 sessions, 3 files"],
    )?;
    device.freeze()?;
    one_line(
        &mut log,
        &["freeze: prepared -> frozen, 2 sessions, 3 files"],
    )?;
    device.cancel()?;
    one_line(&mut log, &["cancel: frozen -> normal, ", " us"])
}

fn veto(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "vetoes", 0)?;
    session.preserve_fd(forge::open()?, Token(0x77))?;
    device.prepare()?;
    let mut log = Reader::from_now()?;
    let fault = Fault::Freeze(ODD).inject()?;
    refused(device.freeze(), ODD)?;
    drop(fault);
    let words = [
        "freeze fails",
        "normal",
        HANDLER,
        "\"vetoes\"",
        "0x77",
        "EFBIG",
    ];
    one_line(&mut log, &words)
}

fn subsystem(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    device.state()?;
    let _subsystems = Subsystems::register()?;
    let mut log = Reader::from_now()?;
    let fault = Fault::SubsystemPrepare(ODD).inject()?;
    refused(device.prepare(), ODD)?;
    drop(fault);
    one_line(&mut log, &["prepare fails", "normal", "forge-b", "EFBIG"])
}

fn dependency(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    device.state()?;
    let session = session(&device, "needs", 1)?;
    let needed = self::session(&device, "needed", 0)?;
    needed.preserve_fd(memory("needed", 0x33)?, Token(0x33))?;
    let on = Needed::In(crate::check::name("needed"), Token(0x33));
    session.add_dependency(Token(1), on)?;
    drop(needed);
    let mut log = Reader::from_now()?;
    refused(device.prepare(), Errno::ENOLINK)?;
    let words = ["prepare fails", "\"needs\"", "0x1", "\"needed\"", "0x33"];
    one_line(&mut log, &words)
}

fn illegal(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    device.state()?;
    let mut log = Reader::from_now()?;
    refused(device.freeze(), Errno::EINVAL)?;
    refused(device.finish_update(), Errno::EINVAL)?;
    let lines = lines(&mut log)?;
    ensure!(lines.is_empty(), "the log has {lines:?}");
    Ok(())
}

fn leave(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    device.state()?;
    context.hold(session(&device, "released", 2)?);
    Ok(())
}

fn released(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = device.retrieve_session(&crate::check::name("released"))?;
    session.retrieve_fd(Token(2))?;
    let mut log = Reader::from_now()?;
    device.finish_update()?;
    let words = [
        "finish: updated -> normal",
        "released 1 file",
        "\"released\"",
        "0x1",
    ];
    one_line(&mut log, &words)
}

/// Leaves a session whose handler will not let go of its file.
fn leave_what_refuses(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let session = session(&device, "refuses", 0)?;
    session.preserve_fd(forge::open()?, Token(1))?;
    context.hold(session);
    Ok(())
}

/// Closing what cannot be finished is told in the log, and not each time: a program that
/// does it over and over pushes nobody's lines out of it.
fn close_often(_: &mut Context<'_>) -> Result<()> {
    const CLOSES: u32 = 200;
    const MOST: usize = 64;
    let device = device()?;
    let refuses = crate::check::name("refuses");
    let mut log = Reader::from_now()?;
    let fault = Fault::FinishRefusals(CLOSES).inject()?;
    for _ in 0..CLOSES {
        drop(device.retrieve_session(&refuses)?);
    }
    let told = lines(&mut log)?;
    let told = told
        .iter()
        .filter(|line| line.contains("was closed"))
        .count();
    ensure!(
        (1..=MOST).contains(&told),
        "{told} lines of {CLOSES} closes"
    );
    drop(fault);
    let session = device.retrieve_session(&refuses)?;
    session.retrieve_fd(Token(1))?;
    Ok(session.finish()?)
}
