// SPDX-License-Identifier: MIT OR Apache-2.0
//! Transitions: vetoes, who waits for them, who is told.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use luo_sys::{Device, Errno, State, Token};

use crate::tools::{boot, jump, memory, name, refused, same, session_with};

/// The first freeze is vetoed; everything goes on, and the second one succeeds.
pub(crate) fn veto() -> Result<()> {
    let device = Device::open()?;
    if boot()? == 0 {
        let session = device.create_session(&name("vetoed"))?;
        for token in 1..=3 {
            session.preserve_fd(memory(&[token as u8])?, Token(token))?;
        }
        same("the veto", jump()?.errno(), Errno::EBUSY)?;
        same("the state", device.state()?, State::Normal)?;
        same("failures", device.failure()?.sequence, 1)?;
        session.unpreserve_fd(Token(2))?;
        bail!("{}", jump()?)
    }
    let session = device.retrieve_session(&name("vetoed"))?;
    same("files", session.list_files()?.len(), 2)?;
    session.finish()?;
    Ok(())
}

pub(crate) fn poll() -> Result<()> {
    let device = Device::open()?;
    let changed = || device.wait_for_change(Duration::ZERO);
    ensure!(!changed()?, "nothing has changed yet");
    for _ in 0..3 {
        device.prepare()?;
        ensure!(changed()? && changed()?, "the change is not seen");
        device.cancel()?;
        ensure!(changed()?, "back is a change too");
        device.state()?;
        ensure!(!changed()?, "it has been read");
    }
    let woken = std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| device.wait_for_change(Duration::from_secs(20)));
        device.prepare()?;
        sleeper
            .join()
            .map_err(|_| luo_sys::memfd::create("\0", 0).unwrap_err())?
    })?;
    ensure!(woken, "the sleeper slept on");
    Ok(device.cancel()?)
}

/// A transition that takes its time: looking does not wait, changing does.
pub(crate) fn waits() -> Result<()> {
    let device = Device::open()?;
    let session = device.create_session(&name("slow"))?;
    device.fd_preserve(memory(b"slow")?)?;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let transition = scope.spawn(|| device.prepare().map(|()| begun.elapsed()));
        // It has begun when the list says that the file is busy.
        while device.list_files()?[0].status != luo_sys::FileStatus::Busy {
            ensure!(
                begun.elapsed() < Duration::from_secs(10),
                "it does not begin"
            );
        }
        same("meanwhile", device.state()?, State::Normal)?;
        let looked = begun.elapsed();
        // It comes late, and goes along.
        session.preserve_fd(memory(b"x")?, Token(1))?;
        let waited = begun.elapsed();
        let took = transition.join().map_err(|_| anyhow::anyhow!("panic"))??;
        ensure!(looked < took, "looking waited: {looked:?} of {took:?}");
        ensure!(
            waited >= Duration::from_secs(1),
            "it did not wait: {waited:?}"
        );
        Ok(())
    })?;
    Ok(device.cancel()?)
}

/// Prepares, with subsystems: their veto is told.
pub(crate) fn prepare() -> Result<()> {
    let device = Device::open()?;
    let participants = device.list_participants()?;
    // Three handlers of memfds, those of eventfds, timers and pipes, and two subsystems.
    same("participants", participants.len(), 8)?;
    refused(device.prepare(), Errno::ENOMEM)?;
    same("the state", device.state()?, State::Normal)?;
    device.prepare()?;
    Ok(device.cancel()?)
}

/// Opens the device, says so, and asks for a transition.
pub(crate) fn wait() -> Result<()> {
    let device = Device::open()?;
    println!("open");
    Ok(device.prepare()?)
}

/// A program that is killed while it waits for a transition leaves no trace of itself.
pub(crate) fn killed_waiting() -> Result<()> {
    let device = Device::open()?;
    device.fd_preserve(memory(b"slow")?)?;
    std::thread::scope(|scope| {
        let transition = scope.spawn(|| device.prepare());
        let mut waiting = Command::new(std::env::current_exe()?)
            .arg("wait")
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = [0; 5];
        let stdout = waiting.stdout.as_mut().context("stdout")?;
        stdout.read_exact(&mut said)?;
        waiting.kill()?;
        ensure!(!waiting.wait()?.success(), "it was not killed");
        transition.join().map_err(|_| anyhow::anyhow!("panic"))??;
        same("the state", device.state()?, State::Prepared)
    })?;
    device.cancel()?;
    same("the state", device.state()?, State::Normal)
}

/// Jumps while another thread's call is in a handler that does not come back for a minute.
pub(crate) fn jumps_in_a_call() -> Result<()> {
    let device = Device::open()?;
    if boot()? > 0 {
        let session = device.retrieve_session(&name("there"))?;
        drop(session.retrieve_fd(Token(1))?);
        let slow = device.retrieve_session(&name("slow"))?;
        return refused(slow.retrieve_fd(Token(1)), Errno::ENOTRECOVERABLE);
    }
    let _there = session_with(&device, "there", b"there")?;
    let slow = device.create_session(&name("slow"))?;
    let contents = memory(b"slow")?;
    std::thread::scope(|scope| {
        scope.spawn(|| slow.preserve_fd(&contents, Token(1)));
        // An event that waits for that call in vain tells that it is under way.
        let is_busy =
            |told: luo_sys::Result<()>| matches!(told, Err(why) if why.errno() == Errno::EBUSY);
        while !is_busy(device.prepare()) && !is_busy(device.cancel()) {}
        bail!("{}", jump()?)
    })
}
