// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waiting for a change of state.

use std::fs::File;
use std::io::{Read, Seek};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use luo_sys::{Device, State};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::tools::{NO_EVENTS, NO_SYSFS, state_is};
use crate::case::{Case, Context, here};
use crate::check::{Absent, device, same, seen};
use crate::difference::{Differs, Expect, absent, missing, simulated};
use crate::implementation::Implementation;
use crate::look::SYSFS;
use crate::patience::{PATIENCE, until};

pub(super) const CASES: &[Case] = &[
    here("device-tells-of-a-change", device_tells).but(&[missing(NO_EVENTS)]),
    here("reading-the-state-is-taking-note", taking_note).but(&[missing(NO_EVENTS)]),
    here("a-sleeper-is-woken", sleeper).but(&[missing(NO_EVENTS)]),
    here("sysfs-tells-of-a-change", sysfs_tells).but(&[absent(NO_SYSFS), NO_POLL]),
    here("sysfs-wakes-a-sleeper", sysfs_sleeper).but(&[absent(NO_SYSFS), NO_POLL]),
];

const NO_POLL: Differs = simulated(Expect::Unseen(
    "its sysfs is a memfd, which tells nobody of a change; the device does",
));

fn changed(device: &Device) -> Result<bool> {
    Ok(device.wait_for_change(Duration::ZERO)?)
}

fn device_tells(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    ensure!(!changed(&device)?, "nothing has changed yet");
    device.prepare()?;
    ensure!(changed(&device)?, "the change is not seen");
    ensure!(changed(&device)?, "looking is not reading");
    device.cancel()?;
    ensure!(changed(&device)?, "back to normal is a change too");
    state_is(&device, State::Normal)?;
    ensure!(!changed(&device)?, "it has been read");
    Ok(())
}

fn taking_note(_: &mut Context<'_>) -> Result<()> {
    device()?.prepare()?;
    // The open counts as a read.
    let device = device()?;
    ensure!(!changed(&device)?, "nothing has changed since the open");
    device.freeze()?;
    ensure!(changed(&device)?, "the change is not seen");
    same("info", device.info()?.state, Some(State::Frozen))?;
    ensure!(!changed(&device)?, "it has been read");
    device.cancel()?;
    ensure!(changed(&device)?, "the change is not seen");
    Ok(())
}

fn sleeper(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    state_is(&device, State::Normal)?;
    let woken = std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| device.wait_for_change(PATIENCE));
        device.prepare()?;
        let woken = sleeper.join();
        woken
            .map_err(|_| anyhow::anyhow!("the sleeper panicked"))?
            .map_err(anyhow::Error::from)
    });
    device.cancel()?;
    ensure!(woken?, "the sleeper slept on");
    Ok(())
}

/// The attribute, read once: sysfs tells of changes since.
fn attribute() -> Result<File> {
    let path = format!("{SYSFS}/state");
    let Ok(mut file) = File::open(&path) else {
        return Err(Absent(path).into());
    };
    read(&mut file)?;
    Ok(file)
}

fn read(file: &mut File) -> Result<String> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text)
}

fn notified(file: &File, timeout: Duration) -> Result<bool> {
    let mut fds = [PollFd::new(file, PollFlags::PRI)];
    let timeout = Timespec::try_from(timeout).context("the time")?;
    poll(&mut fds, Some(&timeout))?;
    Ok(fds[0].revents().contains(PollFlags::PRI))
}

/// Reads until there is nothing to tell. A worker tells of changes, so that it may tell of one
/// after that has been read.
fn has_read(file: &mut File) -> Result<()> {
    until("that all changes are told", || {
        read(file)?;
        Ok(!notified(file, Duration::ZERO)?)
    })
}

/// Nobody waits for what cannot come.
fn patience(on: Implementation) -> Duration {
    match on {
        Implementation::Simulator => Duration::ZERO,
        _ => PATIENCE,
    }
}

fn sysfs_tells(context: &mut Context<'_>) -> Result<()> {
    let mut file = attribute()?;
    let patience = patience(context.implementation);
    let device = device()?;
    has_read(&mut file)?;
    device.prepare()?;
    seen(notified(&file, patience)?, "the change is not seen")?;
    same("the word", read(&mut file)?.as_str(), "prepared\n")?;
    has_read(&mut file)?;
    device.cancel()?;
    seen(notified(&file, patience)?, "the change is not seen")?;
    same("the word", read(&mut file)?.as_str(), "normal\n")
}

fn sysfs_sleeper(context: &mut Context<'_>) -> Result<()> {
    let file = attribute()?;
    let patience = patience(context.implementation);
    let device = device()?;
    let woken = std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| notified(&file, patience));
        device.prepare()?;
        let woken = sleeper.join();
        woken.map_err(|_| anyhow::anyhow!("the sleeper panicked"))?
    });
    device.cancel()?;
    seen(woken?, "the sleeper slept on")
}
