// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long descriptors live, whoever has them.

use std::io::{IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use luo_sys::{Device, Errno, Session};
use rustix::io::FdFlags;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::tools::{name, refused, session_with};

fn device() -> Result<Device> {
    Ok(Device::open()?)
}

/// Whether an outgoing session of that name is there.
fn is_there(text: &str) -> Result<bool> {
    match device()?.create_session(&name(text)) {
        Ok(_) => Ok(false),
        Err(error) if error.errno() == Errno::EEXIST => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn expect(text: &str, there: bool, when: &str) -> Result<()> {
    ensure!(is_there(text)? == there, "{text}: wrong {when}");
    Ok(())
}

pub(crate) fn all() -> Result<()> {
    closes_at_once().context("close")?;
    duplicates().context("dup")?;
    passed_on().context("SCM_RIGHTS")?;
    inherited().context("exec")?;
    the_device_too().context("device")?;
    forked().context("fork")
}

/// What comes after a close finds it done.
fn closes_at_once() -> Result<()> {
    for _ in 0..300 {
        let device = device()?;
        let first = device.create_session(&name("quick"))?;
        refused(device.create_session(&name("quick")), Errno::EEXIST)?;
        drop(first);
        drop(device.create_session(&name("quick"))?);
    }
    Ok(())
}

fn duplicates() -> Result<()> {
    let session = session_with(&device()?, "dup", b"dup")?;
    let copy = session.try_clone()?;
    drop(session);
    expect("dup", true, "while there is a copy")?;
    copy.name()?;
    drop(copy);
    expect("dup", false, "after the last close")
}

fn passed_on() -> Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    let session = session_with(&device()?, "passed", b"passed")?;
    let fds = [session.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    rustix::net::sendmsg(
        &ours,
        &[IoSlice::new(b"x")],
        &mut ancillary,
        SendFlags::empty(),
    )?;
    drop(session);
    expect("passed", true, "on its way")?;
    let session = Session::from_fd(receive(&theirs)?);
    ensure!(session.name()? == name("passed"), "another session");
    drop(session);
    expect("passed", false, "after the last close")
}

fn receive(from: &UnixStream) -> Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::net::recvmsg(
        from,
        &mut [IoSliceMut::new(&mut byte)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let fd = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    fd.context("no descriptor came")
}

/// Another program has it, if it is not closed on exec.
fn inherited() -> Result<()> {
    let session = session_with(&device()?, "inherited", b"x")?;
    let flags = rustix::io::fcntl_getfd(&session)?;
    ensure!(flags.contains(FdFlags::CLOEXEC), "it survives an exec");
    let closed = Command::new("/bin/sh")
        .args(["-c", "cat"])
        .stdin(Stdio::piped())
        .spawn()?;
    rustix::io::fcntl_setfd(&session, FdFlags::empty())?;
    let kept = Command::new("/bin/sh")
        .args(["-c", "cat"])
        .stdin(Stdio::piped())
        .spawn()?;
    drop(session);
    expect("inherited", true, "while another program has it")?;
    for mut child in [kept, closed] {
        // Its input ends, and so does it.
        drop(child.stdin.take());
        child.wait()?;
    }
    expect("inherited", false, "after that one has ended")
}

fn the_device_too() -> Result<()> {
    let first = device()?;
    let copy = rustix::io::dup(&first)?;
    refused(Device::open(), Errno::EBUSY)?;
    drop(first);
    refused(Device::open(), Errno::EBUSY)?;
    drop(copy);
    drop(Device::open()?);
    Ok(())
}

/// A shell has the device, and forks: what it forked has it, too.
fn forked() -> Result<()> {
    let line = "exec 3<>/dev/liveupdate 4<&0 || exit 1; cat <&4 & \
                exec 3>&- 4<&- </dev/null; echo ready; wait";
    let mut shell = Command::new("/bin/sh")
        .args(["-c", line])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut ready = [0; 6];
    shell
        .stdout
        .as_mut()
        .context("stdout")?
        .read_exact(&mut ready)?;
    refused(Device::open(), Errno::EBUSY)?;
    drop(shell.stdin.take());
    shell.wait()?;
    drop(Device::open()?);
    Ok(())
}

/// Holds a session until the input ends.
pub(crate) fn hold(text: &str) -> Result<()> {
    let _session = session_with(&device()?, text, b"held")?;
    println!("held");
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest)?;
    Ok(())
}

pub(crate) fn is_held(text: &str) -> Result<()> {
    ensure!(is_there(text)?, "{text} is not held");
    Ok(())
}

/// A program that is killed has closed everything by the time that is known.
pub(crate) fn killed_owner() -> Result<()> {
    for _ in 0..20 {
        let mut owner = Command::new(std::env::current_exe()?)
            .args(["hold", "killed"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut held = [0; 5];
        owner
            .stdout
            .as_mut()
            .context("stdout")?
            .read_exact(&mut held)?;
        expect("killed", true, "while its owner lives")?;
        owner.kill()?;
        owner.wait()?;
        expect("killed", false, "after its owner was killed")?;
    }
    Ok(())
}
