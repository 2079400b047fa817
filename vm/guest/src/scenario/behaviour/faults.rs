// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handlers that fail: what is undone, what is reported, what can be repeated.
//!
//! The test driver's own files are preserved by its handler `forge-v1`, whose
//! callbacks fail on demand. Without the driver every case is skipped.

use anyhow::{Context, Result, ensure};
use luo_abi::uapi::{self, RetrieveSession};
use luo_sys::{Device, Errno, Session, Token, raw};
use zerocopy::IntoBytes;

use super::Case;
use crate::check::{device, name, refused, same};
use crate::fill::{self, Prng};
use crate::forge::{self, Fault, Forge};
use crate::kmsg;

/// Run in the first kernel, before anything is left for the second.
pub(super) const BEFORE: &[Case] = &[("fault-preserve-is-undone", preserve)];

/// Run in the first kernel with the next one loaded and sessions left.
pub(super) const VETO: &[Case] = &[
    ("fault-freeze-refuses-the-kexec", freeze),
    ("fault-freeze-thaws-the-frozen", thaw),
];

/// Run in the second kernel.
pub(super) const AFTER: &[Case] = &[
    ("fault-retrieve-is-final", retrieve),
    ("fault-finish-is-ebusy", finish),
    ("fault-close-keeps-the-session", close),
    ("fault-close-is-finished-by-the-next-open", reopen),
];

/// An error number that the orchestrator has no reason to make up.
const ODD: Errno = Errno::EFBIG;

const SESSIONS: [&str; 4] = [
    "fault-retrieve",
    "fault-finish",
    "fault-close",
    "fault-reopen",
];

/// Preserves what the cases of the next kernel need, if the driver is there.
///
/// # Errors
/// If the kernel refuses any of it.
pub(super) fn leave() -> Result<Vec<Session>> {
    let mut sessions = Vec::new();
    if Forge::open().is_err() {
        return Ok(sessions);
    }
    let device = device()?;
    for session_name in SESSIONS {
        let session = device.create_session(&name(session_name))?;
        session.preserve_fd(Forge::open()?.file(), Token(1))?;
        sessions.push(session);
    }
    Ok(sessions)
}

fn preserve() -> Result<()> {
    let forge = Forge::open()?;
    let session = device()?.create_session(&name("fault"))?;
    let fault = Fault::Preserve(ODD).inject()?;
    for _ in 0..2 {
        refused(session.preserve_fd(forge.file(), Token(1)), ODD)?;
        same("the preserved and frozen files", forge::counts()?, (0, 0))?;
    }
    drop(fault);
    session.preserve_fd(forge.file(), Token(1))?;
    same("the preserved and frozen files", forge::counts()?, (1, 0))?;
    refused(session.preserve_fd(forge.file(), Token(2)), Errno::EBUSY)?;
    drop(session);
    same("the preserved and frozen files", forge::counts()?, (0, 0))
}

fn freeze() -> Result<()> {
    Forge::open()?;
    let before = forge::counts()?;
    let fault = Fault::Freeze(ODD).inject()?;
    for _ in 0..2 {
        same("the kexec's error", luo_sys::kexec::execute().errno(), ODD)?;
    }
    drop(fault);
    same("the preserved and frozen files", forge::counts()?, before)?;
    usable()
}

/// The first file freezes, the next one vetoes: the first must be thawed.
fn thaw() -> Result<()> {
    Forge::open()?;
    let before = forge::counts()?;
    let files = u32::try_from(before.0)?;
    ensure!(files >= 2, "too few files are preserved: {files}");
    let passes = Fault::FreezePasses(files - 1).inject()?;
    let fault = Fault::Freeze(ODD).inject()?;
    let error = luo_sys::kexec::execute();
    drop((fault, passes));
    same("the kexec's error", error.errno(), ODD)?;
    same("the preserved and frozen files", forge::counts()?, before)?;
    usable()
}

/// Everything still works after a kexec that was refused.
fn usable() -> Result<()> {
    let device = device()?;
    let memory = fill::memfd("usable", 4096, Prng::of(&[1]))?;
    let session = device.create_session(&name("usable"))?;
    session.preserve_fd(&memory, Token(1))?;
    refused(device.create_session(&name("usable")), Errno::EEXIST)?;
    drop(session);
    memory.set_len(0).context("it is still preserved")
}

fn retrieve() -> Result<()> {
    Forge::open()?;
    let session = device()?.retrieve_session(&name("fault-retrieve"))?;
    let fault = Fault::Retrieve(ODD).inject()?;
    refused(session.retrieve_fd(Token(1)), ODD)?;
    drop(fault);
    refused(session.retrieve_fd(Token(1)), ODD).context("the second time")?;
    Ok(session.finish()?)
}

fn finish() -> Result<()> {
    Forge::open()?;
    let session = device()?.retrieve_session(&name("fault-finish"))?;
    let fault = Fault::FinishRefusals(2).inject()?;
    refused(session.finish(), Errno::EBUSY)?;
    session.retrieve_fd(Token(1)).context("after the refusal")?;
    refused(session.finish(), Errno::EBUSY)?;
    session.finish().context("the handler is ready now")?;
    drop(fault);
    refused(session.retrieve_fd(Token(1)), Errno::ENOENT)
}

/// Closes a retrieved session while its handler says no, and asserts that the
/// kernel reports it: close(2) has nobody to tell.
fn close_refused(device: &Device, session_name: &str) -> Result<()> {
    let session = device.retrieve_session(&name(session_name))?;
    let mut log = kmsg::Reader::from_now()?;
    let _fault = Fault::FinishRefusals(1).inject()?;
    drop(session);
    let messages = log.read()?;
    let told = |message: &kmsg::Message| {
        message.is_luo() && message.is_warning() && message.text.contains(session_name)
    };
    ensure!(
        messages.iter().any(told),
        "the kernel does not report it: {messages:?}"
    );
    Ok(())
}

fn close() -> Result<()> {
    Forge::open()?;
    let device = device()?;
    close_refused(&device, "fault-close")?;
    let session = device.retrieve_session(&name("fault-close"))?;
    session.retrieve_fd(Token(1))?;
    session.finish()?;
    drop(session);
    refused(device.retrieve_session(&name("fault-close")), Errno::ENOENT)
}

fn reopen() -> Result<()> {
    Forge::open()?;
    let first = device()?;
    close_refused(&first, "fault-reopen")?;
    // Whether it is there shows without retrieving it: a lost one is ENOENT
    // before the answer is written.
    let argument = RetrieveSession {
        size: size_of::<RetrieveSession>() as u32,
        fd: 0,
        name: *name("fault-reopen").as_field(),
    };
    let result = raw::ioctl_read_only(&first, uapi::RETRIEVE_SESSION, argument.as_bytes());
    refused(result, Errno::EFAULT).context("looking for the session")?;
    drop(first);
    refused(
        device()?.retrieve_session(&name("fault-reopen")),
        Errno::ENOENT,
    )
    .context("the next open finishes it")
}
