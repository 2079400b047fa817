// SPDX-License-Identifier: MIT OR Apache-2.0
//! How often, and how, the device may be opened. Who may: `owners`.

use anyhow::Result;
use luo_sys::{Device, Errno, raw};

use super::tools::memory;
use crate::case::{Case, Context, alone, here};
use crate::check::{device, name, refused};
use crate::difference::{accepts, answers};

pub(super) const CASES: &[Case] = &[
    here("o-excl-is-einval", exclusive).but(&[accepts("mainline ignores the flag")]),
    here("second-open-is-ebusy", second_open),
    here("open-again-after-close", again),
    alone("many-openers-by-parameter", &[many_wanted, many]).but(&[answers(
        Errno::EBUSY,
        "mainline has one opener and no such parameter",
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
