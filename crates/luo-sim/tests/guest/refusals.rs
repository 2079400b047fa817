// SPDX-License-Identifier: MIT OR Apache-2.0
//! What cannot be preserved, and what a preserved file refuses.

use std::fs::File;
use std::io::{Seek, Write};

use anyhow::{Result, ensure};
use luo_sys::{Device, Errno, Token};
use rustix::fs::{FallocateFlags, OFlags};

use crate::tools::{memory, name, refused, same};

pub(crate) fn files() -> Result<()> {
    let device = Device::open()?;
    let session = device.create_session(&name("refusals"))?;
    let refuse = |file: &dyn std::os::fd::AsFd, errno| {
        refused(session.preserve_fd(file.as_fd(), Token(1)), errno)
    };
    refuse(&File::open("/dev/null")?, Errno::ENOENT)?;
    refuse(&File::open("/proc/self/exe")?, Errno::ENOENT)?;
    refuse(&std::os::unix::net::UnixStream::pair()?.0, Errno::ENOENT)?;
    refuse(&device, Errno::ENOENT)?;
    refuse(&session, Errno::ENOENT)?;
    let file = memory(b"contents")?;
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    let by_path = rustix::fs::open(path, OFlags::PATH, rustix::fs::Mode::empty())?;
    refuse(&by_path, Errno::EBADF)?;
    session.preserve_fd(&file, Token(1))?;
    refused(session.preserve_fd(&file, Token(2)), Errno::EBUSY)?;
    refused(session.preserve_fd(memory(b"x")?, Token(1)), Errno::EEXIST)?;
    resizing(&file)?;
    session.unpreserve_fd(Token(1))?;
    file.set_len(20)?;
    session.preserve_fd(&file, Token(1))?;
    // A file that nobody preserves can always be resized.
    Ok(memory(b"x")?.set_len(100)?)
}

fn resizing(mut file: &File) -> Result<()> {
    let eperm = Some(Errno::EPERM.get());
    let error = |result: std::io::Result<()>| result.err().and_then(|why| why.raw_os_error());
    same("growing", error(file.set_len(100)), eperm)?;
    same("shrinking", error(file.set_len(1)), eperm)?;
    same("staying", error(file.set_len(8)), None)?;
    let punched = rustix::fs::fallocate(file, FallocateFlags::empty(), 0, 100);
    same(
        "fallocate",
        punched.err().map(rustix::io::Errno::raw_os_error),
        eperm,
    )?;
    file.rewind()?;
    file.write_all(b"CONTENTS")?;
    ensure!(file.metadata()?.len() == 8, "it has another size");
    Ok(())
}
