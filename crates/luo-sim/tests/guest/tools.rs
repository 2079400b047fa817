// SPDX-License-Identifier: MIT OR Apache-2.0
//! What scenarios are made of.

use std::fs::File;

use anyhow::{Context, Result, ensure};
use luo_sys::{Device, Errno, Session, SessionName, Token, kexec};

/// The boot we are in.
pub(crate) fn boot() -> Result<usize> {
    Ok(std::env::var("LUO_SIM_BOOT")
        .context("not under the simulator")?
        .parse()?)
}

pub(crate) fn name(text: &str) -> SessionName {
    SessionName::new(text).expect("a name of a test is valid")
}

/// A session with one memfd under token 1.
pub(crate) fn session_with(device: &Device, text: &str, contents: &[u8]) -> Result<Session> {
    let session = device.create_session(&name(text))?;
    session.preserve_fd(memory(contents)?, Token(1))?;
    Ok(session)
}

/// A memfd with contents.
pub(crate) fn memory(contents: &[u8]) -> Result<File> {
    use std::os::unix::fs::FileExt;
    let file = luo_sys::memfd::create("test", contents.len() as u64)?;
    file.write_all_at(contents, 0)?;
    Ok(file)
}

/// Loads a kernel: any file will do.
pub(crate) fn load(line: &std::ffi::CStr) -> Result<()> {
    let kernel = File::open("/proc/self/exe")?;
    Ok(kexec::load(&kernel, None::<File>, line)?)
}

/// Jumps; gives the error if that is refused.
pub(crate) fn jump() -> Result<luo_sys::Error> {
    load(c"")?;
    Ok(kexec::execute())
}

pub(crate) fn refused<T>(result: luo_sys::Result<T>, errno: Errno) -> Result<()> {
    let found = luo_sys::raw::refused(&result);
    ensure!(found == Some(errno), "{found:?} instead of {errno}");
    Ok(())
}

pub(crate) fn same<T: PartialEq + core::fmt::Debug>(what: &str, found: T, wanted: T) -> Result<()> {
    ensure!(found == wanted, "{what}: {found:?} instead of {wanted:?}");
    Ok(())
}
