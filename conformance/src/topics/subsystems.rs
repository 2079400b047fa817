// SPDX-License-Identifier: MIT OR Apache-2.0
//! Participants that are no files: the test driver's two subsystems.

use std::io;

use anyhow::{Result, bail, ensure};
use luo_sys::{Cause, Errno, ParticipantKind, State, Token, Tried};

use super::tools::{NO_EVENTS, enter, session, state_is};
use crate::case::{Case, Context, alone, here};
use crate::check::{device, refused, same};
use crate::difference::missing;
use crate::forge::{self, Fault, ODD, SUBSYSTEMS, Subsystems};

pub(super) const CASES: &[Case] = &[
    here("each-event-reaches-them", reached).but(&[missing(NO_EVENTS)]),
    here("files-come-before-them", files_first).but(&[missing(NO_EVENTS)]),
    here("veto-at-prepare", veto_prepare).but(&[missing(NO_EVENTS)]),
    here("veto-at-freeze", veto_freeze).but(&[missing(NO_EVENTS)]),
    here("prepared-registers-none", fixed).but(&[missing(NO_EVENTS)]),
    here("they-are-listed", listed).but(&[missing(NO_EVENTS)]),
    alone("data-reaches-the-next-kernel", &[leave, arrive]).but(&[missing(NO_EVENTS)]),
];

fn expect_calls(expected: &str) -> Result<()> {
    same("the calls", forge::calls()?.join(" "), expected.to_owned())?;
    forge::clear_calls()
}

fn reached(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let _subsystems = Subsystems::register()?;
    forge::clear_calls()?;
    device.prepare()?;
    expect_calls("prepare:forge-a prepare:forge-b")?;
    device.freeze()?;
    expect_calls("freeze:forge-a freeze:forge-b")?;
    device.cancel()?;
    expect_calls("cancel:forge-b cancel:forge-a")
}

fn files_first(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let _subsystems = Subsystems::register()?;
    let file = forge::open()?;
    let id = forge::id(&file)?;
    let token = device.fd_preserve(&file)?;
    forge::clear_calls()?;
    device.prepare()?;
    expect_calls(&format!("preserve:{id} prepare:forge-a prepare:forge-b"))?;
    device.freeze()?;
    expect_calls(&format!("freeze:{id} freeze:forge-a freeze:forge-b"))?;
    device.cancel()?;
    expect_calls(&format!(
        "cancel:forge-b cancel:forge-a unfreeze:{id} unpreserve:{id}"
    ))?;
    Ok(device.fd_unpreserve(token)?)
}

fn veto_prepare(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let _subsystems = Subsystems::register()?;
    forge::clear_calls()?;
    let fault = Fault::SubsystemPrepare(ODD).inject()?;
    refused(device.prepare(), ODD)?;
    drop(fault);
    expect_calls("prepare:forge-a prepare:forge-b cancel:forge-a")?;
    state_is(&device, State::Normal)?;
    let failure = device.failure()?;
    same("the event", failure.event, Tried::Prepare)?;
    same("the cause", failure.cause, Cause::Subsystem)?;
    same("the participant", failure.participant.as_str(), "forge-b")?;
    same("the error", failure.error, Some(ODD))
}

/// What vetoes at freeze has agreed at prepare, so it is cancelled too.
fn veto_freeze(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let _subsystems = Subsystems::register()?;
    device.prepare()?;
    forge::clear_calls()?;
    let fault = Fault::SubsystemFreeze(ODD).inject()?;
    refused(device.freeze(), ODD)?;
    drop(fault);
    expect_calls("freeze:forge-a freeze:forge-b cancel:forge-b cancel:forge-a")?;
    state_is(&device, State::Normal)?;
    let failure = device.failure()?;
    same("the event", failure.event, Tried::Freeze)?;
    same("the cause", failure.cause, Cause::Subsystem)?;
    same("the participant", failure.participant.as_str(), "forge-b")
}

fn fixed(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let busy = |result: io::Result<()>| match result {
        Err(error) if error.raw_os_error() == Some(Errno::EBUSY.get()) => Ok(()),
        other => bail!("{other:?} instead of EBUSY"),
    };
    for state in [State::Prepared, State::Frozen] {
        let subsystems = Subsystems::register()?;
        enter(&device, state)?;
        busy(subsystems.unregister())?;
        device.cancel()?;
        subsystems.unregister()?;
        enter(&device, state)?;
        let again = Subsystems::register();
        device.cancel()?;
        let Err(error) = again else {
            bail!("they were registered in {state}");
        };
        match error.downcast::<io::Error>() {
            Ok(error) => busy(Err(error))?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn listed(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    let names = || -> Result<Vec<String>> {
        let all = device.list_participants()?.into_iter();
        Ok(all
            .filter(|entry| entry.kind == ParticipantKind::Subsystem)
            .map(|entry| entry.name)
            .filter(|name| SUBSYSTEMS.contains(&name.as_str()))
            .collect())
    };
    ensure!(names()?.is_empty(), "they are not registered yet");
    let subsystems = Subsystems::register()?;
    same(
        "the subsystems",
        names()?,
        SUBSYSTEMS.map(String::from).to_vec(),
    )?;
    subsystems.unregister()?;
    ensure!(names()?.is_empty(), "they are not registered any more");
    Ok(())
}

fn leave(context: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    Subsystems::register()?.keep();
    context.hold(session(&device, "subsystems", 1)?);
    Ok(())
}

/// Finish comes when the update ends, with the data, and once.
fn arrive(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Updated)?;
    let subsystems = Subsystems::register()?;
    forge::clear_calls()?;
    let session = device.retrieve_session(&crate::check::name("subsystems"))?;
    session.retrieve_fd(Token(1))?;
    expect_calls("")?;
    same(
        "the data",
        forge::subsystem_data()?,
        "forge-a=0xa1 forge-b=0xb1".to_owned(),
    )?;
    session.finish()?;
    state_is(&device, State::Normal)?;
    expect_calls("finish:forge-a finish:forge-b")?;
    device.prepare()?;
    device.cancel()?;
    expect_calls("prepare:forge-a prepare:forge-b cancel:forge-b cancel:forge-a")?;
    Ok(subsystems.unregister()?)
}
