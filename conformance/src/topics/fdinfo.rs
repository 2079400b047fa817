// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `/proc/PID/fdinfo` says about a session's descriptor.

use anyhow::{Context as _, Result};
use luo_sys::{Session, State, Token};

use super::tools::{LENGTH, enter, incoming, retrieve, session};
use crate::case::{Case, Context, here, shared};
use crate::check::{device, same};
use crate::difference::absent;
use crate::forge;
use crate::look::fdinfo;

const BARE: &str = "mainline shows nothing of a session";

pub(super) const CASES: &[Case] = &[
    here("outgoing", outgoing).but(&[absent(BARE)]),
    here("follows-the-state", follows).but(&[absent(BARE)]),
    here("other-handlers", handlers).but(&[absent(BARE)]),
    shared("incoming", leave, arrived).but(&[absent(BARE)]),
];

fn lines(session: &Session) -> Result<Vec<String>> {
    let lines = fdinfo(session)?.into_iter();
    Ok(lines.map(|(key, value)| format!("{key}={value}")).collect())
}

/// The lines of a session with files, in order.
fn expected(name: &str, direction: &str, state: &str, files: &[String]) -> Vec<String> {
    let mut lines = vec![
        format!("name={name}"),
        format!("direction={direction}"),
        format!("state={state}"),
        format!("files={}", files.len()),
    ];
    lines.extend(files.iter().cloned());
    lines
}

fn memfd(token: u64, status: &str) -> String {
    let bytes = LENGTH.next_multiple_of(4096);
    format!("file=token {token:#x} handler memfd-v2 status {status} bytes {bytes}")
}

fn outgoing(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let empty = session(&device, "nothing in it", 0)?;
    same(
        "the lines",
        lines(&empty)?,
        expected("nothing in it", "outgoing", "open", &[]),
    )?;
    let session = session(&device, "vm", 2)?;
    let files = [memfd(1, "preserved"), memfd(2, "preserved")];
    same(
        "the lines",
        lines(&session)?,
        expected("vm", "outgoing", "open", &files),
    )
}

fn follows(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "vm", 1)?;
    lines(&session)?;
    let device = device()?;
    let status = |status: &str| {
        let files = [memfd(1, status)];
        same(
            "the lines",
            lines(&session)?,
            expected("vm", "outgoing", "open", &files),
        )
    };
    enter(&device, State::Prepared)?;
    status("preserved").context("prepared")?;
    device.freeze()?;
    status("frozen").context("frozen")?;
    device.cancel()?;
    status("preserved").context("cancelled")
}

fn handlers(_: &mut Context<'_>) -> Result<()> {
    let session = session(&device()?, "vm", 0)?;
    session.preserve_fd(forge::open()?, Token(u64::MAX))?;
    let file = "file=token 0xffffffffffffffff handler forge-v1 status preserved bytes 0";
    same(
        "the lines",
        lines(&session)?,
        expected("vm", "outgoing", "open", &[file.to_owned()]),
    )
}

fn leave(context: &mut Context<'_>) -> Result<()> {
    let session = session(&*context.device()?, "fdinfo", 2)?;
    lines(&session)?;
    context.hold(session);
    Ok(())
}

fn arrived(_: &mut Context<'_>) -> Result<()> {
    let session = incoming("fdinfo")?;
    retrieve(&session, "fdinfo", 2)?;
    let files = [memfd(1, "incoming"), memfd(2, "retrieved")];
    same(
        "the lines",
        lines(&session)?,
        expected("fdinfo", "incoming", "claimed", &files),
    )?;
    Ok(session.finish()?)
}
