// SPDX-License-Identifier: MIT OR Apache-2.0
//! How often, and how, the device may be opened, and that an open waits for nobody. Who
//! may open it: `owners`.

use std::thread::scope;

use anyhow::{Context as _, Result};
use luo_sys::{Device, Errno, Event, raw};

use super::tools::{FIRST, NO_EVENTS, incoming, memory, session};
use crate::case::{Case, Context, alone, here, shared};
use crate::check::{device, name, refused};
use crate::child::send;
use crate::difference::{accepts, answers, missing};
use crate::forge::{self, Fault, Hold};
use crate::user::{Delegated, USERS, as_user};
use crate::waiting::Caller;

pub(super) const CASES: &[Case] = &[
    here("o-excl-is-einval", exclusive).but(&[accepts("mainline ignores the flag")]),
    here("second-open-is-ebusy", second_open),
    here("open-again-after-close", again),
    alone("many-openers-by-parameter", &[many_wanted, many]).but(&[answers(
        Errno::EBUSY,
        "mainline has one opener and no such parameter",
    )]),
    here("an-open-waits-for-no-prepare", |_| {
        during(Event::Prepare, "preserve")
    })
    .but(&[missing(NO_EVENTS)]),
    here("an-open-waits-for-no-freeze", |_| {
        during(Event::Freeze, "freeze")
    })
    .but(&[missing(NO_EVENTS)]),
    shared("an-open-waits-for-no-retrieve", leave, during_retrieve),
    shared("an-open-waits-for-no-first-call", leave, during_first_call).but(&[answers(
        Errno::EINVAL,
        "mainline keeps what it cannot finish where nobody can reach it",
    )]),
];

fn exclusive(_: &mut Context<'_>) -> Result<()> {
    refused(raw::open_exclusive(), Errno::EINVAL)
}

fn second_open(_: &mut Context<'_>) -> Result<()> {
    let _first = device()?;
    refused(Device::open(), Errno::EBUSY)
}

fn again(_: &mut Context<'_>) -> Result<()> {
    for _ in 0..3 {
        drop(device()?);
    }
    Ok(())
}

fn many_wanted(context: &mut Context<'_>) -> Result<()> {
    context.boot_with("liveupdate_openers", "many");
    Ok(())
}

/// Each opener has files of its own; names and sessions belong to all.
fn many(_: &mut Context<'_>) -> Result<()> {
    let first = device()?;
    let second = device()?;
    let token = first.fd_preserve(memory("many", 1)?)?;
    refused(second.fd_unpreserve(token), Errno::ENOENT)?;
    let _session = first.create_session(&name("many"))?;
    refused(second.create_session(&name("many")), Errno::EEXIST)?;
    Ok(first.fd_unpreserve(token)?)
}

/// Opens what can be opened while a callback of the test driver does not return: the device,
/// by others than who waits for the callback, and the device of another driver, for
/// whose open the kernel takes the same lock. Each comes back, with its answer, before the callback
/// does.
fn others_open(hold: &Hold) -> Result<()> {
    scope(|scope| {
        let neighbour = Caller::begin(scope, forge::open)?;
        neighbour.outcome()?.context("another driver's device")?;
        for user in USERS {
            let open = move || as_user(user, || Ok(Device::open().map(drop)?));
            let open = Caller::begin(scope, open)?;
            open.outcome()?.with_context(|| format!("user {user}"))?;
        }
        Ok::<_, anyhow::Error>(())
    })?;
    hold.holds()
}

/// An event stands in a callback.
fn during(event: Event, callback: &str) -> Result<()> {
    let device = device()?;
    let file = forge::open()?;
    device.fd_preserve(&file)?;
    if event == Event::Freeze {
        device.prepare()?;
    }
    let callback = format!("{callback}:{}", forge::id(&file)?);
    let _delegated = Delegated::new()?;
    scope(|scope| {
        let hold = Hold::on(callback)?;
        let event = Caller::begin(scope, || send(&device, event))?;
        hold.reached()?;
        others_open(&hold)?;
        // Refused at once: somebody with privileges has it open.
        let second = Caller::begin(scope, || refused(Device::open(), Errno::EBUSY))?;
        second.outcome()??;
        hold.holds()?;
        drop(hold);
        Ok::<_, anyhow::Error>(event.outcome()??)
    })?;
    Ok(device.cancel()?)
}

fn leave(context: &mut Context<'_>) -> Result<()> {
    let file = forge::open()?;
    context.note("id", forge::id(&file)?.into());
    let session = session(&*context.device()?, context.own_name(), 0)?;
    session.preserve_fd(&file, FIRST)?;
    context.hold(session);
    Ok(())
}

/// The first file of a session stands in its handler's `retrieve`.
fn during_retrieve(context: &mut Context<'_>) -> Result<()> {
    let session = incoming(context.own_name())?;
    let callback = format!("retrieve:{}", context.noted("id")?);
    let _delegated = Delegated::new()?;
    scope(|scope| {
        let hold = Hold::on(callback)?;
        let retrieve = Caller::begin(scope, || session.retrieve_fd(FIRST))?;
        hold.reached()?;
        others_open(&hold)?;
        let administrator = Caller::begin(scope, || device().map(drop))?;
        administrator.outcome()?.context("the administrator")?;
        hold.holds()?;
        drop(hold);
        Ok::<_, anyhow::Error>(retrieve.outcome()??)
    })?;
    Ok(session.finish()?)
}

/// The first call on a device lets go of a session that was closed and could not be finished
/// then. It stands in the handler's `finish`.
fn during_first_call(context: &mut Context<'_>) -> Result<()> {
    let nobody = name("nobody");
    let before = device()?;
    let own = name(context.own_name());
    let session = before.retrieve_session(&own)?;
    let fault = Fault::FinishRefusals(2).inject()?;
    drop(session);
    drop(before.retrieve_session(&own).context("it stays")?);
    // Where a close is noticed by those who call, it must be before the fault goes.
    refused(before.retrieve_session(&nobody), Errno::ENOENT)?;
    drop((fault, before));
    let callback = format!("finish:{}", context.noted("id")?);
    let first = device()?;
    let _delegated = Delegated::new()?;
    scope(|scope| {
        let hold = Hold::on(callback)?;
        let call = Caller::begin(scope, || {
            refused(first.retrieve_session(&nobody), Errno::ENOENT)
        })?;
        hold.reached()?;
        others_open(&hold)?;
        drop(hold);
        call.outcome()?
    })
}
