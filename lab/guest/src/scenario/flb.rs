// SPDX-License-Identifier: MIT OR Apache-2.0
//! Drives the kernel's own test of file-lifecycle-bound data.
//!
//! `LIVEUPDATE_TEST` attaches three such objects to each file handler and
//! reports on the console what it is called for; the host reads that. Here is
//! only the life of the files that they are bound to.

use std::fs::File;

use anyhow::Result;
use luo_sys::{Session, Token};

use crate::check::{device, name};
use crate::fill::{self, Prng};

const SESSION: &str = "flb";
const TOKENS: [u64; 2] = [1, 2];
const LENGTH: u64 = 8192;

/// Preserves two memfds.
pub(super) fn preserve() -> Result<Session> {
    let session = device()?.create_session(&name(SESSION))?;
    for token in TOKENS {
        session.preserve_fd(
            fill::memfd("flb", LENGTH, Prng::of(&[token]))?,
            Token(token),
        )?;
    }
    Ok(session)
}

/// Takes them back in the next kernel.
pub(super) fn retrieve() -> Result<()> {
    let session = device()?.retrieve_session(&name(SESSION))?;
    for token in TOKENS {
        let file = File::from(session.retrieve_fd(Token(token))?);
        fill::verify(&file, LENGTH, Prng::of(&[token]))?;
    }
    session.finish()?;
    Ok(())
}
