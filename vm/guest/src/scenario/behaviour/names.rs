// SPDX-License-Identifier: MIT OR Apache-2.0
//! Session names, and who may open the device.

use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Result, ensure};
use luo_abi::uapi::{self, SESSION_LINK_PREFIX};
use luo_sys::{Device, Errno, SessionName, raw};
use rustix::io::FdFlags;

use super::Case;
use crate::check::{device, name, refused, same};

/// See the names.
pub(super) const CASES: &[Case] = &[
    ("second-open-is-ebusy", second_open),
    ("open-again-after-close", open_again),
    ("sessions-outlive-the-device", outlive),
    ("name-empty-is-einval", empty),
    ("name-unterminated-is-einval", unterminated),
    ("name-of-63-bytes-is-accepted", longest),
    ("name-taken-is-eexist", taken),
    ("name-is-free-after-close", free_again),
    ("name-unknown-is-enoent", unknown),
    ("name-is-free-after-failed-answer", failed_answer),
    ("link-text-names-the-session", link_text),
    ("descriptor-is-close-on-exec", close_on_exec),
    ("two-thousand-sessions", two_thousand),
];

fn second_open() -> Result<()> {
    let _first = device()?;
    refused(Device::open(), Errno::EBUSY)
}

fn open_again() -> Result<()> {
    for _ in 0..3 {
        drop(device()?);
    }
    Ok(())
}

fn outlive() -> Result<()> {
    let session = device()?.create_session(&name("outlive"))?;
    let device = device()?;
    same("the name", session.name()?, name("outlive"))?;
    refused(device.create_session(&name("outlive")), Errno::EEXIST)
}

/// Calls with a name field that the typed interface would not let through.
fn with_field(command: u32, field: &[u8; 64]) -> luo_sys::Result<i32> {
    let mut argument = [0; 72];
    argument[0] = 72;
    argument[8..].copy_from_slice(field);
    raw::ioctl(&Device::open()?, command, &mut argument)
}

fn empty() -> Result<()> {
    let mut hidden = [b'x'; 64];
    hidden[0] = 0;
    refused(with_field(uapi::CREATE_SESSION, &[0; 64]), Errno::EINVAL)?;
    refused(with_field(uapi::CREATE_SESSION, &hidden), Errno::EINVAL)
}

fn unterminated() -> Result<()> {
    refused(with_field(uapi::CREATE_SESSION, &[b'x'; 64]), Errno::EINVAL)
}

fn longest() -> Result<()> {
    let name = SessionName::new([b'x'; 63])?;
    let session = device()?.create_session(&name)?;
    same("the name", session.name()?, name)
}

fn taken() -> Result<()> {
    let device = device()?;
    let _session = device.create_session(&name("taken"))?;
    refused(device.create_session(&name("taken")), Errno::EEXIST)?;
    // Names are compared whole.
    device.create_session(&name("take"))?;
    device.create_session(&name("taken2"))?;
    Ok(())
}

fn free_again() -> Result<()> {
    let device = device()?;
    for _ in 0..3 {
        drop(device.create_session(&name("again"))?);
    }
    Ok(())
}

fn unknown() -> Result<()> {
    let device = device()?;
    let _outgoing = device.create_session(&name("outgoing"))?;
    refused(device.retrieve_session(&name("nobody")), Errno::ENOENT)?;
    // An outgoing session is not there to be retrieved.
    refused(device.retrieve_session(&name("outgoing")), Errno::ENOENT)
}

fn failed_answer() -> Result<()> {
    let device = device()?;
    let mut argument = [0; 72];
    argument[0] = 72;
    argument[8..].copy_from_slice(name("unanswered").as_field());
    let before = open_files()?;
    let result = raw::ioctl_read_only(&device, uapi::CREATE_SESSION, &argument);
    refused(result, Errno::EFAULT)?;
    same("the number of open files", open_files()?, before)?;
    device.create_session(&name("unanswered"))?;
    Ok(())
}

fn open_files() -> Result<usize> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count())
}

fn link_text() -> Result<()> {
    let session = device()?.create_session(&name("link"))?;
    let link = format!("/proc/self/fd/{}", session.as_fd().as_raw_fd());
    let text = std::fs::read_link(link)?;
    same(
        "the link",
        text.to_string_lossy().as_ref(),
        &format!("{SESSION_LINK_PREFIX}link"),
    )
}

fn close_on_exec() -> Result<()> {
    let session = device()?.create_session(&name("cloexec"))?;
    let flags = rustix::io::fcntl_getfd(&session)?;
    ensure!(flags.contains(FdFlags::CLOEXEC), "the flags are {flags:?}");
    Ok(())
}

fn two_thousand() -> Result<()> {
    let device = device()?;
    for round in 0..2 {
        let mut sessions = Vec::new();
        for index in 0..2000 {
            sessions.push(device.create_session(&name(&format!("many-{index}")))?);
        }
        refused(device.create_session(&name("many-1999")), Errno::EEXIST)?;
        // Both orders of leaving: last in first out, and first in first out.
        if round == 0 {
            sessions.reverse();
        }
        drop(sessions);
    }
    device.create_session(&name("many-0"))?;
    Ok(())
}
