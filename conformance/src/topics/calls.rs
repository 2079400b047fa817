// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which commands are the device's, and which a session's. Each is known by its
//! whole value.

use anyhow::{Context as _, Result};
use luo_abi::calls::{CALLS, DescriptorKind};
use luo_abi::{rfc, uapi};
use luo_sys::raw::{self, Target};
use luo_sys::{Errno, Session};
use rustix::ioctl::opcode;

use crate::case::{Case, Context, here};
use crate::check::{device, name, refused};
use crate::difference::{Differs, answers};

/// For numbers beyond mainline's two tables.
const BEYOND: &[Differs] = &[answers(
    Errno::EINVAL,
    "mainline answers so beyond its table, against its header",
)];

pub(super) const CASES: &[Case] = &[
    here("unknown-numbers-are-enotty-on-the-device", |_| {
        unknown(&device()?)
    })
    .but(BEYOND),
    here("unknown-numbers-are-enotty-on-a-session", |_| {
        unknown(&session()?)
    })
    .but(BEYOND),
    here("a-sessions-are-enotty-on-the-device", session_calls).but(BEYOND),
    here("the-devices-are-enotty-on-a-session", device_calls).but(BEYOND),
    here("other-types-are-enotty", other_types),
    here("other-directions-are-enotty", other_directions),
    here("other-sizes-are-enotty", other_sizes),
];

/// Numbers that belong to nobody, on neither file.
const UNKNOWN: [u32; 9] = [0x02, 0x08, 0x3f, 0x44, 0x7f, 0x8a, 0x90, 0xc0, 0xff];

fn session() -> Result<Session> {
    Ok(device()?.create_session(&name("calls"))?)
}

/// Calls with an argument that suits all of mainline's.
fn enotty(target: &impl Target, command: u32) -> Result<()> {
    let mut argument = [0; 256];
    argument[0] = 72;
    refused(raw::ioctl(target, command, &mut argument), Errno::ENOTTY)
        .with_context(|| format!("command {command:#x}"))
}

fn unknown(target: &impl Target) -> Result<()> {
    let mut all = UNKNOWN.iter().map(|number| uapi::IOCTL_TYPE << 8 | number);
    all.try_for_each(|command| enotty(target, command))
}

/// The calls that are made on the other kind of descriptor only.
fn foreign_to(kind: DescriptorKind) -> impl Iterator<Item = u32> {
    let foreign = CALLS.iter().filter(move |call| !call.on.takes(kind));
    foreign.map(|call| call.command)
}

fn session_calls(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    foreign_to(DescriptorKind::Device).try_for_each(|command| enotty(&device, command))
}

fn device_calls(_: &mut Context<'_>) -> Result<()> {
    let session = session()?;
    foreign_to(DescriptorKind::Session).try_for_each(|command| enotty(&session, command))
}

fn other_types(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    enotty(&device, 0xBB00)?;
    enotty(&device, 0x0000)?;
    let session = device.create_session(&name("calls"))?;
    enotty(&session, 0xBB40)?;
    enotty(&session, 0x0043)
}

/// Mainline's have none.
fn other_directions(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    enotty(&device, opcode::write::<uapi::CreateSession>(0xBA, 0x00))?;
    enotty(&device, opcode::write::<uapi::CreateSession>(0xBA, 0x01))?;
    let session = device.create_session(&name("calls"))?;
    enotty(&session, opcode::read_write::<uapi::PreserveFd>(0xBA, 0x40))?;
    enotty(&session, opcode::read::<uapi::GetName>(0xBA, 0x43))
}

/// The proposal's have a size: another one is another call.
fn other_sizes(_: &mut Context<'_>) -> Result<()> {
    let device = device()?;
    for size in [0, 8, 24] {
        let command = rfc::FD_PRESERVE & !0x3fff_0000 | size << 16;
        enotty(&device, command)?;
    }
    Ok(())
}
