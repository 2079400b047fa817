// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may open the device.

use anyhow::Result;
use luo_sys::{Device, Errno, raw};
use rustix::thread::CapabilitySet;

use super::tools::memory;
use crate::case::{Case, Context, alone, here};
use crate::check::{device, name, refused, skip};
use crate::difference::{accepts, answers};

pub(super) const CASES: &[Case] = &[
    here("without-cap-sys-admin-is-eacces", capability)
        .but(&[accepts("mainline looks at the mode of the file only")]),
    here("o-excl-is-einval", exclusive).but(&[accepts("mainline ignores the flag")]),
    here("second-open-is-ebusy", second_open),
    here("open-again-after-close", again),
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
