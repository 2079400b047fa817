// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may open the device, and which calls are its.

use anyhow::{Context as _, Result};
use luo_abi::rfc;
use luo_sys::{Device, Errno, raw};
use rustix::thread::CapabilitySet;

use super::tools::{NO_RFC, memory};
use crate::case::{Case, Context, alone, here};
use crate::check::{device, name, refused, skip};
use crate::difference::{accepts, answers};

pub(super) const CASES: &[Case] = &[
    here("without-cap-sys-admin-is-eacces", capability)
        .but(&[accepts("mainline looks at the mode of the file only")]),
    here("o-excl-is-einval", exclusive).but(&[accepts("mainline ignores the flag")]),
    here("second-open-is-ebusy", second_open),
    here("open-again-after-close", again),
    here("unknown-call-is-enotty", unknown).but(&[answers(
        Errno::EINVAL,
        "mainline answers so beyond its table, against its header",
    )]),
    here("session-calls-are-enotty", session_calls).but(&[answers(
        Errno::EINVAL,
        "mainline answers so beyond its table, against its header",
    )]),
    here("rfc-call-of-another-size-is-enotty", other_size),
    here("bad-address-is-efault", bad_address).but(&[answers(Errno::EINVAL, NO_RFC)]),
    alone("many-openers-by-parameter", &[many_wanted, many]).but(&[answers(
        Errno::EBUSY,
        "mainline has one opener and no such parameter",
    )]),
];

/// Capabilities belong to a thread, so a thread of its own can lack one.
fn capability(_: &mut Context<'_>) -> Result<()> {
    let without = || -> Result<()> {
        let mut sets = rustix::thread::capabilities(None)?;
        if !sets.effective.contains(CapabilitySet::SYS_ADMIN) {
            return Err(skip("whoever runs this has no capability to lack"));
        }
        sets.effective.remove(CapabilitySet::SYS_ADMIN);
        rustix::thread::set_capabilities(None, sets)?;
        refused(Device::open(), Errno::EACCES)
    };
    let ended = std::thread::spawn(without).join();
    ended.map_err(|_| anyhow::anyhow!("the thread panicked"))?
}

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

fn unknown(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    for number in [0x08, 0x3f, 0x44, 0x7f, 0x90, 0xff] {
        let mut argument = [0; 256];
        argument[0] = 16;
        let result = raw::ioctl(&device, 0xBA00 | number, &mut argument);
        refused(result, Errno::ENOTTY).with_context(|| format!("number {number:#x}"))?;
    }
    Ok(())
}

fn session_calls(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    for number in [0x40, 0x41, 0x42, 0x43, 0x80] {
        let mut argument = [0; 256];
        argument[0] = 16;
        let result = raw::ioctl(&device, 0xBA00 | number, &mut argument);
        refused(result, Errno::ENOTTY).with_context(|| format!("number {number:#x}"))?;
    }
    Ok(())
}

/// The size is a part of the command: another one is another call.
fn other_size(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    for size in [0, 8, 24] {
        let command = rfc::FD_PRESERVE & !0x3fff_0000 | size << 16;
        let result = raw::ioctl(&device, command, &mut [0; 24]);
        refused(result, Errno::ENOTTY).with_context(|| format!("{size} bytes"))?;
    }
    Ok(())
}

fn bad_address(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    for command in [
        rfc::GET_STATE,
        rfc::FD_PRESERVE,
        rfc::FD_UNPRESERVE,
        rfc::FD_RESTORE,
    ] {
        let result = raw::ioctl_bad_address(&device, command);
        refused(result, Errno::EFAULT).with_context(|| format!("{command:#x}"))?;
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
