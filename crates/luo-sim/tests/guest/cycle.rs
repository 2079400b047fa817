// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whole updates.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Result, bail, ensure};
use luo_sys::memfd::{self, Seals};
use luo_sys::{Device, Errno, State, Token};

use crate::tools::{boot, jump, memory, name, refused, same, session_with};

/// Contents, size, seals, position and access of memfds of many sizes.
pub(crate) fn cycle() -> Result<()> {
    match boot()? {
        0 => leave(),
        1 => arrive(),
        boot => bail!("boot {boot} was not asked for"),
    }
}

const SIZES: [usize; 6] = [0, 1, 4095, 4096, 4097, 3 << 20];

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at * 31 + size) as u8).collect()
}

fn leave() -> Result<()> {
    let device = Device::open()?;
    same("the state", device.state()?, State::Normal)?;
    same("updates", device.info()?.update_count, 0)?;
    let session = device.create_session(&name("vm"))?;
    for size in SIZES {
        session.preserve_fd(memory(&pattern(size))?, Token(size as u64))?;
    }
    let mut sealed = memory(b"sealed")?;
    memfd::add_seals(&sealed, Seals::WRITE | Seals::GROW | Seals::SHRINK)?;
    session.preserve_fd(&sealed, Token(u64::MAX))?;
    // The position counts as it is at the freeze.
    sealed.seek(SeekFrom::Start(3))?;
    let full = memory(b"read only")?;
    let read_only = File::open(format!("/proc/self/fd/{}", full.as_raw_fd()))?;
    session.preserve_fd(&read_only, Token(1 << 40))?;
    let registered = device.fd_preserve(memory(b"rfc")?)?;
    same("the first token", registered, Token(1))?;
    // Up to the freeze it can be written.
    let mut late = memory(b"early")?;
    session.preserve_fd(&late, Token(1 << 41))?;
    late.write_all(b"later")?;
    bail!("{}", jump()?)
}

fn text(file: OwnedFd) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    File::from(file).read_to_end(&mut text)?;
    Ok(text)
}

fn arrive() -> Result<()> {
    let device = Device::open()?;
    same("the state", device.state()?, State::Updated)?;
    same("updates", device.info()?.update_count, 1)?;
    let session = device.retrieve_session(&name("vm"))?;
    refused(device.retrieve_session(&name("vm")), Errno::EINVAL)?;
    for size in SIZES.into_iter().rev() {
        let found = text(session.retrieve_fd(Token(size as u64))?)?;
        ensure!(found == pattern(size), "contents of {size} bytes");
    }
    let sealed = File::from(session.retrieve_fd(Token(u64::MAX))?);
    let seals = Seals::WRITE | Seals::GROW | Seals::SHRINK;
    same("seals", memfd::seals(&sealed)?, seals)?;
    same("the rest", text(sealed.into())?, b"led".to_vec())?;
    let mut read_only = File::from(session.retrieve_fd(Token(1 << 40))?);
    ensure!(read_only.write_all(b"x").is_err(), "it can be written");
    same("contents", text(read_only.into())?, b"read only".to_vec())?;
    let mut late = File::from(session.retrieve_fd(Token(1 << 41))?);
    same("the position", late.stream_position()?, 5)?;
    late.rewind()?;
    same("contents", text(late.into())?, b"later".to_vec())?;
    refused(session.retrieve_fd(Token(2)), Errno::ENOENT)?;
    let rfc = device.fd_restore(Token(1))?;
    same("contents", text(rfc)?, b"rfc".to_vec())?;
    session.finish()?;
    device.finish_update()?;
    same("the state", device.state()?, State::Normal)
}

fn boot_id() -> Result<Vec<u8>> {
    Ok(std::fs::read("/proc/sys/kernel/random/boot_id")?)
}

/// What nobody claims goes on to the kernel after the next.
pub(crate) fn carry() -> Result<()> {
    match boot()? {
        0 => {
            let device = Device::open()?;
            // A kernel is told from the one before it by this.
            let _session = session_with(&device, "carried", &boot_id()?)?;
            bail!("{}", jump()?)
        }
        1 => {
            drop(Device::open()?);
            bail!("{}", jump()?)
        }
        _ => {
            let device = Device::open()?;
            same("updates", device.info()?.update_count, 2)?;
            let session = device.retrieve_session(&name("carried"))?;
            let earlier = text(session.retrieve_fd(Token(1))?)?;
            same("an id's bytes", earlier.len(), 37)?;
            same("the id of one boot", boot_id()?, boot_id()?)?;
            ensure!(earlier != boot_id()?, "two boots have one id");
            Ok(session.finish()?)
        }
    }
}

/// Leaves a session; after a loss of power nothing of it may be there.
pub(crate) fn nothing_arrives() -> Result<()> {
    let device = Device::open()?;
    if boot()? == 0 {
        let _session = session_with(&device, "lost", b"lost")?;
        bail!("{}", jump()?)
    }
    same("the state", device.state()?, State::Normal)?;
    refused(device.retrieve_session(&name("lost")), Errno::ENOENT)?;
    drop(session_with(&device, "lost", b"anew")?);
    Ok(())
}

/// Leaves a session; the handover is damaged and must be refused, or be whole.
pub(crate) fn refused_handover() -> Result<()> {
    if boot()? == 0 {
        let device = Device::open()?;
        let _session = session_with(&device, "damaged", b"contents")?;
        bail!("{}", jump()?)
    }
    // What the boot has found is refused at the open, the rest at the first call.
    let used = Device::open().and_then(|device| device.state().map(|_| device));
    match used {
        Err(error) => {
            same("the error", error.errno(), Errno::EIO)?;
            println!("refused");
            Ok(())
        }
        Ok(device) => {
            let session = device.retrieve_session(&name("damaged"))?;
            match session.retrieve_fd(Token(1)) {
                Err(error) => println!("not restored: {}", error.errno()),
                Ok(file) => {
                    same("contents", text(file)?, b"contents".to_vec())?;
                    println!("whole");
                }
            }
            Ok(session.finish()?)
        }
    }
}
