// SPDX-License-Identifier: MIT OR Apache-2.0
//! Numbers, sizes and addresses of the calls.

use std::mem::size_of;

use anyhow::{Context, Result};
use luo_abi::extend::MAX_SIZE;
use luo_abi::uapi::{self, CreateSession, Finish, GetName, PreserveFd};
use luo_sys::raw::{self, Target};
use luo_sys::{Errno, Session, Token};
use rustix::ioctl::opcode;

use super::Case;
use crate::check::{device, name, refused, same};
use crate::fill::{self, Prng};

/// See the names.
pub(super) const CASES: &[Case] = &[
    ("device-unknown-number-is-enotty", device_unknown),
    ("device-takes-no-session-ioctl", device_session_ioctl),
    ("device-other-type-is-enotty", device_other_type),
    ("device-other-direction-is-enotty", device_other_direction),
    ("session-unknown-number-is-enotty", session_unknown),
    ("session-takes-no-device-ioctl", session_device_ioctl),
    ("session-other-type-is-enotty", session_other_type),
    ("session-other-direction-is-enotty", session_other_direction),
    ("size-short-is-einval", size_short),
    ("size-longer-with-zeros-is-accepted", size_longer_zeros),
    ("size-longer-with-more-is-e2big", size_longer_more),
    ("size-beyond-the-limit-is-e2big", size_beyond),
    ("address-bad-is-efault", address_bad),
    ("answer-fits-the-callers-size", answer_fits),
    ("reserved-of-get-name-must-be-zero", reserved_get_name),
    ("retrieve-fd-on-outgoing-is-einval", retrieve_on_outgoing),
    ("finish-on-outgoing-is-einval", finish_on_outgoing),
];

/// Numbers that belong to nobody, on neither file.
const UNKNOWN: [u32; 6] = [0x02, 0x3f, 0x44, 0x7f, 0x90, 0xff];
const DEVICE_IOCTLS: [u32; 2] = [uapi::CREATE_SESSION, uapi::RETRIEVE_SESSION];
const SESSION_IOCTLS: [u32; 4] = [
    uapi::SESSION_PRESERVE_FD,
    uapi::SESSION_RETRIEVE_FD,
    uapi::SESSION_FINISH,
    uapi::SESSION_GET_NAME,
];

fn session() -> Result<Session> {
    Ok(device()?.create_session(&name("ioctls"))?)
}

/// Calls with a well-formed argument, the largest of the ABI.
fn enotty(target: &impl Target, command: u32) -> Result<()> {
    let mut argument = sized(72, 72);
    refused(raw::ioctl(target, command, &mut argument), Errno::ENOTTY)
        .with_context(|| format!("command {command:#x}"))
}

/// `length` zeros that claim to be `size` bytes.
fn sized(size: u32, length: usize) -> Vec<u8> {
    let mut argument = vec![0; length];
    argument[..4].copy_from_slice(&size.to_ne_bytes());
    argument
}

fn device_unknown() -> Result<()> {
    let device = device()?;
    let mut all = UNKNOWN.iter().map(|number| uapi::IOCTL_TYPE << 8 | number);
    all.try_for_each(|command| enotty(&device, command))
}

fn device_session_ioctl() -> Result<()> {
    let device = device()?;
    SESSION_IOCTLS
        .iter()
        .try_for_each(|&command| enotty(&device, command))
}

fn device_other_type() -> Result<()> {
    let device = device()?;
    enotty(&device, 0xBB00)?;
    enotty(&device, 0x0000)
}

fn device_other_direction() -> Result<()> {
    let device = device()?;
    enotty(&device, opcode::read_write::<CreateSession>(0xBA, 0x00))?;
    enotty(&device, opcode::write::<CreateSession>(0xBA, 0x01))
}

fn session_unknown() -> Result<()> {
    let session = session()?;
    let mut all = UNKNOWN.iter().map(|number| uapi::IOCTL_TYPE << 8 | number);
    all.try_for_each(|command| enotty(&session, command))
}

fn session_device_ioctl() -> Result<()> {
    let session = session()?;
    DEVICE_IOCTLS
        .iter()
        .try_for_each(|&command| enotty(&session, command))
}

fn session_other_type() -> Result<()> {
    let session = session()?;
    enotty(&session, 0xBB40)?;
    enotty(&session, 0x0043)
}

fn session_other_direction() -> Result<()> {
    let session = session()?;
    enotty(&session, opcode::read_write::<PreserveFd>(0xBA, 0x40))?;
    enotty(&session, opcode::read::<GetName>(0xBA, 0x43))
}

fn size_short() -> Result<()> {
    let session = session()?;
    let device = device()?;
    for size in [0, 1, 71] {
        let mut argument = sized(size, 72);
        argument[8] = b'x';
        refused(
            raw::ioctl(&device, uapi::CREATE_SESSION, &mut argument),
            Errno::EINVAL,
        )?;
        refused(
            raw::ioctl(&device, uapi::RETRIEVE_SESSION, &mut argument),
            Errno::EINVAL,
        )?;
        refused(
            raw::ioctl(&session, uapi::SESSION_GET_NAME, &mut argument),
            Errno::EINVAL,
        )?;
    }
    let mut argument = sized(15, 16);
    refused(
        raw::ioctl(&session, uapi::SESSION_PRESERVE_FD, &mut argument),
        Errno::EINVAL,
    )
}

fn size_longer_zeros() -> Result<()> {
    let session = session()?;
    for length in [73, 80, 1000, MAX_SIZE] {
        let mut argument = sized(length as u32, length);
        raw::ioctl(&session, uapi::SESSION_GET_NAME, &mut argument)
            .with_context(|| format!("{length} bytes"))?;
        same("the name", &argument[8..15], b"ioctls\0")?;
    }
    Ok(())
}

fn size_longer_more() -> Result<()> {
    let session = session()?;
    for length in [73, 80, MAX_SIZE] {
        let mut argument = sized(length as u32, length);
        argument[length - 1] = 1;
        let result = raw::ioctl(&session, uapi::SESSION_GET_NAME, &mut argument);
        refused(result, Errno::E2BIG).with_context(|| format!("{length} bytes"))?;
    }
    Ok(())
}

fn size_beyond() -> Result<()> {
    let session = session()?;
    for size in [4097, 1 << 16, u32::MAX] {
        let mut argument = sized(size, 8192);
        let result = raw::ioctl(&session, uapi::SESSION_GET_NAME, &mut argument);
        refused(result, Errno::E2BIG).with_context(|| format!("size {size}"))?;
    }
    Ok(())
}

fn address_bad() -> Result<()> {
    let device = device()?;
    for command in DEVICE_IOCTLS {
        refused(raw::ioctl_bad_address(&device, command), Errno::EFAULT)?;
    }
    drop(device);
    let session = session()?;
    for command in [uapi::SESSION_PRESERVE_FD, uapi::SESSION_GET_NAME] {
        refused(raw::ioctl_bad_address(&session, command), Errno::EFAULT)?;
    }
    Ok(())
}

fn answer_fits() -> Result<()> {
    let session = session()?;
    let mut argument = sized(72, 96);
    argument[72..].fill(0xaa);
    raw::ioctl(&session, uapi::SESSION_GET_NAME, &mut argument)?;
    same("what lies behind", &argument[72..], &[0xaa; 24])
}

fn reserved_get_name() -> Result<()> {
    let session = session()?;
    let mut argument = sized(size_of::<GetName>() as u32, size_of::<GetName>());
    argument[4] = 1;
    refused(
        raw::ioctl(&session, uapi::SESSION_GET_NAME, &mut argument),
        Errno::EINVAL,
    )
}

fn retrieve_on_outgoing() -> Result<()> {
    let session = session()?;
    session.preserve_fd(fill::memfd("ioctls", 4096, Prng::of(&[1]))?, Token(1))?;
    refused(session.retrieve_fd(Token(1)), Errno::EINVAL)
}

fn finish_on_outgoing() -> Result<()> {
    let session = session()?;
    refused(session.finish(), Errno::EINVAL)?;
    let mut argument = sized(size_of::<Finish>() as u32, size_of::<Finish>());
    argument[4] = 1;
    refused(
        raw::ioctl(&session, uapi::SESSION_FINISH, &mut argument),
        Errno::EINVAL,
    )
}
